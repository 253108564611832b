"""Two rank-32 LoRAs of SDXL's shapes, subtracted and reduced to rank 32: ours against the full-matrix SVD.

And three files merged into one, see :mod:`bench.merge_files`.
"""

from __future__ import annotations

import time
from collections import Counter

import torch
from torch import Tensor

from bench import merge_files
from bench.merge_files import random_lora, sdxl_shapes
from lib_lora.adapters.file import LoraFile, to_delta
from lib_lora.adapters.merge import combine

RANK = 32


def run() -> dict[str, object]:
    """Time both ways with the threads torch has now.

    Returns:
        ``speedup``: full-matrix seconds ÷ ours. ``excess_error``: the largest (our error − optimal error) ÷ optimal
        error over the sampled layers. ``svd_sampled``: the full-matrix time is measured on one layer of each distinct
        shape and multiplied by the number of layers of that shape. Besides: ``seconds``, ``svd_seconds``, ``layers``,
        ``threads``; and ``three.…``, the merge from file to file.
    """
    shapes = sdxl_shapes()
    a, b = (LoraFile(None, {}, random_lora(shapes, RANK, seed)) for seed in (0, 1))
    start = time.perf_counter()
    merged = combine([(a, 1.0, None), (b, -1.0, None)], rank=RANK, formula="A:1,B:-1")
    ours = time.perf_counter() - start
    full, excess = 0.0, 0.0
    for shape, count in Counter(shapes.values()).items():
        key = next(k for k, s in shapes.items() if s == shape)
        exact = multiplied_out(a, key) - multiplied_out(b, key)
        full += count * full_svd_seconds(exact)
        excess = max(excess, excess_error(exact.double(), to_delta(merged.modules[key]).matrix().double()))
    return {
        "speedup": full / ours,
        "excess_error": excess,
        "svd_sampled": True,
        "seconds": ours,
        "svd_seconds": full,
        "layers": len(shapes),
        "threads": torch.get_num_threads(),
        **{f"three.{name}": value for name, value in merge_files.run().items()},
    }


def multiplied_out(file: LoraFile, key: str) -> Tensor:
    """ΔW of one layer as a full matrix, float32."""
    params = file.modules[key]
    up, down = params["lora_up.weight"].float(), params["lora_down.weight"].float()
    return params["alpha"].item() / RANK * (up @ down)


def full_svd_seconds(matrix: Tensor) -> float:
    """Time of the reduction as other mergers do it: SVD of the full matrix, float32."""
    start = time.perf_counter()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    _ = left[:, :RANK] * values[:RANK], right[:RANK]
    return time.perf_counter() - start


def excess_error(exact: Tensor, ours: Tensor) -> float:
    """How much larger our error is than that of the best matrix of the same rank, relatively; all in float64.

    The optimum is Eckart–Young's, from the eigenvalues of the smaller Gram matrix, which no code of ours computes.
    """
    gram = exact.T @ exact if exact.shape[0] > exact.shape[1] else exact @ exact.T
    squares = torch.linalg.eigvalsh(gram)  # ascending
    optimum = squares[:-RANK].sum().sqrt()
    return ((exact - ours).norm() / optimum - 1).item()
