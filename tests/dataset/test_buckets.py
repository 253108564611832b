from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.dataset.buckets import bucket_for, bucket_sizes, nearest_bucket, shrunk_bucket
from lib_lora.dataset.config import DatasetConfig
from lib_lora.errors import UserError

steps = st.sampled_from([8, 16, 32, 64])
sides = st.integers(1, 5000)


@st.composite
def bucket_rules(draw):
    step = draw(steps)
    resolution = draw(st.integers(step, 1536))
    shortest = draw(st.integers(0, resolution))
    longest = draw(st.one_of(st.just(0), st.integers(max(shortest, step), 3000)))
    return resolution, step, shortest, longest


def test_the_list_of_kohya_at_512():
    """sd-scripts' rule worked out by hand for resolution 512, limits 256 and 1024, step 64."""
    by_width = {256: 1024, 320: 768, 384: 640, 448: 576, 512: 512, 576: 448, 640: 384, 704: 320, 768: 320}
    by_width |= {832: 256, 896: 256, 960: 256, 1024: 256}
    expected = {size for w, h in by_width.items() for size in ((w, h), (h, w))}
    assert set(bucket_sizes(512, 64, 256, 1024)) == expected
    assert bucket_sizes(512) == bucket_sizes(512, 64, 256, 1024)


@given(bucket_rules())
def test_buckets_keep_to_their_rule(rule):
    resolution, step, shortest, longest = rule
    buckets = bucket_sizes(*rule)
    square = resolution // step * step
    assert (square, square) in buckets
    assert buckets == sorted(set(buckets))
    for width, height in buckets:
        assert width % step == 0 and height % step == 0
        assert 0 < width * height <= resolution**2
        assert (height, width) in buckets
        if (width, height) != (square, square):
            assert min(width, height) >= (shortest or resolution // 2)
            assert max(width, height) <= (longest or 2 * resolution)


@given(bucket_rules(), sides, sides)
def test_the_chosen_bucket_is_nearest_in_aspect_ratio(rule, width, height):
    buckets = bucket_sizes(*rule)
    chosen = nearest_bucket((width, height), buckets)
    assert chosen in buckets
    if chosen != (width, height):
        error = abs(chosen[0] / chosen[1] - width / height)
        assert all(error <= abs(w / h - width / height) for w, h in buckets)


@given(bucket_rules())
def test_a_picture_of_bucket_size_stays_as_it_is(rule):
    buckets = bucket_sizes(*rule)
    assert [nearest_bucket(size, buckets) for size in buckets] == buckets


@given(sides, sides, st.integers(64, 1536), steps)
def test_without_enlarging_a_bucket_lies_inside_the_image(width, height, resolution, step):
    bucket = shrunk_bucket((width, height), resolution, step)
    for side, own in zip(bucket, (width, height), strict=True):
        assert side % step == 0
        assert side <= max(own, step)
    if min(bucket) > step:
        assert bucket[0] * bucket[1] <= resolution**2 * (1 + 1e-6)


def test_settings_choose_the_rule():
    small = (100, 70)
    assert bucket_for(small, DatasetConfig((), resolution=512, no_upscale=True)) == (64, 64)
    assert bucket_for(small, DatasetConfig((), resolution=512, no_upscale=True, bucket_step=8)) == (96, 64)
    assert bucket_for(small, DatasetConfig((), resolution=512)) == (576, 448)
    assert bucket_for((64, 64), DatasetConfig((), resolution=64, bucket_step=32)) == (64, 64)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("bucket_step", 12), ("bucket_step", 0), ("resolution", 32), ("bucket_max", 32), ("batch_size", 0)],
)
def test_settings_that_cannot_work_are_named(setting, value):
    with pytest.raises(UserError) as error:
        DatasetConfig((), **{setting: value}).validate()
    assert error.value.where == setting
    assert error.value.fix
