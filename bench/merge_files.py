"""A merge from file to file: SDXL LoRAs of rank 32 and 128 and a LoHa of rank 8, with two block vectors.

As a program it measures one merge in a process of its own, so that the peak of memory is that of the merge.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from bench.process import peak_memory
from lib_lora.adapters.file import write_lora
from lib_lora.tools.merge import merge

FORMULA = "A:1:1,0.6,0.9,0.9,0.6,0.4,0.5,0.8,1,1.1,1.1,1.1,B:-0.5:0.3,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.2,0.2,0.2,0.2,C:0.7"
RANK = 64  # of the result; the exact sum has 32 + 128 + 8²
CONTEXT = 2048  # width of SDXL's text conditioning
# U-Net blocks with attention: width of the block, transformer blocks in it
ATTENTION = {
    **dict.fromkeys(("input_blocks_4_1", "input_blocks_5_1"), (640, 2)),
    **dict.fromkeys(("input_blocks_7_1", "input_blocks_8_1", "middle_block_1"), (1280, 10)),
    **dict.fromkeys(("output_blocks_0_1", "output_blocks_1_1", "output_blocks_2_1"), (1280, 10)),
    **dict.fromkeys(("output_blocks_3_1", "output_blocks_4_1", "output_blocks_5_1"), (640, 2)),
}

Modules = dict[str, dict[str, Tensor]]


def sdxl_shapes() -> dict[str, tuple[int, int]]:
    """The 722 layers of SDXL's U-Net that kohya's trainer adapts, [out, in] by name."""
    shapes = {}
    for module, (width, depth) in ATTENTION.items():
        block = {
            **{f"attn1_to_{n}": (width, width) for n in ("q", "k", "v", "out_0")},
            **{f"attn2_to_{n}": (width, width) for n in ("q", "out_0")},
            **{f"attn2_to_{n}": (width, CONTEXT) for n in ("k", "v")},
            "ff_net_0_proj": (8 * width, width),
            "ff_net_2": (width, 4 * width),
        }
        name = f"lora_unet_{module}"
        shapes |= {f"{name}_proj_in": (width, width), f"{name}_proj_out": (width, width)}
        shapes |= {f"{name}_transformer_blocks_{d}_{leaf}": s for d in range(depth) for leaf, s in block.items()}
    return shapes


def random_lora(shapes: dict[str, tuple[int, int]], rank: int, seed: int) -> Modules:
    """A half-precision LoRA of normal random factors."""
    g = torch.Generator().manual_seed(seed)
    return {
        key: {
            "lora_up.weight": torch.randn(o, rank, generator=g).half(),
            "lora_down.weight": torch.randn(rank, i, generator=g).half(),
            "alpha": torch.tensor(rank / 2),
        }
        for key, (o, i) in shapes.items()
    }


def random_loha(shapes: dict[str, tuple[int, int]], rank: int, seed: int) -> Modules:
    """The same for LoHa."""
    g = torch.Generator().manual_seed(seed)
    sizes = {"hada_w1_a": 0, "hada_w1_b": 1, "hada_w2_a": 0, "hada_w2_b": 1}
    return {
        key: {
            name: torch.randn(*((rank, i) if inner else (o, rank)), generator=g).half() for name, inner in sizes.items()
        }
        | {"alpha": torch.tensor(rank / 2)}
        for key, (o, i) in shapes.items()
    }


def run() -> dict[str, object]:
    """Write the three files, and merge them in another process with as many threads as torch has here.

    Returns:
        ``seconds``, ``cpu_seconds`` and ``peak_gb`` of reading, merging, reducing and writing; ``rank``, ``error``.
    """
    shapes = sdxl_shapes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_lora(path / "A.safetensors", random_lora(shapes, 32, 0), {})
        write_lora(path / "B.safetensors", random_lora(shapes, 128, 1), {})
        write_lora(path / "C.safetensors", random_loha(shapes, 8, 2), {})
        command = [sys.executable, "-m", "bench.merge_files", folder, str(torch.get_num_threads())]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path) -> dict[str, object]:
    """One merge from file to file."""
    start, cpu = time.perf_counter(), time.process_time()
    merged = merge(FORMULA, folder, rank=RANK)
    merged.save(folder / "merged.safetensors")
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_gb": peak_memory() / 2**30,
        "rank": merged.rank,
        "error": merged.report.total_error,
    }


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    print(json.dumps(measure(Path(sys.argv[1]))))
