"""The best mixture of epochs against the best epoch, on runs of the miniature.

Coefficients are chosen on a run's six held-out pictures. Both are then measured on 16 fresh pictures of the character,
which had no part in anything.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Sequence
from statistics import fmean, stdev
from typing import Any, TypeVar

from bench.lab import Lab
from lib_lora.demo.tour.datasets import character_caption, character_specs, write_dataset
from lib_lora.tools.mixture import HeldOut, best_mixture
from lib_lora.training.best_epoch import ERRORS
from lib_lora.training.revisit import pictures_in, revisit
from lib_lora.training.run import Run
from lib_lora.workbench.files import epoch_files

RUNS, FRESH = 10, 16
R = TypeVar("R")


def run(runs: int = RUNS) -> dict[str, Any]:
    """Measure half of the runs at a constant rate, and half with a rate that falls to 0.

    Returns:
        For each kind: ``better`` and ``worse``, runs whose mixture has a lower loss on fresh pictures, and those where
        it is higher by more than twice its standard error; ``clear``: lower by more than that; ``share``: the gain of
        the loss, mean over runs; ``runs``: the figures of each.
    """
    lab = Lab()
    path = lab.state / "mixture.jsonl"
    known = {}
    if path.exists():
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        known = {(row["kind"], row["seed"]): row for row in rows}
    kinds: dict[str, Callable[[int], Run]] = {"constant": lab.steady, "cosine": lambda seed: lab.planted(seed).run}
    for seed in range(runs // len(kinds)):
        for kind, trained in kinds.items():
            if (kind, seed) not in known:
                known[kind, seed] = {"kind": kind, "seed": seed, **measured(lab, trained(seed), seed)}
                with open(path, "a", encoding="utf-8") as file:
                    file.write(json.dumps(known[kind, seed]) + "\n")
            print(known[kind, seed], file=sys.stderr, flush=True)
    return {kind: _summary([row for (of, _), row in known.items() if of == kind]) for kind in kinds}


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "better": sum(row["fresh_gain"] > 0 for row in rows),
        "worse": sum(row["fresh_gain"] < -ERRORS * row["fresh_error"] for row in rows),
        "clear": sum(row["fresh_gain"] > ERRORS * row["fresh_error"] for row in rows),
        "share": fmean(row["fresh_gain"] / row["fresh_loss"] for row in rows),
        "runs": rows,
    }


def measured(lab: Lab, run: Run, seed: int) -> dict[str, Any]:
    """What was found on a run, and how it does on fresh pictures."""
    folder = lab.state / "sets" / f"fresh-{seed}"
    specs = character_specs(FRESH, 1000 + seed)
    write_dataset(folder, specs, [character_caption(spec) for spec in specs])
    files = {file.epoch: file.path for file in epoch_files(run)}
    with lab.host.training_session() as model:
        again = done(revisit(run, files, model, lab.host.paths))
        assert again.data.held_out is not None
        fresh = done(pictures_in(str(folder), again))
        with again.attached():
            found = done(best_mixture(again, again.data.held_out))
            others = HeldOut(again, fresh)
            gains = others.losses({found.best: 1.0}) - others.losses(found.weights)
    return {
        "best": found.best,
        "weights": found.weights,
        "best_loss": found.best_loss,
        "loss": found.loss,
        "gain": found.gain,
        "error": found.error,
        "fresh_loss": float(others.losses({found.best: 1.0}).mean()),
        "fresh_gain": float(gains.mean()),
        "fresh_error": stdev(gains.tolist()) / len(gains) ** 0.5,
        "evaluations": found.evaluations,
    }


def done(work: Generator[Any, None, R]) -> R:
    """What a generator returns, its steps unseen."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: R = end.value
            return result
