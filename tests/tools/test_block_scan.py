from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from lib_lora.adapters.blocks import BLOCKS_26, block_of
from lib_lora.adapters.file import read_lora, write_lora
from lib_lora.errors import UserError
from lib_lora.tools.block_scan import scan
from lib_lora.tools.block_strength import COLUMNS, BlockScan, BlockStrength, shape_of, style_of

SEEDS = (1, 2)


def finished(steps):
    """All steps of a generator, and what it returns."""
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return seen, end.value


@pytest.fixture
def uneven(make_lora, tmp_path):
    """A LoRA of three blocks: OUT11 strong, IN01 weak, and M00 without any effect."""
    file = read_lora(make_lora("mira"))
    factors = {"IN01": 0.2, "M00": 0.0, "OUT11": 1.0}
    modules = {
        key: {**params, "lora_up.weight": params["lora_up.weight"] * factors[block_of(key)]}
        for key, params in file.modules.items()
        if block_of(key) in factors
    }
    return write_lora(tmp_path / "uneven.safetensors", modules, {}, torch.float32)


def test_strength_of_each_block_that_exists(tiny_host, uneven, small):
    steps, found = finished(scan(tiny_host, uneven, small, SEEDS, weight=0.9))
    assert [row.block for row in found.rows] == ["IN01", "M00", "OUT11"]
    weak, nothing, strong = found.rows
    for part in ("image", "latent"):
        assert getattr(nothing, part) == pytest.approx((0, 0), abs=1e-6)
        assert len(getattr(strong, part)) == len(SEEDS)
        assert np.mean(getattr(strong, part)) > np.mean(getattr(weak, part)) > 0
    assert [row.block for row in found.by_strength()] == ["OUT11", "IN01", "M00"]
    assert steps[-1].done == steps[-1].total
    assert [step.done for step in steps] == list(range(1, steps[-1].total + 1))


def test_one_block_alone_is_the_whole_effect(tiny_host, make_lora, small, tmp_path):
    file = read_lora(make_lora("mira"))
    only = {key: params for key, params in file.modules.items() if key.startswith("lora_te_")}
    path = write_lora(tmp_path / "te.safetensors", only, {}, torch.float32)
    _, found = finished(scan(tiny_host, path, small, (3,)))
    (row,) = found.rows
    assert (row.block, row.layers) == ("BASE", len(only))
    assert (*row.image, *row.latent, row.style, row.shape) == pytest.approx((1,) * 4, abs=1e-5)


def test_seeds_are_needed(tiny_host, uneven, small):
    for seeds in ((), (1, 1)):
        with pytest.raises(UserError, match="seed"):
            next(scan(tiny_host, uneven, small, seeds))


@pytest.fixture
def found():
    rows = [BlockStrength(BLOCKS_26[i], i, (0.1 * i, 0.3 * i), (0.2, 0.4), 0.5 - 0.1 * i, 0.1 * i) for i in range(4)]
    return BlockScan("mira", SEEDS, tuple(rows))


def test_who_holds_what(found):
    assert found.holders("style") == ["BASE", "IN00"]  # 0.5 + 0.4 of 1.4
    assert found.holders("shape", 0.5) == ["IN02"]  # 0.3 of 0.6


def test_files_of_a_scan(found, tmp_path):
    table, map_ = found.save(tmp_path / "scans")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[3][:4] == ["IN01", "2", "0.40000", "0.20000"]
    picture = Image.open(map_)
    assert picture.width > picture.height > 100
    assert len(picture.convert("RGB").getcolors(100_000)) > 8


def test_style_and_shape_are_told_apart():
    g = np.random.default_rng(0)
    scene = np.kron(g.random((8, 8, 3)), np.ones((8, 8, 1))).astype(np.float32)

    def shape(pixels):
        return shape_of(Image.fromarray((255 * pixels).astype(np.uint8)))

    def far(a, b):
        return float(np.sqrt(np.mean((a - b) ** 2)))

    darker, moved = scene * 0.6 + 0.1, np.roll(scene, 24, axis=1)
    assert far(shape(darker), shape(scene)) < 0.1 * far(shape(moved), shape(scene))
    assert far(style_of(moved), style_of(scene)) < 0.1 * far(style_of(darker), style_of(scene))
