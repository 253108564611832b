"""Every row of the guides' tables: images × repeats × epochs ÷ batch."""

from __future__ import annotations

import pytest

from lib_lora.dataset.balance.epochs import for_images, for_samples
from lib_lora.dataset.balance.repeats import even

BY_IMAGES = [
    ("NAI 1.5", 20, 10, 10, 2, 1000), ("NAI 1.5", 100, 3, 10, 2, 1500), ("NAI 1.5", 400, 1, 10, 2, 2000),
    ("NAI 1.5", 1000, 1, 10, 3, 3333),
    *[(model, *row) for model in ("PDXL", "Illustrious") for row in (
        (20, 2, 10, 2, 200), (40, 2, 7, 2, 280), (60, 2, 5, 2, 300), (100, 2, 4, 2, 400), (200, 2, 3, 2, 600),
        (600, 2, 2, 2, 1200))],
]  # fmt: skip
BY_SAMPLES = [
    ("NAI 1.5", 200, 17, 1700), ("NAI 1.5", 300, 12, 1800), ("NAI 1.5", 400, 10, 2000),
    ("Illustrious", 100, 8, 400), ("Illustrious", 200, 7, 700), ("Illustrious", 300, 5, 750),
    ("Illustrious", 600, 5, 1500),
]  # fmt: skip


@pytest.mark.parametrize(("model", "images", "repeats", "epochs", "batch", "steps"), BY_IMAGES)
def test_one_concept(model, images, repeats, epochs, batch, steps):
    found = for_images(model, images)
    assert (found.repeats, found.epochs, found.batch_size, found.steps) == (repeats, epochs, batch, steps)


@pytest.mark.parametrize(("model", "samples", "epochs", "steps"), BY_SAMPLES)
def test_several_concepts(model, samples, epochs, steps):
    found = for_samples(model, samples)
    assert (found.epochs, found.steps) == (epochs, steps)


@pytest.mark.parametrize(("images", "repeats"), [(20, 5), (33, 3), (100, 1), (50, 2)])
def test_folders_evened_out_to_a_hundred(images, repeats):
    assert even({"outfit": images, "other": 100}, target=100)["outfit"] == repeats
