from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from lib_lora.dataset.collection.journal import Journal
from lib_lora.dataset.duplicates.groups import Duplicates, find_duplicates, group, plan_rejects
from lib_lora.dataset.duplicates.search import Pair, SearchOptions, likeness, matching_pairs, variation
from lib_lora.dataset.duplicates.signatures import BLOCKS, DETAIL, Signatures, perceptual_hashes, read_signatures
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.demo.world import Character, Spec, random_spec, render
from tests.pace import within


def finished(steps):
    """The return value of a generator."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def search(pictures, **options) -> Duplicates:
    return finished(find_duplicates(pictures, SearchOptions(**options)))


def stems(found: Duplicates, pictures, variant: bool) -> set[frozenset[str]]:
    name = [p.path.stem for p in pictures]
    return {frozenset({name[p.first], name[p.second]}) for p in found.pairs if p.variant == variant}


def score(found: set, true: set) -> tuple[float, float]:
    """(precision, recall)"""
    right = len(found & true)
    return right / max(1, len(found)), right / len(true)


def test_planted_copies_and_variants_are_told_apart(planted):
    found = search(planted.pictures)
    for variant, true in ((False, planted.copies), (True, planted.variants)):
        precision, recall = score(stems(found, planted.pictures, variant), true)
        assert precision >= 0.98 and recall >= 0.98
    assert len(found.rejects) == len(planted.copies)
    assert all(len(family) == 2 for family in found.variants)


def test_mirrored_and_scaled_matches_can_be_left_out(planted):
    everything = {frozenset(p) for p in planted.copies}
    plain = stems(search(planted.pictures, mirrored=False), planted.pictures, False)
    same_size = stems(search(planted.pictures, scaled=False), planted.pictures, False)
    assert len(plain) == len(everything) * 3 // 4 and plain < everything
    assert len(same_size) == len(everything) // 2 and same_size < everything


def test_the_largest_then_longest_is_kept_and_rejects_move_with_their_captions(tmp_path, pictures_in):
    picture = render(Spec(size=(96, 96)))
    picture.save(tmp_path / "a.png")
    picture.resize((192, 192)).save(tmp_path / "b.png")
    picture.resize((48, 48)).save(tmp_path / "c.png")
    (tmp_path / "a.txt").write_text("caption", encoding="utf-8")
    found = search(pictures_in(tmp_path))
    assert [g.keep.path.name for g in found.copies] == ["b.png"]
    change = plan_rejects(found, tmp_path / "rejects")
    assert change.counts == {"captions taken over from copies": 1, "pictures moved": 2, "files moved": 3}
    Journal(tmp_path / ".journal").apply(change)
    assert sorted(p.name for p in (tmp_path / "rejects").iterdir()) == ["a.png", "a.txt", "c.png"]


def test_copies_are_matched_with_the_kept_picture_itself(tmp_path, pictures_in):
    for name in "abc":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    pictures = [replace(p, bytes=10 - n) for n, p in enumerate(pictures_in(tmp_path))]
    chain = [Pair(0, 1, 96, 0, False, False), Pair(1, 2, 96, 0, False, False)]
    assert [p.path.stem for p in group(pictures, chain).rejects] == ["b"]


@pytest.mark.parametrize("backdrop", [(255, 255, 255), (90, 90, 90), (20, 60, 200)])
def test_background_is_ignored_on_request(tmp_path, pictures_in, backdrop):
    figure = np.asarray(render(Spec((Character(hair="red"),), background="green", size=(192, 256))))
    clear = (np.abs(figure.astype(int) - figure[0, 0]).max(2) > 12).astype(np.uint8) * 255
    cut = Image.fromarray(np.dstack([figure, clear]))
    cut.save(tmp_path / "clear.png")
    flat = Image.new("RGBA", (260, 300), (*backdrop, 255))
    flat.alpha_composite(cut, (34, 30))
    flat.convert("RGB").save(tmp_path / "flat.png")
    assert not search(pictures_in(tmp_path)).pairs
    assert len(search(pictures_in(tmp_path), ignore_background=True).pairs) == 1


def test_damaged_pictures_are_named(tmp_path, pictures_in):
    render(Spec(size=(64, 64))).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    found = search(pictures_in(tmp_path))
    assert [problem.path.name for problem in found.problems] == ["cut.png"] and not found.pairs
    assert search([]).pairs == ()


def test_measures():
    rng = np.random.default_rng(0)
    grid = rng.integers(0, 200, (1, BLOCKS, BLOCKS, 3), dtype=np.uint8)
    assert likeness(grid, grid) == [100] and likeness(grid, grid + np.uint8(2)) == [94]
    fine = rng.integers(0, 200, (1, DETAIL, DETAIL, 3), dtype=np.uint8)
    changed = fine.copy()
    changed[:, 20:24, 20:24] = 255
    noisy = (fine + rng.integers(-4, 5, fine.shape)).clip(0, 255).astype(np.uint8)
    assert variation(fine, fine) == [0] and variation(fine, changed) > 10 * variation(fine, noisy)


def test_hashes_follow_the_picture_not_its_brightness():
    picture = ImageOps.grayscale(render(Spec(size=(128, 128)))).resize((32, 32))
    grey = np.asarray(picture, np.float32)[None]
    first, brighter, turned = (perceptual_hashes(x) for x in (grey, grey * 0.8 + 30, grey[:, ::-1]))
    assert (first * brighter).sum() == 64 and (first * turned).sum() < 40


def test_bounds_lose_no_pair():
    """The pairs found are those of comparing everything with everything."""
    rng = np.random.default_rng(1)
    base = rng.integers(0, 255, (12, BLOCKS, BLOCKS, 3))
    blocks = np.concatenate([np.clip(base + rng.normal(0, s, base.shape), 0, 255) for s in (0, 1, 2.5, 4)]).astype(
        np.uint8
    )
    blocks = np.concatenate([blocks, blocks[::5, :, ::-1]])
    count = len(blocks)
    hashes = rng.choice(np.array([-1, 1], np.float32), (count, 64))
    fine = np.zeros((count, DETAIL, DETAIL, 3), np.uint8)
    found = Signatures(np.arange(count), blocks, fine, np.stack([hashes] * 8), np.ones(count))
    options = SearchOptions(hardness=92, hash_limit=-1, rotated=False)
    pairs = {(p.first, p.second) for part in matching_pairs(found, options, np.ones((count, 2), int)) for p in part}
    first, second = np.triu_indices(count, 1)
    best = np.maximum(likeness(blocks[first], blocks[second]), likeness(blocks[first][:, :, ::-1], blocks[second]))
    assert pairs == set(zip(first[best >= 92].tolist(), second[best >= 92].tolist(), strict=True)) != set()


def test_signatures_are_read_in_order(tmp_path, pictures_in):
    r = random.Random(0)
    for number in range(5):
        Image.new("RGB", (20 + number, 20), tuple(r.randrange(256) for _ in range(3))).save(tmp_path / f"{number}.png")
    found, problems = finished(read_signatures(pictures_in(tmp_path)))
    assert not problems and found.rows.tolist() == list(range(5))
    assert np.allclose(found.aspects, [1 + n / 20 for n in range(5)])


def test_two_thousand_are_compared_in_a_moment():
    rng = np.random.default_rng(2)
    blocks = rng.integers(0, 255, (2000, BLOCKS, BLOCKS, 3), dtype=np.uint8)
    fine = np.zeros((2000, DETAIL, DETAIL, 3), np.uint8)
    hashes = rng.choice(np.array([-1, 1], np.float32), (2000, 64))
    found = Signatures(np.arange(2000), blocks, fine, np.stack([hashes] * 8), np.ones(2000))
    with within(4):
        assert not any(matching_pairs(found, SearchOptions(), np.ones((2000, 2), int)))


def test_a_kept_picture_takes_over_the_caption_of_its_copy(tmp_path):
    """The larger picture without a caption was kept, and the caption went aside with the smaller one."""
    for number in range(3):
        picture = render(replace(random_spec(random.Random(number), 1), size=(256, 256)))
        picture.save(tmp_path / f"{number}.png")
        ImageOps.mirror(picture).save(tmp_path / f"{number}s.jpg", quality=90)
        (tmp_path / f"{number}s.txt").write_text(f"left hand, tag {number}\n", encoding="utf-8")
    (tmp_path / "1.txt").write_text("own", encoding="utf-8")
    (tmp_path / "2.txt").write_text(" \n", encoding="utf-8")
    editor = DatasetEditor([tmp_path], tmp_path / ".cache")
    found = search(editor.pictures)
    assert len(found.copies) == 3
    change = plan_rejects(found, editor.rejected)
    assert change.counts["captions taken over from copies"] == 2 and "1 (1.png)" in change.notes[0]
    assert {example.after for example in change.examples} >= {"right hand, tag 0\n", "right hand, tag 2\n"}
    editor.apply(change)
    texts = {picture.path.name: picture.text for picture in editor.pictures}
    assert texts == {"0.png": "right hand, tag 0\n", "1.png": "own", "2.png": "right hand, tag 2\n"}
    assert (editor.rejected / "0s.txt").exists()


TURNS = {
    "mirrored": ImageOps.mirror,
    "upside": ImageOps.flip,
    "turned90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned180": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "turned270": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "across": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
}


@pytest.mark.parametrize("size", [(97, 131), (240, 320), (203, 203), (64, 64), (71, 300)])
def test_turned_and_mirrored_copies_are_copies_at_any_size_in_any_format(tmp_path, pictures_in, size):
    """A mirrored PNG counted as a variant: grids of whole pixels are not the same in a mirror."""
    r = random.Random(sum(size))
    picture = render(replace(random_spec(r, 1), size=size, angle="front", view="upper body"))
    picture.save(tmp_path / "a.png")
    for number, (name, turn) in enumerate(TURNS.items()):
        ending = ("png", "webp", "jpg")[number % 3]
        turn(picture).save(
            tmp_path / f"{name}.{ending}", **({"lossless": True} if ending == "webp" else {"quality": 90})
        )
    exif = Image.Exif()
    exif[0x112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "exif.jpg", exif=exif, quality=90)
    turn = TURNS["turned90"]
    turn(picture).resize((size[1] * 2 // 3, size[0] * 2 // 3), Image.Resampling.LANCZOS).save(tmp_path / "smaller.png")
    found = search(pictures_in(tmp_path))
    assert len(found.copies) == 1 and len(found.rejects) == 8 and not found.variants
    kept = next(pair for picture, pair in found.copies[0].copies if picture.path.stem in ("exif", "a"))
    assert kept.turned in (0, 90, 180, 270)
    upright = search(pictures_in(tmp_path), rotated=False, mirrored=False)
    assert {p.path.stem for p in upright.rejects} & {"a", "exif"} and len(upright.copies) > 1
