"""What the judge says about pictures of the tour."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ..judge import Judge, agreement
from ..world import MIRA, Spec


def character_scores(judge: Judge, pictures: Sequence[Image.Image]) -> dict[str, float]:
    """Shares of pictures with each of Mira's defining attributes, and with all of them together; ``n`` pictures."""
    readings = judge.read(pictures)
    shown = {
        "aqua hair": [r.hair == MIRA.hair for r in readings],
        "witch hat": [r.hat == MIRA.hat for r in readings],
        "yellow dress": [r.outfit == MIRA.top for r in readings],
    }
    shown["all three"] = [all(marks) for marks in zip(*shown.values(), strict=True)]
    return {**{name: sum(marks) / len(marks) for name, marks in shown.items()}, "n": len(readings)}


def style_scores(judge: Judge, pictures: Sequence[Image.Image], specs: Sequence[Spec], style: str) -> dict[str, float]:
    """Share of pictures in ``style``, and how many show hair, hat and outfit as their prompts asked; ``n`` pictures."""
    readings = judge.read(pictures)
    asked = agreement(readings, specs)
    share = sum(r.style == style for r in readings) / len(readings)
    kept = {f"{name} as asked": asked[name] for name in ("hair", "hat", "outfit", "background") if name in asked}
    return {f"{style} style": share, **kept, "n": len(readings)}
