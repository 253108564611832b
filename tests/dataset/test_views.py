"""A few cached views of each picture: colours a little off, crops elsewhere, mirrored."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from lib_lora.dataset.batches import Batches, told_sizes
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.config import Concept
from lib_lora.dataset.images import load_pixels
from lib_lora.dataset.scan import scan
from lib_lora.dataset.views import COUNT, PLAIN, View, drawn, recoloured, views


def test_colours_are_a_little_off_each_time_the_same():
    pixels = torch.rand(3, 16, 16) * 1.6 - 0.8
    for number in range(1, COUNT):
        seen = recoloured(pixels, "picture", number)
        assert torch.equal(seen, recoloured(pixels, "picture", number)) and seen.dtype == pixels.dtype
        assert 0.005 < (seen - pixels).abs().mean() < 0.15 and seen.abs().max() <= 1
        assert not torch.allclose(seen, recoloured(pixels, "another", number))
    assert recoloured(pixels, "picture", 0) is pixels


def test_grey_stays_grey():
    grey = torch.linspace(-1, 1, 48).reshape(1, 6, 8).expand(3, 6, 8)
    seen = recoloured(grey, "picture", 1)
    assert (seen - seen.mean(0)).abs().max() < 1e-3


def test_which_views_a_run_has():
    assert list(views(False, False, False)) == [PLAIN]
    assert list(views(True, False, False)) == [PLAIN, View(True)]
    assert len(list(views(True, True, True))) == 2 * COUNT
    for flags in ((False, True, False), (True, False, True), (True, True, True), (False, False, False)):
        known = set(views(*flags))
        draw = random.Random(0)
        seen = {drawn(draw, flags[0] and draw.random() < 0.5, flags[1], flags[2]) for _ in range(200)}
        assert seen == known


def test_a_crop_takes_what_it_says(add_image, config, encoder, tmp_path):
    add_image("1_x/a.png", (64, 128))
    (item,) = scan(config).items
    top, bottom = (load_pixels(item.path, (64, 64), place=place) for place in (0.0, 1.0))
    whole = load_pixels(item.path, (64, 128))
    assert torch.allclose(top, whole[:, :64]) and torch.allclose(bottom, whole[:, 64:])
    assert [told_sizes((64, 128), (64, 64), place)[2] for place in (0.0, 0.5, 1.0)] == [0, 32, 64]


def test_latents_of_all_views_are_made_once(add_image, config, encoder, tmp_path):
    for i in range(3):
        add_image(f"2_fox/{i}.png", (64, 96))
    config = replace(config, flip=True, colour=True, crop=True, folders=(Concept(tmp_path / "2_fox"),))
    found, cache = scan(config), LatentCache(tmp_path / "cache", encoder)
    for _ in cache.prepare(found, views(True, True, True)):
        pass
    made = encoder.calls
    assert made == 3 * 2 * COUNT
    batches = Batches(found, cache, config, seed=5)
    seen = {draw.view for step in range(40) for draw in batches.batch(step).draws}
    assert seen == set(views(True, True, True)) and encoder.calls == made
    again = Batches(found, cache, config, seed=5)
    assert torch.equal(again.batch(7).latents, batches.batch(7).latents)


@pytest.mark.parametrize("number", range(1, COUNT))
def test_a_mask_is_cut_like_its_picture(number, add_image, config, tmp_path):
    from PIL import Image

    from lib_lora.dataset.masks import Masks

    image = Image.new("RGBA", (64, 128), (200, 100, 50, 255))
    image.paste((200, 100, 50, 0), (0, 0, 64, 40))
    (tmp_path / "1_x").mkdir(exist_ok=True)
    image.save(tmp_path / "1_x" / "a.png")
    item = replace(scan(config).items[0], bucket=(64, 64))
    view = View(crop=number)
    mask = Masks("alpha").batch([(item, view)], (8, 8))[0, 0]
    top = 64 * view.place
    assert mask.sum() == pytest.approx(64 - 8 * min(8, max(0, (40 - top) / 8)), abs=0.2)
