"""The experiment: four ways to train two characters, the same prompts and seeds, and the judge's table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from lib_lora.models.base import Host

from ...dataset.collection.change import Change
from ...dataset.collection.picture import Picture
from ...dataset.editor import DatasetEditor
from ...dataset.pictures.composite_captions import with_sides
from ...dataset.pictures.composites import CompositeOptions
from ...files import write_text
from ...tools.pictures import save_png
from ...tools.sheet import Sheet
from ...tools.two_subjects import APART, plan_joint, plan_stages
from ...tools.two_subjects import Subjects as Pictures
from ..judge import Judge
from ..tour.report import table
from ..tour.tour import PICTURE, Tour
from ..tour.tour import Amounts as TourAmounts
from .scores import pair_scores, who
from .subjects import FIGURE, HEIGHT, PAIR, Subjects, write_singles

TEMPLATE = "CharLeft, CharRight, People, TagsLeft, TagsRight"
PROMPT = "{}, {}, 2girls, full body, simple background, white background"
ALONE = "{}, 1girl, solo, full body, simple background, white background"
PLACED = "{} left, {} right, 2girls, full body, simple background, white background"
PLACES_FIRST = "places first"
SHOWN = 6  # pictures of each way on the sheet
Scores = dict[str, dict[str, float]]  # way -> share of pictures by what is seen
TEXT = """\
# Two characters in one picture

Share of {n} pictures (192×128, the same prompts and seeds for each way; `{prompt}`, half of them with the names
exchanged; `{placed}` where places come first) in which the judge sees
the characters: right is who has its colours of hair and of outfit. Each character has {singles} pictures of its own;
composites are {share:.0%} of the set, {more:.0%} where places come first. The other ways train {steps} steps, this one
{first} at the noisiest timesteps and {then} at others too. Alone: as many pictures of one character (128×128).
Data seed {seed}, picture seeds from {first_seed}.

