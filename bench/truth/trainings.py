"""Ways that need a training: what the judge and the loss say of LoRAs that were trained with other settings.

A way is a subject and settings over the usual ones, ``character rank=16 alpha=16.0``. Each is trained with every seed
of :data:`SEEDS`, on 16 pictures in 24 steps, and measured on 12 fresh pictures.
"""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.lab import QUICK, Lab
from bench.mixture import done
from bench.truth.claims import CHARACTER, FREE, KEPT, LEAKED, LEARNED, LIKE, OF_STYLE, STYLE
from lib_lora.adapters.block_presets import load_presets
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.adapters.network import Network
from lib_lora.dataset.cache import LatentCache
from lib_lora.demo.judge import truth
from lib_lora.demo.tour.datasets import character_caption, character_specs, style_caption, style_specs, write_dataset
from lib_lora.demo.tour.tour import STYLE as NEON
from lib_lora.demo.tour.tour import TRIGGER
from lib_lora.demo.world import MIRA, Spec, random_spec, render, tags
from lib_lora.files import write_text
from lib_lora.lora_files import load_network
from lib_lora.models.families import family
from lib_lora.tools.mixture import Floats, HeldOut
from lib_lora.tools.pictures import save_png
from lib_lora.training.config import TrainConfig
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.parallel import ALONE
from lib_lora.training.revisit import Revisit, pictures_in
from lib_lora.training.run_data import run_data

SEEDS = (0, 1)
TRAINED, FRESH = 16, 12
USUAL: dict[str, dict[str, Any]] = {
    CHARACTER: {"trigger": TRIGGER, "keep_tokens": 1},
    OF_STYLE: {"trigger": "", "keep_tokens": 0, "te_lr": 0.0, "min_timestep": 650},  # as the tour's
}
SHORT: dict[str, Any] = {"epochs": 3, "repeats": "2", "rank": 8, "fixed_loss_images": 0, "save_every_n_epochs": 0}
OWN = ("hair", "hat", "outfit")
SETS = {"captions": "", "pictures": TRAINED, "faces": 0}  # of a way, and none of the settings


