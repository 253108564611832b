"""Two or three subjects in one LoRA: places first, mixed into one run, or singles first and composites after ("1to2").

Files: each subject has a folder ``N_trigger``. For one joint run and for places first, composites lie beside them; for
two stages they lie apart in ``.two-subjects``, which the first stage does not read.
"""

from __future__ import annotations

import itertools
import math
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from lib_lora.dataset.collection.change import Change, Make, Move, Operation, Write
from lib_lora.dataset.collection.moving import merged
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.pictures.composites import CompositeOptions, count_for_share, plan_composites
from lib_lora.training.config import TrainConfig
from lib_lora.training.presets import preset

PLACES, LOOKS = "Two subjects · places", "Two subjects · looks"
STAGE_1, STAGE_2 = "Two subjects · stage 1", "Two subjects · stage 2"
APART = ".two-subjects"  # below the set; folders with a dot are passed over
COMPOSITES, SINGLES = "1_composites", "1_singles"
ASIDE = ".originals"  # below the set, as of pictures that an edited copy replaces
SMALL = ("bucket_step", "bucket_min", "bucket_max", "unet_lr", "clip_skip", "beta2", "warmup", "max_tokens")
Subjects = Mapping[str, Sequence[Picture]]  # trigger -> its pictures


@dataclass(frozen=True)
class TwoStages:
    """Settings of both runs; the second goes on from the first's LoRA."""

    first: TrainConfig
    second: TrainConfig


def plan_joint(subjects: Subjects, root: Path, options: CompositeOptions) -> Change:
    """Composites beside the subjects' folders, in place of those that were made before."""
    return _anew(plan_composites(subjects, root / COMPOSITES, options), root, root / COMPOSITES)


def plan_stages(subjects: Subjects, root: Path, options: CompositeOptions, regularisation: float = 0.0) -> Change:
    """Composites apart from the subjects' folders, with copies of single pictures among them.

    Args:
        regularisation: share of the second stage that are single pictures, 0 to 1 (not included), so that it does not
            forget them.
    """
    composites = plan_composites(subjects, root / APART / COMPOSITES, options)
    count = count_for_share(composites.counts["pictures made"], regularisation)
    singles = _singles(subjects, root / APART / SINGLES, count, options.seed)
    both = merged([composites, singles], "Composites for a second stage")
    return _anew(both, root, root / APART / COMPOSITES, root / APART / SINGLES)


def _anew(change: Change, root: Path, *made: Path) -> Change:
    """``change``, before which what lies in the folders ``made`` is set aside: it was made by an earlier plan."""
    there = [folder for folder in made if folder.is_dir() and _files(folder)]
    if not there or not change:
        return change
    count = sum(path.suffix != ".txt" for folder in there for path in _files(folder))
    note = f"{count} pictures that were made before are set aside"
    aside = next(place for number in itertools.count(1) if not (place := root / ASIDE / f"made-{number}").exists())
    moves = tuple(Move(path, aside / folder.name / path.name) for folder in there for path in _files(folder))
    return replace(change, operations=(*moves, *change.operations), notes=(*change.notes, note))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def places_configs(name: str, root: Path, **values: object) -> TwoStages:
    """``NAME-places``, then ``NAME``, both over singles and composites: who stands where before what they look like.

    Places are decided where the noise hides the picture. Among all timesteps the few that decide them are outvoted by
    those that see them already, and both subjects become twins; alone they are learned in a few hundred steps.

    Args:
        values: settings for both in place of the presets'.
    """
    first = _config(PLACES, f"{name}-places", root, values)
    return TwoStages(first, replace(_config(LOOKS, name, root, values), start_from=first.name))


def in_small(config: TrainConfig, usual: Mapping[str, Any], composites: Path) -> TrainConfig:
    """One of :func:`places_configs` for a model as small as the miniature, whose own preset has the values ``usual``.

    Its rates, buckets and clip skip are the model's; the text encoder's rate stays that part of the U-Net's that it
    was. Its resolution is the lowest that leaves the widest of the pictures in ``composites`` as large as it is.
    """
    own = {name: usual[name] for name in SMALL}
    step, sides = usual["bucket_step"], [usual["resolution"]]
    for path in composites.glob("*.png"):
        with Image.open(path) as picture:
            sides.append(math.ceil(math.sqrt(picture.width * picture.height)))
    rate = config.te_lr / config.unet_lr * usual["unet_lr"]
    return replace(config, **own, te_lr=rate, resolution=-(-max(sides) // step) * step)


def joint_config(name: str, root: Path, **values: object) -> TrainConfig:
    """One run over singles and composites, by the settings of stage 1."""
    return _config(STAGE_1, name, root, values)


def stage_configs(name: str, root: Path, **values: object) -> TwoStages:
    """``NAME-singles`` over the subjects' folders, then ``NAME`` over the composites.

    Args:
        values: settings for both in place of the presets'.
    """
    first = _config(STAGE_1, f"{name}-singles", root, values)
    second = _config(STAGE_2, name, root / APART, values)
    return TwoStages(first, replace(second, start_from=first.name))


def _config(stage: str, name: str, folder: Path, values: Mapping[str, Any]) -> TrainConfig:
    plain = TrainConfig(name=name, data_dir=str(folder))
    return replace(preset(stage).applied_to(plain), **values)


def _singles(subjects: Subjects, folder: Path, count: int, seed: int) -> Change:
    """Copies of pictures, the subjects in turn, each picture once."""
    rng = random.Random(seed)
    rows = [rng.sample(list(pictures), len(pictures)) for pictures in subjects.values() if pictures]
    turns = [row[i] for i in range(max(map(len, rows), default=0)) for row in rows if i < len(row)]
    made: list[Operation] = []
    for number, picture in enumerate(turns[:count], start=1):
        path = folder / f"single-{number:05}{picture.path.suffix}"
        made += [Make(path, _copier(picture.path)), Write(path.with_suffix(".txt"), picture.text.encode())]
    return Change("Single pictures", tuple(made), {"single pictures copied": len(made) // 2})


def _copier(source: Path) -> Callable[[Path], None]:
    def copy(target: Path) -> None:
        shutil.copyfile(source, target)

    return copy