{table}
"""


@dataclass(frozen=True)
class Places:
    """Of the fourth way: steps of both runs, and their settings."""

    steps: tuple[int, int] = (200, 150)
    share: float = 0.67
    network: tuple[tuple[str, object], ...] = (("rank", 16), ("alpha", 16.0))
    first: tuple[tuple[str, object], ...] = (("min_timestep", 800), ("te_lr", 0.006))
    then: tuple[tuple[str, object], ...] = (("min_timestep", 500), ("te_lr", 0.004))


@dataclass(frozen=True)
class Amounts:
    """How much of everything; the defaults are meant for half an hour on two CPU cores.

    Args:
        singles: pictures of each character.
        share: composites in the whole set.
        regularisation: singles in the second stage.
        steps: of training for each way; the two stages share them.
        pictures: drawn for each way.
        places: settings, steps and composites' share of the fourth way. Who stands where is decided where the noise
            hides the picture, so the first run sees nothing else; the second goes on from it, and learns the looks.
        training: settings over those of the preset for the miniature. Singles and composites are trained at the size
            that they have, so that a figure is as large in both, and as large as it will be drawn.
    """

    singles: int = 20
    share: float = 0.5
    regularisation: float = 0.2
    steps: int = 480
    pictures: int = 32
    seed: int = 0
    first_seed: int = 5000
    places: Places = Places()
    training: tuple[tuple[str, object], ...] = (
        ("rank", 8), ("keep_tokens", 2), ("resolution", 160), ("no_upscale", True),
    )  # fmt: skip


def run(host: Host, output: Path, amounts: Amounts | None = None, judge: Judge | None = None) -> Scores:
    """Train, draw, read, and write ``pair.md``, ``pair.json`` and ``pair.png`` into ``output``; returns the scores.

    What is there already is not made again, so a second start goes on where the first one ended.
    """
    amounts = amounts or Amounts()
    return Experiment(host, output, amounts, judge or Judge.load()).run()


class Experiment:
    """One experiment; see :func:`run`."""

    def __init__(self, host: Host, output: Path, amounts: Amounts, judge: Judge):
        self.host, self.output, self.amounts, self.judge = host, output, amounts, judge
        self.folder = host.paths.data / "pair"
        self.desk = Tour(host, output, TourAmounts(), judge)  # trains and draws, and keeps what is done

    def run(self) -> Scores:
        """Train what is missing, draw, judge."""
        loras = {"base model": None, **self.train()}
        one, other = PAIR
        names = [(one, other) if i % 2 == 0 else (other, one) for i in range(self.amounts.pictures)]
        drawn = {name: self.drawn(name, lora, names) for name, lora in loras.items()}
        shown = min(SHOWN, len(names))
        rows = [images[:shown] for images in drawn.values()]
        save_png(Sheet(rows, [""] * shown, list(drawn)).draw(), self.output / "pair.png")
        scores = {name: pair_scores(self.judge, images, names, PAIR) for name, images in drawn.items()}
        for name, lora in loras.items():
            scores[name]["alone"] = self.alone(name, lora)
        write_text(self.output / "pair.json", json.dumps(scores, indent=1))
        write_text(self.output / "pair.md", self.report(scores))
        return scores

    def train(self) -> dict[str, Path]:
        """Way -> its LoRA."""
        stages, joint = self.folder / "stages", self.folder / "joint"
        options = CompositeOptions(share=self.amounts.share, template=TEMPLATE, seed=self.amounts.seed)
        for root in (stages, joint):
            write_singles(root, self.amounts.singles, self.amounts.seed)
        self.compose(stages, lambda found: plan_stages(found, stages, options, self.amounts.regularisation))
        self.compose(joint, lambda found: plan_joint(found, joint, options))
        self.places()
        half = self.amounts.steps // 2
        self.fit("pair-singles", stages, self.amounts.steps)
        self.fit("pair-first", stages, half)
        self.fit("pair-sequential", stages / APART, half, start_from="pair-first")
        self.fit("pair-joint", joint, self.amounts.steps)
        ways = {"singles only": "pair-singles", "two stages": "pair-sequential", "joint": "pair-joint",
                PLACES_FIRST: "pair-looks"}  # fmt: skip
        return {way: self.host.paths.loras / f"{name}.safetensors" for way, name in ways.items()}

    def places(self, name: str = "pair", subjects: Subjects = PAIR) -> Path:
        """The fourth way: two runs over the same singles and composites. The second one's LoRA."""
        root, of, people = self.folder / "places", self.amounts.places, len(subjects)
        write_singles(root, self.amounts.singles, self.amounts.seed, subjects)
        options = CompositeOptions(people, of.share, template=with_sides(people), seed=self.amounts.seed)
        self.compose(root, lambda found: plan_joint(found, root, options))
        self.fit(f"{name}-places", root, of.steps[0], **dict(of.network), **dict(of.first))
        values = {"start_from": f"{name}-places", **dict(of.network), **dict(of.then)}
        self.fit(f"{name}-looks", root, of.steps[1], **values)
        return self.host.paths.loras / f"{name}-looks.safetensors"

    def compose(self, root: Path, plan: Callable[[Pictures], Change]) -> None:
        """Make composites below ``root`` unless that is done."""
        editor = DatasetEditor([root], self.folder / "cache")
        if editor.history():
            return
        found: dict[str, list[Picture]] = {}
        for picture in editor.pictures:
            found.setdefault(picture.folder.name.removeprefix("1_"), []).append(picture)
        editor.apply(plan(found))

    def fit(self, name: str, folder: Path, steps: int, **values: object) -> None:
        """Train for about ``steps`` steps, in whole epochs."""
        config = self.desk.config(name, folder, **{**dict(self.amounts.training), **values})
        images = sum(1 for _ in folder.glob("[0-9]*_*/*.png"))
        epochs = max(1, round(steps * config.batch_size / images))
        self.desk.train(replace(config, epochs=epochs))

    def drawn(self, way: str, lora: Path | None, names: Sequence[tuple[str, str]]) -> list[Image.Image]:
        """Pictures of both."""
        prompt = PLACED if way == PLACES_FIRST else PROMPT
        sized = replace(PICTURE, width=FIGURE * len(PAIR), height=HEIGHT)
        first = self.amounts.first_seed
        requests = [replace(sized, prompt=prompt.format(*n), seed=first + i) for i, n in enumerate(names)]
        return self.desk.pictures(f"drawing {way}", requests, lora)

    def alone(self, way: str, lora: Path | None, subjects: Subjects = PAIR) -> float:
        """Share of pictures of one character that show it."""
        names = [list(subjects)[i % len(subjects)] for i in range(self.amounts.pictures)]
        first = self.amounts.first_seed
        requests = [replace(PICTURE, prompt=ALONE.format(name), seed=first + i) for i, name in enumerate(names)]
        read = self.judge.read(self.desk.pictures(f"drawing {way}, alone", requests, lora))
        return sum(who(one, subjects) == name for one, name in zip(read, names, strict=True)) / len(names)

    def report(self, scores: Scores) -> str:
        """The table of docs, in Markdown, from what :meth:`run` gave."""
        return TEXT.format(
            n=self.amounts.pictures,
            prompt=PROMPT.format(*PAIR),
            placed=PLACED.format(*PAIR),
            singles=self.amounts.singles,
            share=self.amounts.share,
            more=self.amounts.places.share,
            first=self.amounts.places.steps[0],
            then=self.amounts.places.steps[1],
            steps=self.amounts.steps,
            seed=self.amounts.seed,
            first_seed=self.amounts.first_seed,
            table=table(scores),
        )
