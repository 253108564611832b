"""Options of a training against the plain one, on runs of the miniature: same pictures, order and noise in each pair.

Each seed has 24 pictures of the character at a constant rate (36 steps). What was learned is measured on 16 fresh
pictures with fixed noise, and by the judge on 16 generated ones. Held-out pictures tell learning from memorising.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from bench.lab import CHARACTER, QUICK, Lab
from bench.mixture import FRESH, done
from lib_lora.demo.tour.datasets import character_caption, character_specs, write_dataset
from lib_lora.demo.tour.scores import character_scores
from lib_lora.demo.tour.tour import PROMPT
from lib_lora.demo.world import MIRA
from lib_lora.tools.mixture import HeldOut
from lib_lora.training.revisit import pictures_in, revisit
from lib_lora.training.run import Run
from lib_lora.workbench.files import epoch_files

SEEDS, DRAWN = 10, 16
FREE = {"unet_lr": 1.0, "te_lr": 1.0}  # the optimizer finds the rate, from a start that 36 steps can leave
WAYS: dict[str, dict[str, Any]] = {
    "T-LoRA": {"tlora_rank": 2},
    "nearest noise": {"nearest_noise": 4},
    "Prodigy": {"optimizer": "Prodigy", "optimizer_args": "d0=0.001", **FREE},
    "Prodigy-Plus": {"optimizer": "prodigyplus.ProdigyPlusScheduleFree", "optimizer_args": "d0=0.001", **FREE},
}


def run(seeds: int = SEEDS) -> dict[str, Any]:
    """Train and measure what is missing, seed by seed.

    Returns:
        For each way: ``better`` and ``worse``, seeds with a lower and a higher loss on fresh pictures than the plain
        training; ``loss``: mean of the difference, as a share of the plain loss, and ``error`` of that mean; the same
        of ``learned``, the judge's probability of hair, hat and dress together; ``seeds``: how many.
    """
    lab = Lab()
    path = lab.state / "options.jsonl"
    known: dict[tuple[str, int], dict[str, float]] = {}
    if path.exists():
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        known = {(row.pop("way"), row.pop("seed")): row for row in rows}
    for seed in range(seeds):
        for way in ("plain", *WAYS):
            if (way, seed) in known:
                continue
            known[way, seed] = measured(lab, trained(lab, way, seed), seed)
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"way": way, "seed": seed, **known[way, seed]}) + "\n")
            print(way, seed, known[way, seed], file=sys.stderr, flush=True)
    return {way: summary(known, way) for way in WAYS}


def trained(lab: Lab, way: str, seed: int) -> Run:
    """The finished training of ``seed``, plain or with an option."""
    plain = lab.steady(seed)
    if way == "plain":
        return plain
    settings = {**CHARACTER, "schedule": "constant", "warmup": 0.0, "seed": seed, "fixed_loss_images": 0, **WAYS[way]}
    return lab.trained(f"{way.replace(' ', '-').lower()}-{seed}", lab.state / "sets" / f"steady-{seed}", **settings)


def measured(lab: Lab, run: Run, seed: int) -> dict[str, float]:
    """What the last epoch of a run has learned."""
    folder = lab.state / "sets" / f"fresh-{seed}"
    specs = character_specs(FRESH, 1000 + seed)
    write_dataset(folder, specs, [character_caption(spec) for spec in specs])
    last = epoch_files(run)[-1]
    with lab.host.training_session() as model:
        again = done(revisit(run, {last.epoch: last.path}, model, lab.host.paths))
        fresh = done(pictures_in(str(folder), again))
        with again.attached():
            loss = float(HeldOut(again, fresh).losses({last.epoch: 1.0}).mean())
    requests = [replace(QUICK, prompt=PROMPT, seed=i) for i in range(DRAWN)]
    images = lab.tour.pictures(f"drawing {run.id}", requests, last.path)
    likely = [one["hair"][MIRA.hair] * one["hat"][MIRA.hat] * one["outfit"][MIRA.top] for one in lab.read(images)]
    return {"loss": loss, "learned": fmean(likely), "all three": character_scores(lab.judge, images)["all three"]}


def summary(known: Mapping[tuple[str, int], Mapping[str, float]], way: str) -> dict[str, Any]:
    """One way against the plain one, over the seeds that have both."""
    seeds = [seed for of, seed in known if of == way and ("plain", seed) in known]
    pairs = [(known[way, seed], known["plain", seed]) for seed in seeds]
    losses = [new["loss"] / old["loss"] - 1 for new, old in pairs]
    learned = [new["learned"] - old["learned"] for new, old in pairs]
    return {
        "better": sum(change < 0 for change in losses),
        "worse": sum(change > 0 for change in losses),
        "loss": fmean(losses),
        "error": _error(losses),
        "learned": fmean(learned),
        "learned_error": _error(learned),
        "seeds": len(seeds),
    }


def _error(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    return stdev(values) / sqrt(len(values)) if len(values) > 1 else float("inf")
