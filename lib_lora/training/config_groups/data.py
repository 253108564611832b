"""How captions and images are read."""

from __future__ import annotations

from dataclasses import dataclass

from lib_lora.training.config_groups.setting import CAPTIONS, IMAGES, setting


@dataclass
class CaptionSettings:
    # fmt: off
    shuffle: bool = setting(True, CAPTIONS, "Shuffle tags",
        "New order of the tags each time; for tags, not for sentences", kohya="shuffle_caption")
    keep_tokens: int = setting(1, CAPTIONS, "Keep tokens",
        "The first tags that stay in place; at least 1 with a trigger",
        low=0, high=50, unit="tags", kohya="keep_tokens")
    max_tokens: int = setting(225, CAPTIONS, "Longest caption", "75, 150 or 225",
        low=75, high=225, unit="tokens", kohya="max_token_length")
    clip_skip: int = setting(1, CAPTIONS, "Clip skip", "2 for anime models of SD1, else 1",
        low=1, high=12, kohya="clip_skip")
    # fmt: on


@dataclass
class ImageSettings:
    # fmt: off
    resolution: int = setting(512, IMAGES, "Resolution", "Area of the images is this squared; 512-768 for SD1",
        low=64, high=2048, unit="px", kohya="resolution")
    bucket_step: int = setting(64, IMAGES, "Bucket step", "Sides are multiples of this",
        low=8, high=256, unit="px", kohya="bucket_reso_steps")
    bucket_min: int = setting(0, IMAGES, "Shortest side", "Of any bucket; 0 is half of the resolution",
        low=0, high=2048, unit="px", kohya="min_bucket_reso")
    bucket_max: int = setting(0, IMAGES, "Longest side", "Of any bucket; 0 is twice the resolution",
        low=0, high=4096, unit="px", kohya="max_bucket_reso")
    no_upscale: bool = setting(False, IMAGES, "Never enlarge", "Small images get small buckets",
        kohya="bucket_no_upscale")
    flip: bool = setting(False, IMAGES, "Flip",
        "Mirror half of the images and swap left/right tags; off for asymmetric subjects", kohya="flip_aug")
    # fmt: on
