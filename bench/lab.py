"""The miniature as a laboratory: small trainings of a character or a style, each made once and kept in ``.state/lab``.

A second start goes on where the first one ended; whoever measures on the same training shares it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lib_lora.demo import CHECKPOINT
from lib_lora.demo.judge import CLASSES, Judge
from lib_lora.demo.judge.network import pixels, to_tensor
from lib_lora.demo.tour.datasets import character_caption, character_specs, write_dataset
from lib_lora.demo.tour.tour import PICTURE, TRIGGER, Amounts, Tour
from lib_lora.demo.world import HAIR
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.randomness import rng
from lib_lora.training.run import Run

STATE = Path(__file__).resolve().parents[1] / ".state" / "lab"
QUICK = replace(PICTURE, steps=5, cfg=1.0)  # enough for the judge, at a sixth of the tour's time
PICTURES, HELD_OUT = 30, 0.2  # of which 24 are trained
CHARACTER: dict[str, Any] = {"epochs": 6, "rank": 8, "repeats": "1", "keep_tokens": 1, "trigger": TRIGGER,
                             "validation_split": HELD_OUT, "fixed_loss_images": 4}  # fmt: skip
FEW = 8  # pictures that are learned by heart, in 48 steps
BY_HEART = CHARACTER | {"rank": 32, "alpha": 32.0, "repeats": "4", "validation_split": 0.0, "fixed_loss_images": 0}


@dataclass(frozen=True)
class Planted:
    """A training with one wrong picture: ``number``, from 0, shows the character with hair of colour ``hair``, and has
    the caption ``caption``, as if nothing were wrong."""

    run: Run
    folder: Path
    number: int
    hair: str
    caption: str

    @property
    def wrong(self) -> Path:
        return self.folder / f"{self.number + 1:02}.png"


class Lab:
    """The miniature, the judge, and trainings."""

    def __init__(self, state: Path = STATE):
        torch.set_num_threads(1)
        paths = HostPaths(state / "loras", state / "checkpoints", state / "runs", state)
        self.state = state
        self.host = StandaloneHost(paths, [CHECKPOINT])
        self.host.load("miniature")
        self.judge = Judge.load()
        self.tour = Tour(self.host, state / "tour", Amounts(), self.judge)

    def planted(self, seed: int) -> Planted:
        """24 trained pictures of the character, one of them with other hair and captioned like the rest; 6 held out."""
        held_out = rng(seed, "validation", 0).sample(range(PICTURES), round(HELD_OUT * PICTURES))
        numbers = [number for number in range(PICTURES) if number not in held_out]
        return self._planted("planted", seed, PICTURES, numbers, CHARACTER)

    def by_heart(self, seed: int) -> Planted:
        """Eight pictures of the character that are learned by heart, one of them with other hair, so that what its
        caption asks for has that hair now and then."""
        return self._planted("by-heart", seed, FEW, range(FEW), BY_HEART)

    def _planted(
        self, name: str, seed: int, count: int, numbers: Sequence[int], settings: Mapping[str, Any]
    ) -> Planted:
        """A training on ``count`` pictures, one of ``numbers`` with other hair."""
        specs, r = character_specs(count, seed), random.Random(seed)
        number = r.choice(numbers)
        hair = r.choice([colour for colour in HAIR if colour != specs[number].characters[0].hair])
        folder = self.state / "sets" / f"{name}-{seed}"
        captions = [character_caption(spec) for spec in specs]
        specs[number] = replace(specs[number], characters=(replace(specs[number].characters[0], hair=hair),))
        write_dataset(folder, specs, captions)
        run = self.trained(f"{name}-{seed}", folder, seed=seed, **settings)
        return Planted(run, folder, number, hair, captions[number])

    def steady(self, seed: int) -> Run:
        """24 trained pictures of the character at a constant rate, as styles are trained; 6 held out."""
        specs = character_specs(PICTURES, 100 + seed)
        folder = self.state / "sets" / f"steady-{seed}"
        write_dataset(folder, specs, [character_caption(spec) for spec in specs])
        return self.trained(f"steady-{seed}", folder, seed=seed, schedule="constant", warmup=0.0, **CHARACTER)

    def trained(self, name: str, folder: Path, **settings: Any) -> Run:
        """The finished training of that name and those settings."""
        return self.tour.train(self.tour.config(name, folder, **settings))

    def read(self, images: Sequence[Image.Image]) -> list[dict[str, dict[str, float]]]:
        """See :func:`probabilities`."""
        return probabilities(self.judge, images)


@torch.inference_mode()
def probabilities(judge: Judge, images: Sequence[Image.Image]) -> list[dict[str, dict[str, float]]]:
    """Attribute -> value -> the judge's probability, for each picture."""
    shown = to_tensor(torch.stack([torch.from_numpy(pixels(image).copy()) for image in images]).numpy())
    logits = judge.network(shown)
    found = []
    for i in range(len(images)):
        found.append({n: dict(zip(CLASSES[n], x[i].softmax(0).tolist(), strict=True)) for n, x in logits.items()})
    return found