class Trainings:
    """Trains, draws and measures."""

    def __init__(self) -> None:
        self.of_base: dict[str, Floats] = {}  # losses of the fresh pictures, by subject

    @cached_property
    def lab(self) -> Lab:
        return Lab()

    def measured(self, way: str, seed: int) -> list[dict[str, float]]:
        """Measure -> value, for each of :data:`FRESH` pictures."""
        subject, options = way_of(way)
        specs = self.fresh(subject)
        name = f"{way.replace(' ', '-').replace('=', '').replace('.', '_').replace('|', '')}-{seed}"[:120]
        lab, of = self.lab, {name: options.pop(name) for name in SETS if name in options}
        folder, drawn = self.folder(subject, **of), options.pop("drawn", "")
        if "reg_dir" in options:
            options["reg_dir"] = str(self.others())
        run = lab.trained(name, folder, **{**SHORT, **USUAL[subject], **options, "seed": seed})
        network = load_network(Path(run.result()["path"]))
        if drawn:
            network.set_block_weights(BlockWeights.parse(drawn, load_presets(), family("sd1")))
        prompts = [self.prompt(subject, spec) for spec in specs]
        if subject == CHARACTER:
            prompts += [", ".join(tags(spec)) for spec in self.strangers]
        requests = [replace(QUICK, prompt=prompt, seed=7000 + number) for number, prompt in enumerate(prompts)]
        read = lab.read(lab.host.generate(requests, (network,)))
        learned = self.learned(subject, network)
        rows = []
        for number, spec in enumerate(specs):
            shown, seen = truth(spec), read[number]
            row = {LEARNED: learned[number]}
            if subject == CHARACTER:
                row[LIKE] = sum(seen[a][shown[a]] for a in OWN if a in shown) / sum(a in shown for a in OWN)
                row[FREE] = seen["background"][shown["background"]]
                row[LEAKED] = read[len(specs) + number]["hair"][MIRA.hair]
            else:
                kept = [seen[a][shown[a]] for a in (*OWN, "background") if a in shown]
                row |= {STYLE: seen["style"][NEON], KEPT: sum(kept) / len(kept)}
            rows.append(row)
        return rows

    # -- pictures -----------------------------------------------------------------------------------------------------

    def fresh(self, subject: str) -> list[Spec]:
        """What the fresh pictures show; in a way's pictures a style's subjects are drawn in the model's own."""
        if subject == CHARACTER:
            return character_specs(FRESH, seed=2000)
        return style_specs("anime", FRESH, seed=2000)

    @cached_property
    def strangers(self) -> list[Spec]:
        """Other characters, whose hair is not the character's."""
        r = random.Random(3000)
        found: list[Spec] = []
        while len(found) < FRESH:
            spec = random_spec(r, people=1)
            if spec.characters[0].hair != MIRA.hair:
                found.append(spec)
        return found

    def prompt(self, subject: str, spec: Spec) -> str:
        return f"{TRIGGER}, {character_caption(spec)}" if subject == CHARACTER else ", ".join(tags(spec))

    def folder(self, subject: str, captions: str = "", pictures: int = TRAINED, faces: int | None = None) -> Path:
        """The set.

        Args:
            captions: ``all`` writes the character's own features too, ``none`` nothing but a word.
            faces: how many of the ``pictures`` are close-ups; None leaves that to chance.
        """
        name = f"truth-{subject}-{captions or 'usual'}"
        name += f"-{pictures}" * (pictures != TRAINED) + (f"-faces-{faces}" if faces is not None else "")
        folder = self.lab.state / "sets" / name
        specs = character_specs(pictures, 50) if subject == CHARACTER else style_specs(NEON, pictures, 50)
        if faces is not None:
            close, whole = _by_view(character_specs(8 * pictures, 50))
            specs = close[:faces] + whole[: pictures - faces]
        usual = [character_caption(s) if subject == CHARACTER else style_caption(s) for s in specs]
        texts = {"": usual, "all": [", ".join(tags(s)) for s in specs], "none": ["1girl"] * len(specs)}[captions]
        write_dataset(folder, specs, texts)
        return folder

    def others(self) -> Path:
        """Regularisation: other characters, with all their tags."""
        folder = self.lab.state / "sets" / "truth-others"
        r = random.Random(4000)
        for number in range(TRAINED):
            spec, path = random_spec(r, people=1), folder / f"{number:02}.png"
            if not path.exists():
                write_text(path.with_suffix(".txt"), ", ".join(tags(spec)))
                save_png(render(spec), path)
        return folder

    # -- loss ---------------------------------------------------------------------------------------------------------

    def learned(self, subject: str, network: Network) -> list[float]:
        """Share of the base's loss that is gone, for fresh pictures of the subject: all by the usual loss."""
        lab = self.lab
        specs = [replace(spec, style=NEON) if subject == OF_STYLE else spec for spec in self.fresh(subject)]
        caption = style_caption if subject == OF_STYLE else character_caption
        folder = lab.state / "sets" / f"truth-{subject}-fresh"
        write_dataset(folder, specs, [caption(spec) for spec in specs])
        usual = {**SHORT, **USUAL[subject], "shuffle": False, "batch_size": 4}
        config = lab.tour.config("measure", folder, **usual)
        with lab.host.training_session() as model:
            cache = LatentCache(lab.host.paths.places.latents, model)
            data = done(run_data(config, model, cache, ALONE))
            again = Revisit(config, model, data, Denoiser(model, config), {1: network}, [], cache)
            with again.attached():
                measured = HeldOut(again, done(pictures_in(str(folder), again)))
                if subject not in self.of_base:
                    self.of_base[subject] = measured.losses({})
                shares = 1 - measured.losses({1: 1.0}) / self.of_base[subject]
        return [float(share) for share in shares]


def _by_view(specs: list[Spec]) -> tuple[list[Spec], list[Spec]]:
    """Close-ups, and the others."""
    return [s for s in specs if s.view == "close-up"], [s for s in specs if s.view != "close-up"]


def way_of(way: str) -> tuple[str, dict[str, Any]]:
    """Subject and options of a way: settings, :data:`SETS`, and ``drawn``, block weights to draw with."""
    subject, *options = way.split()
    found: dict[str, Any] = {}
    for option in options:
        name, _, text = option.partition("=")
        default = {**asdict(TrainConfig()), **SETS, "drawn": "", "repeats": ""}[name]
        found[name] = text == "on" if isinstance(default, bool) else type(default)(text)
    return subject, found
