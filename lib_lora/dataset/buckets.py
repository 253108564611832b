"""Aspect-ratio buckets: the few sizes that all images of a run are brought to.

The rule is kohya sd-scripts' (library/model_util.py, ``make_bucket_resolutions``), so that a dataset falls into the
same buckets here and there. Sizes are (width, height) in pixels.
"""

from __future__ import annotations

import math

from lib_lora.dataset.config import DatasetConfig

Size = tuple[int, int]


def bucket_sizes(resolution: int, step: int = 64, minimum: int = 0, maximum: int = 0) -> list[Size]:
    """All bucket sizes with sides that are multiples of ``step`` and an area of at most resolution².

    Args:
        resolution: side of the square whose area is the limit.
        step: every side is a multiple of it.
        minimum: shortest side, 0 for half of the resolution.
        maximum: longest side, 0 for twice the resolution. The square is always there, whatever the limits.
    """
    area = resolution * resolution
    shortest = _round_up(minimum or resolution // 2, step)
    longest = (maximum or 2 * resolution) // step * step
    square = resolution // step * step
    sizes = {(square, square)}
    for width in range(shortest, longest + 1, step):
        height = min(longest, area // width // step * step)
        if height >= shortest:
            sizes |= {(width, height), (height, width)}
    return sorted(sizes)


def nearest_bucket(size: Size, buckets: list[Size]) -> Size:
    """The image's own size if it is a bucket, else the one of nearest aspect ratio (the larger of two equals)."""
    if size in buckets:
        return size
    ratio = size[0] / size[1]
    return min(buckets, key=lambda b: (abs(b[0] / b[1] - ratio), -b[0] * b[1], b))


def shrunk_bucket(size: Size, resolution: int, step: int) -> Size:
    """The largest bucket inside the image itself, shrunk first if its area is above resolution² (``no_upscale``)."""
    scale = min(1.0, resolution / math.sqrt(size[0] * size[1]))
    width, height = (max(step, int(side * scale + 1e-6) // step * step) for side in size)
    return width, height


def bucket_for(size: Size, config: DatasetConfig) -> Size:
    """Bucket of an image of ``size`` under the user's settings."""
    if config.no_upscale:
        return shrunk_bucket(size, config.resolution, config.bucket_step)
    buckets = bucket_sizes(config.resolution, config.bucket_step, config.bucket_min, config.bucket_max)
    return nearest_bucket(size, buckets)


def _round_up(value: int, step: int) -> int:
    return max(step, -(-value // step) * step)
