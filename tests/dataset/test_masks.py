from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from lib_lora.dataset.batches import Batches
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.scan import scan


def half_white(path, size, mode="L"):
    """Black (or transparent), with its left half white (or opaque)."""
    image = Image.new(mode, size, 0)
    image.paste(255 if mode == "L" else (9, 9, 9, 255), (0, 0, size[0] // 2, size[1]))
    image.save(path)


def batch_of(config, encoder, tmp_path):
    found = scan(config)
    return found, Batches(found, LatentCache(tmp_path / "cache", encoder), config, 0).batch(0)


@pytest.mark.parametrize("ending", ["-masklabel", "_mask"])
def test_a_mask_beside_its_picture_is_no_picture(config, encoder, add_image, tmp_path, ending):
    add_image("a.png", caption="fox")
    half_white(tmp_path / f"a{ending}.png", (64, 64))
    found, batch = batch_of(replace(config, masks="files"), encoder, tmp_path)
    assert [item.path.name for item in found.items] == ["a.png"] and not found.problems
    assert batch.masks.shape == (1, 1, 8, 8)
    assert batch.masks[0, 0, :, :4].min() == 1 and batch.masks[0, 0, :, 4:].max() == 0


def test_masks_that_are_not_wanted_are_reported_and_not_trained(config, add_image, tmp_path):
    add_image("a.png")
    half_white(tmp_path / "a_mask.png", (64, 64))
    found = scan(config)
    assert [item.path.name for item in found.items] == ["a.png"]
    assert any("mask files are not used" in str(problem) for problem in found.problems)


def test_a_picture_called_mask_is_a_picture(config, add_image):
    add_image("_mask.png")
    add_image("iron_mask.png")
    assert len(scan(replace(config, masks="files")).items) == 2


def test_a_folder_of_masks_of_another_size(config, encoder, add_image, tmp_path):
    add_image("set/a.png")
    (tmp_path / "masks").mkdir()
    half_white(tmp_path / "masks" / "a.png", (32, 32))
    folders = (replace(config.folders[0], path=tmp_path / "set"),)
    config = replace(config, folders=folders, masks="files", mask_folder=tmp_path / "masks")
    _, batch = batch_of(config, encoder, tmp_path)
    assert batch.masks[0, 0, :, :3].min() == 1 and batch.masks[0, 0, :, 5:].max() == 0


def test_transparency_mirrored_with_its_picture(config, encoder, tmp_path):
    half_white(tmp_path / "a.png", (64, 64), "RGBA")
    config = replace(config, masks="alpha", flip=True)
    found = scan(config)
    batches = Batches(found, LatentCache(tmp_path / "cache", encoder), config, 0)
    seen = {}
    for step in range(12):
        batch = batches.batch(step)
        seen[batch.draws[0].view.flipped] = batch.masks[0, 0, 0]
    left = torch.tensor([1.0] * 4 + [0.0] * 4)
    assert torch.equal(seen[False], left) and torch.equal(seen[True], left.flip(0))


def test_without_a_mask_everything_counts(config, encoder, add_image, tmp_path):
    add_image("a.png")
    _, batch = batch_of(replace(config, masks="files"), encoder, tmp_path)
    assert torch.equal(batch.masks, torch.ones(1, 1, 8, 8))
    assert batch_of(config, encoder, tmp_path)[1].masks is None
