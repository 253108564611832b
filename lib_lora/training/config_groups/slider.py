"""A LoRA that is a slider: what one end has more of, and the other less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib_lora.training.config_groups.only import Only
from lib_lora.training.config_groups.setting import SLIDER, setting


def is_slider(config: Any) -> bool:
    """Whether these settings describe a run that learns a difference instead of pictures."""
    return any(str(getattr(config, name) or "").strip() for name in ("slider_more", "slider_less", "slider_after"))


SLIDES = Only("for a slider", is_slider)


@dataclass
class SliderSettings:
    """The two ends of a slider, as words or as pictures; all empty: no slider."""

    # fmt: off
    slider_more: str = setting("", SLIDER, "More of", "Tags at the positive end, such as smile; makes it a slider")
    slider_less: str = setting("", SLIDER, "Less of",
        "Tags at the negative end, such as frown; empty: without those at the positive end", only=SLIDES)
    slider_after: str = setting("", SLIDER, "After pictures",
        "Folder of pictures after the change, named as those before it in the image folder; instead of tags")
    slider_strength: float = setting(1.0, SLIDER, "Slider strength",
        "How far weight 1 goes, in differences between both ends; 0.5-3", low=0.1, high=20, only=SLIDES)
    # fmt: on
