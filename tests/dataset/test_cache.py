from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.images import load_pixels
from lib_lora.dataset.problems import BadFile
from lib_lora.dataset.scan import scan
from lib_lora.dataset.views import View, views


def prepared(cache, found, flip=False):
    """(what `prepare` yields, what it returns)."""
    steps, progress = cache.prepare(found, list(views(flip, False, False))), []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as end:
            return progress, end.value


def entries(folder):
    return sorted(folder.glob("*.safetensors"))


def test_an_image_is_encoded_once_and_comes_back_bit_for_bit(add_image, config, encoder, tmp_path):
    add_image("1_x/a.png", (64, 64))
    (item,) = scan(config).items
    first = LatentCache(tmp_path / "cache", encoder).get(item)
    again = LatentCache(tmp_path / "cache", encoder).get(item)
    assert first.shape == (4, 8, 8) and first.dtype == torch.float32
    assert torch.equal(first, again)
    assert torch.equal(first, encoder.encode_images(load_pixels(item.path, item.bucket)[None])[0])
    assert encoder.calls == 2  # one of them just now


def test_prepare_encodes_what_is_missing_and_says_how_far_it_is(add_image, config, encoder, tmp_path):
    for name in "abc":
        add_image(f"2_x/{name}.png", (64, 96))
    found = scan(config)
    cache = LatentCache(tmp_path / "cache", encoder)
    cache.get(found.items[1])
    progress, usable = prepared(cache, found, flip=True)
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert usable == found
    assert encoder.calls == 6 and len(entries(tmp_path / "cache")) == 6
    prepared(LatentCache(tmp_path / "cache", encoder), found, flip=True)
    assert encoder.calls == 6


def test_prepare_may_be_left_in_the_middle(add_image, config, encoder, tmp_path):
    for name in "abc":
        add_image(f"2_x/{name}.png")
    found = scan(config)
    steps = LatentCache(tmp_path / "cache", encoder).prepare(found)
    next(steps)
    steps.close()
    prepared(LatentCache(tmp_path / "cache", encoder), found)
    assert encoder.calls == 3


def test_mirrored_latents_are_an_entry_of_their_own(add_image, config, encoder, tmp_path):
    add_image("1_x/a.png")
    (item,) = scan(config).items
    cache = LatentCache(tmp_path / "cache", encoder)
    assert torch.equal(cache.get(item, View(flipped=True)), cache.get(item).flip(-1))
    assert len(entries(tmp_path / "cache")) == 2


def test_image_vae_and_bucket_each_make_a_new_entry(add_image, config, encoder, tmp_path):
    path = add_image("1_x/a.png")
    (item,) = scan(config).items
    folder = tmp_path / "cache"
    LatentCache(folder, encoder).get(item)
    encoder.vae = "another"
    LatentCache(folder, encoder).get(item)
    LatentCache(folder, encoder).get(replace(item, bucket=(32, 96)))
    assert len(entries(folder)) == 3
    path.with_name("copy.png").write_bytes(path.read_bytes())
    LatentCache(folder, encoder).get(replace(item, path=path.with_name("copy.png")))
    assert len(entries(folder)) == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped bit", "swapped"])
def test_damaged_entries_are_made_anew(add_image, config, encoder, tmp_path, damage):
    add_image("1_x/a.png")
    add_image("1_x/b.png")
    first, second = scan(config).items
    folder = tmp_path / "cache"
    good = LatentCache(folder, encoder).get(first).clone()
    (entry,) = entries(folder)
    content = entry.read_bytes()
    if damage == "cut":
        entry.write_bytes(content[:-5])
    elif damage == "empty":
        entry.write_bytes(b"")
    elif damage == "flipped bit":
        entry.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    else:
        LatentCache(folder, encoder).get(second)
        (other,) = set(entries(folder)) - {entry}
        entry.write_bytes(other.read_bytes())
    calls = encoder.calls
    assert torch.equal(LatentCache(folder, encoder).get(first), good)
    assert torch.equal(LatentCache(folder, encoder).get(first), good)
    assert encoder.calls == calls + 1


def test_an_image_that_cannot_be_decoded_is_reported_and_left_out(add_image, config, encoder, tmp_path):
    add_image("1_x/a.png")
    cut = add_image("1_x/cut.png", (64, 64))
    cut.write_bytes(cut.read_bytes()[:-40])
    gone = add_image("1_x/gone.png")
    found = scan(config)
    assert len(found.items) == 3  # headers are fine
    gone.unlink()
    progress, usable = prepared(LatentCache(tmp_path / "cache", encoder), found)
    assert len(progress) == 3
    assert [i.path.name for i in usable.items] == ["a.png"]
    assert {p.path.name: p.skipped for p in usable.problems} == {"cut.png": True, "gone.png": True}
    assert all(p.reason and p.fix for p in usable.problems)


def test_numbers_that_are_not_finite_are_never_kept(add_image, config, encoder, tmp_path):
    add_image("1_x/a.png")
    (item,) = scan(config).items
    encoder.encode_images = lambda pixels: torch.full((1, 4, 8, 8), torch.nan)
    with pytest.raises(BadFile, match="finite"):
        LatentCache(tmp_path / "cache", encoder).get(item)
    assert entries(tmp_path / "cache") == []


def test_latents_of_a_real_model(add_image, config, tiny_host, tmp_path):
    add_image("1_x/a.png", (90, 60))
    (item,) = scan(config).items
    with tiny_host.training_session() as model:
        cache = LatentCache(tmp_path / "cache", model)
        latents = cache.get(item)
        pixels = load_pixels(item.path, item.bucket)[None]
        assert torch.equal(latents, model.encode_images(pixels)[0].float())
    assert latents.shape == (4, item.bucket[1] // 8, item.bucket[0] // 8)
    assert not latents.requires_grad
