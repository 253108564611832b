from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.dataset.balance.classes import monochrome_share, plan_folders, propose
from lib_lora.dataset.balance.epochs import for_images, for_samples
from lib_lora.dataset.balance.repeats import VARIANTS, even, solve
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.editor import DatasetEditor


def picture(*tags: str, size: tuple[int, int] = (512, 768), name: str = "a.png") -> Picture:
    return Picture(Path("set") / name, size, 1, 0, Path("set"), tags)


@pytest.mark.parametrize(
    ("tags", "size", "expected"),
    [
        (("1girl", "portrait"), (512, 768), "face"),
        (("1girl", "upper_body"), (512, 768), "main"),
        (("1girl", "full body", "upper body"), (512, 768), "full"),
        (("multiple views", "portrait"), (512, 768), "discard"),
        (("1girl",), (512, 768), "main"),
        (("1girl",), (300, 700), "full"),
    ],
)
def test_classes_are_proposed_from_tags_and_shape(tags, size, expected):
    assert propose(picture(*tags, size=size)).name == expected


def test_a_face_box_decides_where_tags_do_not():
    assert [propose(picture(), share).name for share in (0.5, 0.2, 0.05)] == ["face", "main", "full"]
    assert propose(picture("full body"), 0.5).name == "full"


def test_share_of_black_and_white():
    assert monochrome_share([picture("monochrome"), picture("greyscale"), picture("red hair")]) == pytest.approx(2 / 3)
    assert monochrome_share([]) == 0


def test_smallest_repeats_within_the_rules():
    found = solve({"face": 20, "main": 40, "full": 10}, flipped=True)
    assert not found.problems
    assert found.ratio == pytest.approx(4, rel=0.25) and 1000 <= found.total <= 2000
    assert 10 * found.repeats["full"] <= 20 * found.repeats["face"]


def brute_force(images, factor):
    """Least sum of repeats that keeps every rule, by trying all."""
    best = None
    for main in range(1, 120):
        for face in range(1, 120):
            total = factor * (images["main"] * main + images["face"] * face)
            ratio = images["main"] * main / (images["face"] * face)
            if 1000 <= total <= 2000 and abs(ratio / 4 - 1) <= 0.25:
                best = min(best or main + face, main + face)
    return best


@given(st.integers(5, 120), st.integers(5, 120), st.booleans())
def test_no_smaller_repeats_exist(main, face, flipped):
    images = {"main": main, "face": face}
    found, best = solve(images, flipped), brute_force(images, 2 if flipped else 4)
    if best is None:
        assert found.problems
    else:
        assert not found.problems and sum(found.repeats.values()) == best


def test_what_cannot_be_is_explained():
    assert "above 2000" in solve({"main": 1200, "face": 300}, flipped=True).problems[0]
    assert any("add main" in p for p in solve({"main": 100, "face": 300}, flipped=True).problems)
    assert solve({}, flipped=True).problems == ("There are no images",)
    assert solve({"main": 100}, flipped=False).repeats == {"main": 3}


def test_variants_share_the_repeats_of_one_image():
    found = solve({"main": 60, "face": 15, VARIANTS: 8}, flipped=True, variant_size=4)
    assert found.repeats[VARIANTS] == max(1, round(found.repeats["main"] / 4))


def test_concepts_are_evened_out_as_in_the_guide():
    images = {"a": 20, "b": 33, "c": 100, "d": 50}
    repeats = even(images)
    assert repeats == {"a": 5, "b": 3, "c": 1, "d": 2}
    assert sum(images[name] * repeats[name] for name in images) == 399
    assert even({"a": 0, "b": 10}, target=25) == {"a": 1, "b": 2}
    assert even({}) == {}


def test_the_guides_tables():
    steps = [for_images("NAI 1.5", n).steps for n in (20, 100, 400, 1000)]
    assert steps == [1000, 1500, 2000, 3333]
    assert [for_images("Illustrious", n).steps for n in (20, 40, 60, 100, 200, 600)] == [200, 280, 300, 400, 600, 1200]
    assert [for_samples("NAI 1.5", n).epochs for n in (200, 300, 399)] == [17, 12, 10]
    assert [for_samples("Illustrious", n).steps for n in (100, 200, 300, 600)] == [400, 700, 750, 1500]


def test_classes_become_folders(add_image, tmp_path):
    for name in ("a", "b", "c"):
        add_image(f"{name}.png", caption=name)
    editor = DatasetEditor([tmp_path], tmp_path / ".cache")
    a, b, c = editor.pictures
    change = plan_folders({"face": [a], "main": [b], "discard": [c]}, {"face": 2, "main": 5}, tmp_path, "mira")
    assert change.counts == {"pictures moved": 3, "files moved": 6}
    editor.apply(change)
    assert [p.path.relative_to(tmp_path).as_posix() for p in editor.pictures] == [
        "2_mira face/a.png",
        "5_mira main/b.png",
    ]
    assert (tmp_path / ".discarded" / "c.txt").exists()
    editor.undo()
    assert len(editor.pictures) == 3
