from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib_lora.adapters.blocks import BLOCKS_26, block_of
from lib_lora.adapters.file import read_lora, to_delta
from lib_lora.errors import UserError
from lib_lora.lora_files import load_network
from lib_lora.tools.blocks import bake, pictures

WEIGHTS = dict.fromkeys(BLOCKS_26, 1.0) | {"BASE": 0.5, "IN01": 0.0, "M00": -1.0}


def pixels(image):
    return np.asarray(image, dtype=np.float32)


def test_pictures_show_the_lora_with_and_without_block_weights(tiny_host, make_lora, small):
    path = make_lora("mira")
    shown = pictures(tiny_host, path, [None, WEIGHTS], small, weight=0.8)
    plain, tuned = load_network(path), load_network(path)
    tuned.set_block_weights(WEIGHTS)
    request = replace(small, weights=(0.8,))
    (before,) = tiny_host.generate([request], networks=(plain,))
    (after,) = tiny_host.generate([request], networks=(tuned,))
    assert np.abs(pixels(shown[0]) - pixels(before)).max() <= 1
    assert np.abs(pixels(shown[1]) - pixels(after)).max() <= 1
    assert np.abs(pixels(before) - pixels(after)).mean() > 1


def test_baked_file_acts_as_the_weighted_one(tiny_host, make_lora, tmp_path):
    path = make_lora("mira", conv_rank=2)
    baked = read_lora(bake(path, WEIGHTS, tmp_path / "tuned.safetensors", weight=0.5, dtype=torch.float32))
    original = read_lora(path)
    for key, params in original.modules.items():
        weight = 0.5 * WEIGHTS[block_of(key)]
        if weight == 0:
            assert key not in baked.modules
        else:
            expected = to_delta(params).dense() * weight
            assert torch.allclose(to_delta(baked.modules[key]).dense(), expected, atol=1e-6)
    assert baked.metadata["merge_formula"].startswith("mira:0.5:")


def test_bake_replaces_nothing(tiny_host, make_lora):
    path, other = make_lora("mira"), make_lora("other")
    before = other.read_bytes()
    for target in (path, other):
        with pytest.raises(UserError):
            bake(path, WEIGHTS, target)
    assert other.read_bytes() == before
