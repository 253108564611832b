"""How captions and images are read."""

from __future__ import annotations

from dataclasses import dataclass

from lib_lora.training.config_groups.only import given
from lib_lora.training.config_groups.setting import CAPTIONS, IMAGES, setting

CHUNK_LAYOUTS = ("web UI", "kohya")


@dataclass
class CaptionSettings:
    """What becomes of a caption before the text encoder reads it."""

    # fmt: off
    shuffle: bool = setting(True, CAPTIONS, "Shuffle tags",
        "New order of the tags each time; a sentence counts as one tag", kohya="shuffle_caption")
    split_sentences: bool = setting(False, CAPTIONS, "Split sentences",
        "Cut sentences at their commas, so that their parts are shuffled like tags")
    keep_tokens: int = setting(1, CAPTIONS, "Keep tokens",
        "The first tags that stay in place; at least 1 with a trigger",
        low=0, high=50, unit="tags", kohya="keep_tokens")
    max_tokens: int = setting(225, CAPTIONS, "Longest caption", "75, 150 or 225",
        low=75, high=225, unit="tokens", kohya="max_token_length")
    clip_skip: int = setting(1, CAPTIONS, "Clip skip", "2 for anime models of SD1, else 1",
        low=1, high=12, kohya="clip_skip")
    caption_extension: str = setting("", CAPTIONS, "Caption files", "Their ending, such as .txt; empty finds it",
        kohya="caption_extension")
    caption_prefix: str = setting("", CAPTIONS, "Prefix", "Put before each caption, with its comma",
        kohya="caption_prefix")
    caption_suffix: str = setting("", CAPTIONS, "Suffix", "Put behind each caption, with its comma",
        kohya="caption_suffix")
    keep_separator: str = setting("", CAPTIONS, "Keep separator",
        "Such as |||; tags before it stay in place, instead of keep tokens", kohya="keep_tokens_separator")
    secondary_separator: str = setting("", CAPTIONS, "Secondary separator",
        "Such as ;;; : tags joined by it stay together", kohya="secondary_separator")
    wildcards: bool = setting(False, CAPTIONS, "Wildcards", "{a|b} in a caption is one of both, drawn each time",
        kohya="enable_wildcard")
    random_line: bool = setting(False, CAPTIONS, "Random line",
        "One of the lines of a caption file, drawn each time; else its first", kohya="enable_wildcard")
    weighted_captions: bool = setting(False, CAPTIONS, "Weighted captions",
        "(tag:1.2) and [tag] weigh tags as in a prompt; else brackets are letters", kohya="weighted_captions")
    chunk_layout: str = setting("web UI", CAPTIONS, "Long captions",
        "How they are cut into chunks of 75 tokens: web UI breaks at commas; kohya for parity only",
        choices=CHUNK_LAYOUTS)
    caption_dropout: float = setting(0.0, CAPTIONS, "Caption dropout",
        "Share of images that are shown without any caption; 0.05-0.1 for styles", low=0, high=1,
        kohya="caption_dropout_rate")
    caption_dropout_every_n_epochs: int = setting(0, CAPTIONS, "No captions every",
        "An epoch without captions every so many; 0 is off", low=0, high=1000, unit="epochs",
        kohya="caption_dropout_every_n_epochs")
    tag_dropout: float = setting(0.0, CAPTIONS, "Tag dropout", "Share of the tags that is left out each time",
        low=0, high=1, kohya="caption_tag_dropout_rate")
    token_warmup: float = setting(0.0, CAPTIONS, "Token warm-up",
        "Share of the steps in which captions grow from their first tags to all", low=0, high=1, unit="of all steps",
        kohya="token_warmup_step")
    token_warmup_min: int = setting(1, CAPTIONS, "Token warm-up: first", "Tags at its start",
        low=0, high=100, unit="tags", kohya="token_warmup_min", only=given("token_warmup", "a token warm-up"))
    # fmt: on


@dataclass
class ImageSettings:
    """Sizes of the images, and how they are prepared."""

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
    color_aug: bool = setting(False, IMAGES, "Colour variations",
        "Also four slightly other hues, saturations and brightnesses of each image; off where the palette matters",
        kohya="color_aug")
    random_crop: bool = setting(False, IMAGES, "Random crop",
        "Cuts what does not fit its bucket at one of four places, not at both ends alike", kohya="random_crop")
    leave_out: str = setting("", IMAGES, "Leave out",
        "Pictures of the folder that teach nothing, such as 03.png|more/07.png; all others are seen exactly as before")
    # fmt: on
