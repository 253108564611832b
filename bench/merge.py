"""Two rank-32 LoRAs of SDXL's shapes, subtracted and reduced to rank 32: ours against the full-matrix SVD."""

from __future__ import annotations

import time
from collections import Counter

import torch
from torch import Tensor

from lib_lora.adapters.file import LoraFile, to_delta
from lib_lora.adapters.merge import combine

RANK = 32
CONTEXT = 2048  # width of SDXL's text conditioning
# channels -> (attention modules, transformer blocks in each), over down, mid and up blocks
ATTENTION = {640: (2 + 3, 2), 1280: (2 + 1 + 3, 10)}

Modules = dict[str, dict[str, Tensor]]


def run() -> dict[str, object]:
    """Time both ways with the threads torch has now.

    Returns:
        ``speedup``: full-matrix seconds ÷ ours. ``excess_error``: the largest (our error − optimal error) ÷ optimal
        error over the sampled layers. ``svd_sampled``: the full-matrix time is measured on one layer of each distinct
        shape and multiplied by the number of layers of that shape. Besides: ``seconds``, ``svd_seconds``, ``layers``,
        ``threads``.
    """
    shapes = sdxl_shapes()
    a, b = (LoraFile(None, {}, random_lora(shapes, seed)) for seed in (0, 1))
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
    }


def sdxl_shapes() -> dict[str, tuple[int, int]]:
    """The 722 layers of SDXL's U-Net that kohya's trainer adapts, [out, in] by name."""
    shapes = {}
    for width, (modules, depth) in ATTENTION.items():
        block = {
            **{f"attn1_to_{n}": (width, width) for n in ("q", "k", "v", "out_0")},
            **{f"attn2_to_{n}": (width, width) for n in ("q", "out_0")},
            **{f"attn2_to_{n}": (width, CONTEXT) for n in ("k", "v")},
            "ff_net_0_proj": (8 * width, width),
            "ff_net_2": (width, 4 * width),
        }
        for module in range(modules):
            name = f"lora_unet_{width}_{module}"
            shapes |= {f"{name}_proj_in": (width, width), f"{name}_proj_out": (width, width)}
            shapes |= {f"{name}_transformer_blocks_{d}_{leaf}": s for d in range(depth) for leaf, s in block.items()}
    return shapes


def random_lora(shapes: dict[str, tuple[int, int]], seed: int) -> Modules:
    """A half-precision LoRA of normal random factors."""
    g = torch.Generator().manual_seed(seed)
    return {
        key: {
            "lora_up.weight": torch.randn(o, RANK, generator=g).half(),
            "lora_down.weight": torch.randn(RANK, i, generator=g).half(),
            "alpha": torch.tensor(16.0),
        }
        for key, (o, i) in shapes.items()
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
