from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from lib_lora.dataset.batches import Batches, Plan, samples
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.config import Concept
from lib_lora.dataset.scan import scan


@pytest.fixture
def both(config, add_image, tmp_path):
    """Two foxes seen three times, and regularisation pictures: (how many, their folder's repeats) -> config."""

    def make(count, repeats=1):
        for name in ("a", "b"):
            add_image(f"set/3_fox/{name}.png", caption="red, from left")
        for i in range(count):
            add_image(f"reg/{repeats}_animal/{i}.png", caption="animal")
        folders = (Concept(tmp_path / "set"), Concept(tmp_path / "reg", regularisation=True))
        return replace(config, folders=folders, trigger="mira", prior_weight=0.5, batch_size=4)

    return make


@pytest.mark.parametrize(("count", "repeats", "seen"), [(1, 1, [6]), (4, 1, [2, 2, 1, 1]), (9, 1, [1] * 6)])
def test_it_is_seen_as_often_as_the_subject_in_turn(both, count, repeats, seen):
    """The counts are those of kohya's rule, worked out by hand."""
    found = scan(both(count, repeats))
    counted = Counter(item.path.name for item in samples(found) if item.concept.regularisation)
    assert sorted(counted.values(), reverse=True) == seen
    assert found.samples_per_epoch == 6


def test_it_has_its_own_weight_and_no_trigger(both, encoder, tmp_path):
    config = both(2)
    batches = Batches(scan(config), LatentCache(tmp_path / "cache", encoder), config, 0)
    for step in range(batches.steps_per_epoch):
        batch = batches.batch(step)
        for draw, weight in zip(batch.draws, batch.weights.tolist(), strict=True):
            regular = draw.item.concept.regularisation
            assert weight == (0.5 if regular else 1.0)
            assert draw.caption == ("animal" if regular else "mira, red, from left")


def test_an_epoch_without_it_is_the_same_as_ever(both, config, tmp_path):
    subject_only = replace(both(3), folders=(Concept(tmp_path / "set"),))
    assert Plan(scan(subject_only), subject_only, 0).steps_per_epoch == 2
