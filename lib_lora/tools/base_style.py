"""The base style: a LoRA of what the loaded model draws anyway, to be subtracted from a style LoRA.

Pictures are drawn from tags in a few framings (:mod:`lib_lora.tools.made`), each with its prompt as caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..training.config import TrainConfig

# As taggers call them; a base style needs faces, half figures and whole ones alike.
FRAMINGS = ("face_focus", "portrait", "upper_body", "cowboy_shot", "full_body", "from_side", "from_behind", "sitting")
USUAL_FRAMINGS = ("face_focus", "cowboy_shot", "full_body")
SUBJECTS = ("1girl, solo", "1boy, solo")


def framed(subjects: Sequence[str] = SUBJECTS, framings: Sequence[str] = USUAL_FRAMINGS) -> tuple[str, ...]:
    """A prompt for each subject in each framing, in captions' spelling: ``1girl, solo, face focus``."""
    return tuple(f"{subject}{ending}" for ending in map(_ending, framings or [""]) for subject in subjects)


def unframed(prompts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Subjects and framings that :func:`framed` made ``prompts`` of."""
    framings = [name for name in FRAMINGS if any(prompt.endswith(_ending(name)) for prompt in prompts)]
    endings = tuple(map(_ending, framings))
    subjects = (p.removesuffix(next((end for end in endings if p.endswith(end)), "")) for p in prompts)
    return list(dict.fromkeys(subjects)), framings


def _ending(framing: str) -> str:
    return f", {framing.replace('_', ' ')}" if framing else ""


def training_config(name: str, folder: Path, like: TrainConfig, model: str = "") -> TrainConfig:
    """Settings to train the pictures in ``folder`` as a style LoRA called ``name``.

    Args:
        like: the settings of the style LoRA it will be subtracted from; the two should have learned alike.
        model: checkpoint to train on, the one that made the pictures; empty takes that of ``like``.
    """
    common = replace(like, trigger="", keep_tokens=0, sample_prompts="")
    return replace(common, name=name, data_dir=str(folder), model=model or like.model)
