"""The judge against pictures whose attributes are known: clean, disturbed, wide, and of the held-out subject."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lib_lora.demo.judge import CLASSES, WEIGHTS, Judge, Reading, agreement, majority, truth
from lib_lora.demo.judge.pictures import judge_spec
from lib_lora.demo.world import MIRA, Character, Spec, jittered, random_spec, render
from lib_lora.demo.world.spec import is_held_out
from lib_lora.errors import UserError

CLEAN_BAR = 0.97
DISTURBED_BAR = 0.92


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load()


@pytest.fixture(scope="module")
def pictures() -> tuple[list[Spec], list[Image.Image]]:
    r = random.Random(20_001)
    specs = [judge_spec(r) for _ in range(1000)]
    return specs, [render(s) for s in specs]


def disturbed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blurred by up to 1.5 pixels, through a lower resolution, moved by up to 6 pixels, noisy."""
    size = image.size
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))
    low = int(rng.integers(64, 128))
    image = image.resize((low * size[0] // size[1], low), Image.Resampling.BILINEAR).resize(size)
    x = np.asarray(image, np.float32)
    dx, dy = rng.integers(-6, 7, 2)
    x = np.pad(x, ((6, 6), (6, 6), (0, 0)), mode="edge")[6 + dy : 6 + dy + size[1], 6 + dx : 6 + dx + size[0]]
    return Image.fromarray((x + rng.normal(0, 8, x.shape)).clip(0, 255).astype(np.uint8))


def assert_at_least(bar: float, rates: dict[str, float]) -> None:
    assert {name: round(rate, 3) for name, rate in rates.items() if rate < bar} == {}


def test_reads_clean_pictures(judge: Judge, pictures):
    specs, images = pictures
    rates = agreement(judge.read(images), specs)
    assert set(rates) == set(CLASSES)
    assert_at_least(CLEAN_BAR, rates)


def test_reads_disturbed_pictures(judge: Judge, pictures):
    specs, images = pictures
    rng = np.random.default_rng(3)
    assert_at_least(DISTURBED_BAR, agreement(judge.read([disturbed(i, rng) for i in images]), specs))


def test_reads_the_subject_that_the_base_model_never_saw(judge: Judge):
    r = random.Random(20_002)
    specs = [jittered(Spec((MIRA,), style=style), r) for style in CLASSES["style"] for _ in range(20)]
    assert all(is_held_out(c) for s in specs for c in s.characters)
    assert_at_least(CLEAN_BAR, agreement(judge.read([render(s) for s in specs]), specs))


def test_a_wide_page_may_show_one_character_or_two(judge: Judge):
    r = random.Random(20_003)
    specs = [replace(random_spec(r, people=1 + i % 2), size=(192, 128)) for i in range(60)]
    assert_at_least(CLEAN_BAR, {"n": agreement(judge.read([render(s) for s in specs]), specs)["n"]})


def test_readings_are_far_better_than_guessing(judge: Judge, pictures):
    specs, _ = pictures
    guess = majority(specs)
    assert set(guess) == set(CLASSES)
    assert all(rate < CLEAN_BAR for rate in guess.values())


def test_readings_do_not_depend_on_company(judge: Judge, pictures):
    _, images = pictures
    together, alone = judge.read(images[:70]), [judge.read([i])[0] for i in images[:70:10]]
    assert together[::10] == alone
    assert judge.read([]) == []


def test_confidence_is_a_probability_of_each_attribute(judge: Judge, pictures):
    for reading in judge.read(pictures[1][:20]):
        assert set(reading.confidence) == set(CLASSES)
        assert all(0 < c <= 1 for c in reading.confidence.values())


def test_a_hat_without_a_choice_of_colour_has_none(judge: Judge):
    crowned = Spec((Character(hat="crown", hat_color="green"),))
    (reading,) = judge.read([render(crowned)])
    assert (reading.hat, reading.hat_color) == ("crown", "none")


def test_only_what_shows_is_judged():
    solo = Spec((MIRA,), background="beach")
    assert truth(solo) == {
        "hair": "aqua",
        "hat": "witch hat",
        "hat_color": "red",
        "outfit": "yellow",
        "background": "beach",
        "n": "1",
        "style": "anime",
    }
    assert "outfit" not in truth(replace(solo, view="close-up"))
    assert "hat_color" not in truth(replace(solo, characters=(replace(MIRA, hat="crown"),)))
    assert set(truth(replace(solo, characters=(MIRA, MIRA)))) == {"background", "n", "style"}


def test_long_hair_hides_a_shirt_from_behind_but_not_a_dress():
    def shown(outfit: str, angle: str) -> bool:
        return "outfit" in truth(Spec((Character(hairstyle="long hair", outfit=outfit),), angle=angle))

    assert shown("shirt and pants", "front") and shown("dress", "from behind")
    assert not shown("shirt and pants", "from behind")


def test_agreement_and_majority_count_only_pictures_that_show_the_attribute():
    shown = (("red", "none", "close-up"), ("red", "witch hat", "full body"), ("blue", "crown", "close-up"))
    specs = [Spec((Character(hair=h, hat=k, hat_color="red", top="pink"),), view=v) for h, k, v in shown]
    reading = Reading("red", "none", "none", "pink", "white", "1", "anime")
    assert agreement([reading] * 3, specs) == {
        "hair": 2 / 3,
        "hat": 1 / 3,
        "outfit": 1.0,
        "background": 1.0,
        "n": 1.0,
        "style": 1.0,
    }
    assert majority(specs) == {
        "hair": 2 / 3,
        "hat": 1 / 3,
        "hat_color": 1.0,
        "outfit": 1.0,
        "background": 1.0,
        "n": 1.0,
        "style": 1.0,
    }


def test_agreement_wants_a_spec_for_each_reading():
    with pytest.raises(ValueError, match="shorter"):
        agreement([Reading("red", "none", "none", "pink", "white", "1", "anime")], [])


def test_missing_or_foreign_weights_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.safetensors"):
        Judge.load(tmp_path / "absent.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(WEIGHTS.read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot be read"):
        Judge.load(damaged)


def test_the_weights_are_small():
    assert WEIGHTS.stat().st_size < 1_500_000
