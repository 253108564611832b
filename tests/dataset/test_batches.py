from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import ceil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.dataset.batches import Batches, Plan, told_sizes
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.scan import Item, Scan, scan
from lib_lora.errors import UserError

BUCKETS = [(64, 64), (96, 32), (32, 96)]


@st.composite
def plans(draw):
    """A plan over invented images: some buckets, repeats and a batch size."""
    shape = draw(st.lists(st.tuples(st.sampled_from(BUCKETS), st.integers(1, 4)), min_size=1, max_size=12))
    items = tuple(
        Item(Path(f"{i}.png"), Concept(Path(f"{repeats}_x"), repeats, ""), bucket, bucket, f"a{i}, b, from left")
        for i, (bucket, repeats) in enumerate(shape)
    )
    config = DatasetConfig((), batch_size=draw(st.integers(1, 5)), shuffle=True, flip=True)
    return Plan(Scan(items, (), ()), config, draw(st.integers(0, 99)))


def expected_samples(plan: Plan) -> Counter:
    return Counter({item: item.concept.repeats for item in plan.items})


@given(plans(), st.integers(0, 5))
def test_an_epoch_sees_every_image_as_often_as_its_repeats_and_never_mixes_buckets(plan, epoch):
    batches = plan.epoch_order(epoch)
    assert Counter(item for batch in batches for item in batch) == expected_samples(plan)
    assert all(len({item.bucket for item in batch}) == 1 for batch in batches)
    assert all(1 <= len(batch) <= plan.config.batch_size for batch in batches)
    per_bucket = Counter(item.bucket for batch in batches for item in batch)
    assert plan.steps_per_epoch == len(batches) == sum(ceil(n / plan.config.batch_size) for n in per_bucket.values())


@given(plans(), st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_a_step_does_not_depend_on_the_steps_before_it(plan, steps):
    fresh = {step: Plan(Scan(plan.items, (), ()), plan.config, plan.seed).draws(step) for step in steps}
    assert {step: plan.draws(step) for step in steps} == fresh


@given(plans())
def test_consecutive_steps_are_the_epochs(plan):
    n = plan.steps_per_epoch
    seen = [[draw.item for draw in plan.draws(step)] for step in range(2 * n)]
    assert seen == plan.epoch_order(0) + plan.epoch_order(1)


def test_epochs_and_seeds_differ():
    items = tuple(Item(Path(f"{i}.png"), Concept(Path("x"), 1), (64, 64), (64, 64), "") for i in range(20))
    found = Scan(items, (), ())
    orders = [Plan(found, DatasetConfig(()), seed).epoch_order(epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_a_batch_has_latents_and_captions_of_its_images(add_image, config, encoder, tmp_path):
    for i in range(4):
        add_image(f"2_fox/{i}.png", (64, 64) if i % 2 else (96, 40), caption=f"tag {i}, from left")
    config = replace(config, batch_size=3, flip=True, trigger="sks", folders=(Concept(tmp_path / "2_fox"),))
    found = scan(config)
    cache = LatentCache(tmp_path / "cache", encoder)
    batches = Batches(found, cache, config, seed=5)
    assert batches.steps_per_epoch == 4
    flips = set()
    for step in range(8):
        batch = batches.batch(step)
        assert len(batch.latents) == len(batch.captions) == len(batch.draws)
        for latents, caption, draw in zip(batch.latents, batch.captions, batch.draws, strict=True):
            assert torch.equal(latents, cache.get(draw.item, draw.view))
            side = "right" if draw.view.flipped else "left"
            assert caption == draw.caption == f"sks, tag {draw.item.path.stem}, from {side}"
            flips.add(draw.view.flipped)
    assert flips == {False, True}


def test_without_images_the_reason_is_said(config, tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match=r"a\.png: the file is empty") as error:
        Plan(scan(config), config, 0)
    assert error.value.where == str(tmp_path)


@pytest.mark.parametrize(
    ("size", "bucket", "told"),
    [
        ((1000, 500), (512, 512), (500, 1000, 0, 256, 512, 512)),
        ((600, 1200), (512, 768), (1200, 600, 128, 0, 768, 512)),
        ((640, 640), (640, 640), (640, 640, 0, 0, 640, 640)),
    ],
)
def test_sdxl_is_told_height_first_and_the_crop_after_resizing(size, bucket, told):
    assert told_sizes(size, bucket) == told
