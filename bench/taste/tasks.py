"""What is tuned, and what the simulated user likes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from bench.lab import QUICK, probabilities
from lib_lora.adapters.block_presets import load_presets
from lib_lora.adapters.file import open_lora
from lib_lora.demo import CHECKPOINT
from lib_lora.demo.judge import Judge, truth
from lib_lora.demo.tour.datasets import character_caption, character_specs, style_specs, write_dataset
from lib_lora.demo.tour.tour import STYLE, TRIGGER, Amounts, Tour
from lib_lora.demo.world import MIRA, Character, Spec, tags
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.tools.taste.drawing import Painter
from lib_lora.tools.taste.proposals import Point
from lib_lora.tools.taste.recipe import Recipe
from lib_lora.tools.taste.space import Tuned

STATE = Path(__file__).resolve().parents[2] / ".state" / "taste"
PLACES = {"white": "arms down", "pink": "arms up", "green": "waving", "night": "arms down"}
PROMPTS = 4  # and as many seeds: each prompt is always drawn from the same noise
PICTURES = 4  # on each side of a question: all prompts
NIGHT = "night"  # the place of all pictures that the character is learned from; no caption names it, so it comes along
FEW = 8
LONG: dict[str, Any] = {"epochs": 3, "rank": 8, "repeats": "8", "fixed_loss_images": 0, "save_every_n_epochs": 0}
Utility = Callable[[Sequence[Image.Image], Sequence[Spec]], list[float]]


@dataclass
class Task:
    """One thing to tune. ``wanted`` has the specs that the prompts ask for."""

    name: str
    recipe: Recipe
    wanted: tuple[Spec, ...]
    utility: Utility
    bench: Bench

    @cached_property
    def files(self) -> dict[str, Path]:
        """The LoRAs by name: what is tuned, and what is subtracted."""
        names = filter(None, (self.recipe.lora, self.recipe.base))
        return {name: self.bench.host.paths.loras / f"{name}.safetensors" for name in names}

    @cached_property
    def tuned(self) -> Tuned:
        """As the page has it."""
        file, *base = (open_lora(path) for path in self.files.values())
        return self.recipe.tuned(file, base[0] if base else None, load_presets())

    @cached_property
    def painter(self) -> Painter:
        return Painter(self.tuned, self.files)

    def scores(self, point: Point, numbers: Sequence[int]) -> list[float]:
        """The utilities of single pictures: those of the prompts ``numbers``."""
        requests = [replace(QUICK, prompt=self.recipe.prompts[number], seed=number) for number in numbers]
        images = self.painter.draw(self.bench.host, point, requests)
        return self.utility(images, [self.wanted[number] for number in numbers])


class Bench:
    """The miniature with its LoRAs, and the judge."""

    def __init__(self, state: Path = STATE):
        torch.set_num_threads(1)
        paths = HostPaths(state / "loras", state / "checkpoints", state / "runs", state)
        self.host = StandaloneHost(paths, [CHECKPOINT])
        self.host.load("miniature")
        self.judge = Judge.load()
        self.tour = Tour(self.host, state / "tour", Amounts(), self.judge)

    def has(self, *names: str) -> bool:
        """Whether these LoRAs are trained: whatever settings this version has, the figures are of the files."""
        return all((self.host.paths.loras / f"{name}.safetensors").exists() for name in names)

    def train_styles(self) -> None:
        """STYLE and BASE as the tour trains them, unless they are there."""
        if not self.has("STYLE", "BASE"):
            self.tour.train_styles()

    def train_at_night(self) -> None:
        """The character from a few pictures of one place, unless it is there."""
        if not self.has(NIGHT):
            specs = [replace(spec, background=NIGHT) for spec in character_specs(FEW, 50)]
            captions = [character_caption(spec).replace(f", {NIGHT}", "") for spec in specs]
            write_dataset(STATE / "sets" / NIGHT, specs, captions)
            self.tour.train(self.tour.config(NIGHT, STATE / "sets" / NIGHT, trigger=TRIGGER, keep_tokens=1, **LONG))

    def probabilities(self, images: Sequence[Image.Image]) -> list[dict[str, dict[str, float]]]:
        """See :func:`bench.lab.probabilities`."""
        return probabilities(self.judge, images)

    def style(self, images: Sequence[Image.Image], specs: Sequence[Spec]) -> list[float]:
        """Drawn in the new style, times how much of what was asked is there."""
        found = []
        for read, spec in zip(self.probabilities(images), specs, strict=True):
            asked = truth(spec)
            kept = [read[name][asked[name]] for name in ("hair", "hat", "outfit", "background") if name in asked]
            found.append(read["style"][STYLE] * sum(kept) / len(kept))
        return found

    def character(self, images: Sequence[Image.Image], specs: Sequence[Spec]) -> list[float]:
        """The character's three attributes, times a background as it was asked."""
        found = []
        for read, spec in zip(self.probabilities(images), specs, strict=True):
            own = read["hair"][MIRA.hair] + read["hat"][MIRA.hat] + read["outfit"][MIRA.top]
            found.append(own / 3 * read["background"][spec.background])
        return found


def tasks(only: str = "") -> Iterator[Task]:
    """Style minus base style, from GP1 and GP2; a character whose place came along, from 1; or ``only`` one of them."""
    bench = Bench()
    for name, task in (("style", _style), ("character", _character)):
        if only in ("", name):
            yield task(bench)


def _style(bench: Bench) -> Task:
    bench.train_styles()
    specs = tuple(style_specs("anime", PROMPTS, seed=1))
    recipe = _recipe("STYLE", [", ".join(tags(spec)) for spec in specs], blocks="GP1", base="BASE", base_blocks="GP2")
    return Task("style", recipe, specs, bench.style, bench)


def _character(bench: Bench) -> Task:
    bench.train_at_night()
    shown = tuple(Spec((replace(MIRA, pose=pose),), background=place) for place, pose in PLACES.items())
    asked = [f"{TRIGGER}, 1girl, solo, {_pose(s.characters[0])}full body, {_place(s)}" for s in shown]
    return Task("character", _recipe(NIGHT, asked), shown, bench.character, bench)


def _recipe(lora: str, prompts: Sequence[str], **values: str) -> Recipe:
    """With all prompts on each side of a question, each from its own noise."""
    seeds = tuple(range(PROMPTS))
    return Recipe(lora, prompts=tuple(prompts), seeds=seeds, pictures=PICTURES, settings=QUICK, **values)


def _pose(c: Character) -> str:
    return "" if c.pose == "arms down" else f"{c.pose}, "


def _place(spec: Spec) -> str:
    return spec.background if spec.background == "night" else f"simple background, {spec.background} background"
