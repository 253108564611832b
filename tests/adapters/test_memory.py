"""Memory in proportion: what is in memory at once are a few layers, or the result, and not what is on the disk."""

from __future__ import annotations

import json
import subprocess
import sys

import torch

from lib_lora.adapters import write_lora

LAYERS, WIDTH, RANK = 40, 1280, 128  # 26 MB a file in half precision, where one layer has 0.65 MB
MERGE = """
import json, sys, torch
from pathlib import Path
torch.set_num_threads(2)
from lib_lora.tools.merge import merge
from lib_lora.adapters import read_lora

def peak():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

folder, rank = Path(sys.argv[1]), json.loads(sys.argv[2])
merge("small:1,small:-0.5", folder, rank=rank).save(folder / "first.safetensors", overwrite=True)
before = peak()
merge("a:1,b:-0.5", folder, rank=rank).save(folder / "out.safetensors", overwrite=True)
print(peak() - before)
"""


def lora(seed: int, layers: int = LAYERS) -> dict[str, dict[str, torch.Tensor]]:
    g = torch.Generator().manual_seed(seed)
    block = "lora_unet_input_blocks_7_1_transformer_blocks"
    keys = [f"{block}_{i % 10}_attn1_to_{('q', 'k', 'v', 'out_0')[i // 10]}" for i in range(layers)]
    up, down = torch.randn(WIDTH, RANK, generator=g).half(), torch.randn(RANK, WIDTH, generator=g).half()
    return {key: {"lora_up.weight": up.roll(i, 0), "lora_down.weight": down.roll(i, 0)} for i, key in enumerate(keys)}


def grown(folder, rank: int | None) -> float:
    """MB that a merge of the two files needs beyond what a merge of two layers does; the less of two processes.

    On a busy machine threads wait for each other at other places, and what one made ahead lies there longer.
    """
    command = [sys.executable, "-c", MERGE, str(folder), json.dumps(rank)]
    done = [subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout for _ in range(2)]
    return min(map(float, done))


def test_a_merge_needs_a_few_layers_or_its_result(tmp_path):
    for name, count, seed in (("a", LAYERS, 0), ("b", LAYERS, 1), ("small", 4, 2)):
        write_lora(tmp_path / f"{name}.safetensors", lora(seed, count), {})
    exact = 2 * LAYERS * 2 * WIDTH * 2 * RANK / 2**20  # MB of the result in half precision
    assert grown(tmp_path, None) < 0.35 * exact  # in memory, it would be twice that, and four times while it is written
    reduced = LAYERS * 2 * WIDTH * 16 * 4 / 2**20
    assert grown(tmp_path, 16) < reduced + 0.35 * exact
