"""The base style: a LoRA of what the loaded model draws anyway, to be subtracted from a style LoRA.

Pictures are generated from tag prompts, and each becomes a training image with its prompt as caption.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from lib_lora.models.base import GenerationRequest, Host

from ..errors import UserError
from ..files import PART, write_text
from ..small_files import listed, mapping, record, text, tolerated, whole
from ..training.config import TrainConfig
from .pictures import generate_missing

RECORD = "base_style.json"

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


@dataclass(frozen=True)
class BaseStyleSpec:
    """What to generate.

    Args:
        prompts: tags, used in turn; each picture's caption is its prompt.
        count: how many pictures.
        settings: size, steps, sampler and all else; its prompt and seed do not count.
        seed: of the first picture; each next one counts up.
    """

    prompts: tuple[str, ...] = field(default_factory=framed)
    count: int = 40
    settings: GenerationRequest = field(default_factory=lambda: GenerationRequest(""))
    seed: int = 1

    def requests(self) -> list[GenerationRequest]:
        """One for each picture.

        Raises:
            UserError: no prompt, or no picture.
        """
        if not self.prompts or any(not prompt.strip() for prompt in self.prompts):
            raise UserError("Each picture needs tags", where="prompts", fix="Write at least one line of tags.")
        if self.count < 1:
            raise UserError("At least one picture is needed", where="count", fix="20 to 60 are usual.")
        return [
            replace(self.settings, prompt=self.prompts[i % len(self.prompts)], seed=self.seed + i, weights=())
            for i in range(self.count)
        ]


@dataclass(frozen=True)
class PictureDone:
    """Yielded for each picture; ``done`` of ``total`` are there. ``kept``: it was there already."""

    path: Path
    image: Image.Image
    kept: bool
    done: int
    total: int


def generate_dataset(
    host: Host, spec: BaseStyleSpec, folder: Path, cancelled: Callable[[], bool] | None = None
) -> Generator[PictureDone, None, Path]:
    """Generate the pictures and captions that ``folder`` lacks; returns ``folder``, ready as ``data_dir``.

    Raises:
        UserError: no model, an empty spec, or ``folder`` holds pictures of another model or of other settings.
        Cancelled: as ``host.generate``; what is done stays.
    """
    requests = spec.requests()
    _claim(host, spec, folder)
    paths = [folder / f"{number:04}.png" for number in range(1, len(requests) + 1)]
    for path, request in zip(paths, requests, strict=True):
        write_text(path.with_suffix(".txt"), request.prompt)
    made = generate_missing(host, list(zip(paths, requests, strict=True)), cancelled=cancelled)
    for done, picture in enumerate(made, start=1):
        yield PictureDone(picture.path, picture.image, picture.kept, done, len(paths))
    return folder


def read_spec(folder: Path) -> tuple[str, BaseStyleSpec] | None:
    """The model and the settings that the pictures in ``folder`` are made with; None where there are none."""
    return tolerated(folder / RECORD, _spec, None)


def _spec(content: Any) -> tuple[str, BaseStyleSpec]:
    row = mapping(content)
    settings = record(GenerationRequest, {k: v for k, v in mapping(row["settings"]).items() if k != "weights"})
    prompts = tuple(listed(row["prompts"], text))
    return text(row["model"]), BaseStyleSpec(prompts, whole(row["count"], 1), settings, whole(row["seed"]))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures that are there already, in order."""
    return sorted(folder.glob("[0-9]*.png"))


def training_config(name: str, folder: Path, like: TrainConfig, model: str = "") -> TrainConfig:
    """Settings to train the pictures in ``folder`` as a style LoRA called ``name``.

    Args:
        like: the settings of the style LoRA it will be subtracted from; the two should have learned alike.
        model: checkpoint to train on, the one that made the pictures; empty takes that of ``like``.
    """
    common = replace(like, trigger="", keep_tokens=0, sample_prompts="")
    return replace(common, name=name, data_dir=str(folder), model=model or like.model)


def _claim(host: Host, spec: BaseStyleSpec, folder: Path) -> None:
    """Record what the pictures of ``folder`` are made from, or make sure that it is the same."""
    info = host.info()
    if info is None:
        raise UserError("No model is loaded", fix="Choose a checkpoint first.")
    content = json.dumps({"model": info.name, **asdict(spec)}, indent=1, ensure_ascii=False)
    path = folder / RECORD
    if path.exists():
        if path.read_text(encoding="utf-8", errors="replace") != content:
            what = "There are pictures of another model or other settings here"
            raise UserError(what, where=folder, fix="Choose another name, or delete the folder.")
    elif folder.exists() and any(path.suffix != PART for path in folder.iterdir()):  # one that was killed has begun it
        raise UserError("The folder is not empty", where=folder, fix="Choose a new folder.")
    else:
        write_text(path, content)
