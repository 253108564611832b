"""The tour from start to end; each piece of work is kept, so a second start goes on where the first one ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image

from lib_lora.lora_files import load_network
from lib_lora.models.base import GenerationRequest, Host

from ...adapters.file import model_hash
from ...jobs.train_job import TrainJob
from ...tools.base_style import training_config
from ...tools.grid import draw_grid, make_grid
from ...tools.grid_spec import Candidate, GridSpec
from ...tools.made.drawing import generate_dataset
from ...tools.made.spec import PictureSpec
from ...tools.merge import merge
from ...tools.pictures import fingerprint, generate_missing, save_png
from ...tools.sheet import Sheet
from ...training.config import TrainConfig
from ...training.events import Failed, Preparing, StepDone
from ...training.presets import preset
from ...training.run import Run
from ...training.run_store import RunStore
from ...workbench import EpochFile, Workbench
from ..judge import Judge
from ..world import tags
from .datasets import character_caption, character_specs, style_caption, style_specs, write_dataset
from .progress import Progress
from .report import write_report
from .scores import character_scores, style_scores

TRIGGER = "mira"
STYLE = "neon"
FORMULA = "STYLE:1:GP1,BASE:-1:GP2"
PROMPT = f"{TRIGGER}, 1girl, solo, full body, simple background, white background"
PICTURE = GenerationRequest("", width=128, height=128, steps=16, cfg=4.0, sampler="DPM++ 2M")
STYLED = replace(PICTURE, cfg=2.0)  # at 4, shades that a style has moved near each other are driven apart again


@dataclass(frozen=True)
class Amounts:
    """How much of everything; the defaults fit five minutes on two CPU cores.

    Args:
        character, style: training pictures.
        character_training, style_training: settings over those of the preset for the miniature. A style as dark as
            neon is learned where the noise hides the picture, since light and dark are decided there.
        weights: rows of the epoch grid.
        seeds: pictures that the character's scores are measured on.
        styled: pictures that the style's scores are measured on.
        own: the model's own pictures, for the base style.
    """

    character: int = 24
    style: int = 72
    character_training: tuple[tuple[str, object], ...] = (("epochs", 6), ("rank", 8), ("repeats", "4"))
    style_training: tuple[tuple[str, object], ...] = (
        ("epochs", 10),
        ("rank", 16),
        ("alpha", 16.0),
        ("repeats", "1"),
        ("te_lr", 0.0),
        ("min_timestep", 650),
        ("fixed_loss_images", 0),
        ("save_every_n_epochs", 0),
    )
    weights: tuple[float, ...] = (0.4, 0.7, 1.0)
    seeds: int = 20
    styled: int = 20
    own: int = 16


def run(host: Host, output: Path | None = None, amounts: Amounts | None = None, judge: Judge | None = None) -> dict:
    """Take the tour and return what ``tour.json`` says.

    Args:
        host: with the model to train on loaded.
        output: folder for the pictures, ``tour.md`` and ``tour.json``; by default ``tour`` in the host's data folder.
        amounts: of pictures and training.
        judge: by default the one that comes with the program.

    Raises:
        UserError: another run's LoRA has one of the names mira, STYLE or BASE, or training failed.
    """
    return Tour(host, output or host.paths.data / "tour", amounts or Amounts(), judge or Judge.load()).run()


class Tour:
    """One tour; see :func:`run`."""

    def __init__(self, host: Host, output: Path, amounts: Amounts, judge: Judge):
        self.host = host
        self.output = output
        self.amounts = amounts
        self.folder = host.paths.data / "tour"
        self.progress = Progress()
        self.judge = judge

    def run(self) -> dict:
        """Everything that is missing, in order; what was found as plain values."""
        epochs = self.train_character()
        self.draw_epochs(epochs)
        chosen = min(epochs, key=lambda e: e.fixed_loss)
        self.progress.say(f"chosen: epoch {chosen.epoch}, fixed-noise loss {chosen.fixed_loss:.4f}")
        characters = self.score_character(chosen)
        self.train_styles()
        styles = self.compare_styles(self.merge_styles())
        result = {
            "model": self.host.info().name,
            "fixed_losses": {e.epoch: e.fixed_loss for e in epochs},
            "chosen_epoch": chosen.epoch,
            "prompt": PROMPT,
            "character": characters,
            "formula": FORMULA,
            "style": styles,
        }
        result = write_report(self.output, result, self.progress.seconds)
        self.progress.say(f"done: {self.output / 'tour.md'}")
        return result

    # -- a character --------------------------------------------------------------------------------------------------

    def train_character(self) -> list[EpochFile]:
        """Render, train, and return the epochs."""
        specs = character_specs(self.amounts.character)
        pictures = write_dataset(self.folder / TRIGGER, specs, [character_caption(spec) for spec in specs])
        half = -(-len(pictures) // 2)
        rows = [pictures[:half], pictures[half:] + [None] * (2 * half - len(pictures))]
        save_png(Sheet(rows, [""] * half).draw(), self.output / "tour-training-set.png")
        training = dict(self.amounts.character_training)
        run = self.train(self.config(TRIGGER, self.folder / TRIGGER, trigger=TRIGGER, keep_tokens=1, **training))
        return Workbench(self.host).epoch_files(run.id)

    def draw_epochs(self, epochs: Sequence[EpochFile]) -> None:
        """The epoch × weight grid."""
        files = tuple(Candidate(f"epoch {e.epoch}", e.path) for e in epochs)
        spec = GridSpec(files, self.amounts.weights, (PROMPT,), (1,), PICTURE)
        with self.progress.piece("epoch grid"):
            cells = {}
            for done in make_grid(self.host, spec, self.folder / "grid"):
                cells[done.cell] = done.image
                self.progress.count(done.done, done.total)
        save_png(draw_grid(spec, cells), self.output / "tour-epoch-grid.png")

    def score_character(self, chosen: EpochFile) -> dict[str, dict[str, float]]:
        """The judge's scores of the base model and of the chosen epoch, on the same seeds."""
        requests = [replace(PICTURE, prompt=PROMPT, seed=1000 + i) for i in range(self.amounts.seeds)]
        pictures = {name: self.pictures(f"scoring {name}", requests, lora)
                    for name, lora in (("base model", None), (f"epoch {chosen.epoch}", chosen.path))}  # fmt: skip
        return {name: character_scores(self.judge, images) for name, images in pictures.items()}

    # -- a style without the base style -------------------------------------------------------------------------------

    def train_styles(self) -> None:
        """STYLE from rendered pictures, BASE from the model's own pictures of such subjects."""
        specs = style_specs(STYLE, self.amounts.style)
        captions = [style_caption(spec) for spec in specs]
        write_dataset(self.folder / STYLE, specs, captions)
        training = dict(self.amounts.style_training)
        style = self.config("STYLE", self.folder / STYLE, keep_tokens=0, **training)
        self.train(style)
        prompts = tuple(captions[: self.amounts.own])
        own = PictureSpec(prompts, len(prompts), PICTURE)
        with self.progress.piece("drawing the base style"):
            for done in generate_dataset(self.host, own, self.folder / "base"):
                self.progress.count(done.done, done.total)
        self.train(training_config("BASE", self.folder / "base", like=style))

    def merge_styles(self) -> Path:
        """STYLE minus BASE, as a LoRA of its own."""
        path = self.host.paths.loras / "STYLE-BASE.safetensors"
        if not path.exists():
            merge(FORMULA, self.host.paths.loras).save(path)
        return path

    def compare_styles(self, merged: Path) -> dict[str, dict[str, float]]:
        """The same prompts and seeds with the base model, STYLE, and STYLE minus BASE; draws six and scores all."""
        specs = style_specs("anime", self.amounts.styled, seed=1)
        requests = [replace(STYLED, prompt=", ".join(tags(spec)), seed=i) for i, spec in enumerate(specs)]
        loras = {"base model": None, "STYLE": self.host.paths.loras / "STYLE.safetensors", "STYLE - BASE": merged}
        rows = {name: self.pictures(f"drawing {name}", requests, lora) for name, lora in loras.items()}
        shown = Sheet([images[:6] for images in rows.values()], [""] * min(6, len(requests)), list(rows), FORMULA)
        save_png(shown.draw(), self.output / "tour-merge.png")
        return {name: style_scores(self.judge, images, specs, STYLE) for name, images in rows.items()}

    # -- the parts ----------------------------------------------------------------------------------------------------

    def config(self, name: str, folder: Path, **values: object) -> TrainConfig:
        """Settings of one of its trainings: the miniature's preset without previews, and ``values``."""
        plain = TrainConfig(name=name, data_dir=str(folder), model=self.host.info().name, sample_every_n_epochs=0)
        return replace(preset("Miniature demo").applied_to(plain), **values)

    def train(self, config: TrainConfig) -> Run:
        """The finished run of ``config``: as it is, continued, or new."""
        store = RunStore(self.host.paths.runs)
        run = next((run for run, known in store.with_config() if known == config), None) or store.create(config)
        if run.status == "finished":
            return run
        with self.progress.piece(f"training {config.name}"):
            for event in TrainJob(run).work(self.host):
                if isinstance(event, Preparing):
                    self.progress.count(event.done, event.total, event.what)
                elif isinstance(event, StepDone):
                    self.progress.count(event.step, event.total, f"epoch {event.epoch}")
                elif isinstance(event, Failed):
                    raise event.error
        return run

    def pictures(self, what: str, requests: Sequence[GenerationRequest], lora: Path | None) -> list[Image.Image]:
        """One picture for each request, with ``lora`` attached; kept in ``pictures/``."""
        identity = None if lora is None else model_hash(lora)
        paths = [self.folder / "pictures" / f"{fingerprint(self.host, identity, r)}.png" for r in requests]
        networks = tuple if lora is None else partial(_networks, lora)
        images = {}
        with self.progress.piece(what):
            for made in generate_missing(self.host, list(zip(paths, requests, strict=True)), networks):
                images[made.path] = made.image
                self.progress.count(len(images), len(paths))
        return [images[path] for path in paths]


def _networks(lora: Path) -> tuple:
    return (load_network(lora),)
