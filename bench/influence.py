"""Which picture did this: one wrong picture among 24 is looked for, left out, and its fault looked for again.

The simulated user draws 16 pictures, asks about the one whose hair is least the character's, and gives a star to the
four where it is most, as the page lets one; that is all the method is told. Where it ranks the planted picture is
measured, and what hair the same prompts and seeds give without it. The method was chosen on the runs of seeds 0 to 4,
which are not among those that are measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image

from bench.lab import QUICK, Lab, Planted
from bench.mixture import done
from lib_lora.demo.tour.datasets import character_caption, character_specs
from lib_lora.demo.tour.tour import TRIGGER
from lib_lora.demo.world import MIRA
from lib_lora.lora_files import load_network
from lib_lora.tools.influence import Shown, influences
from lib_lora.training.data import leaving_out
from lib_lora.training.revisit import revisit
from lib_lora.training.run import Run
from lib_lora.workbench.files import epoch_files
from lib_lora.workbench.revisit import last_of

CHOSEN, RUNS, DRAWN = 5, 10, 16
RIGHT = 4
Row = dict[str, Any]
REQUESTS = [
    replace(QUICK, prompt=f"{TRIGGER}, {character_caption(spec)}", seed=100 + number)
    for number, spec in enumerate(character_specs(DRAWN, 500))
]


def run(runs: int = RUNS) -> dict[str, Any]:
    """Measure: first where the planted pictures are found, then what leaving them out changes.

    Returns:
        ``first_two``: runs in which the planted picture is one of the first two of 24; ``without``: runs that were
        repeated without it; ``repaired``: those of them in which the hair is the character's more often, and
        ``hair``, ``hair_without``, ``colour`` and ``colour_without``: the judge's probability of the character's hair
        and of the planted picture's, in the mean over these runs; ``runs``: the figures of each.
    """
    lab = Lab()
    seeds = range(CHOSEN, CHOSEN + runs)
    rows = _each(lab.state / "influence.jsonl", seeds, lambda seed: traced(lab, lab.planted(seed)))
    left_out = _each(lab.state / "without.jsonl", seeds, lambda seed: without(lab, lab.planted(seed)))
    both = [rows[seed] | left_out[seed] for seed in seeds]
    names = ("hair", "hair_without", "colour", "colour_without")
    return {
        "first_two": sum(row["place"] <= 2 for row in both),
        "without": len(both),
        "repaired": sum(row["hair_without"] > row["hair"] for row in both),
        **{name: fmean(row[name] for row in both) for name in names},
        "runs": both,
    }


def traced(lab: Lab, planted: Planted) -> Row:
    """Point at the worst picture, and see where the planted one is ranked."""
    images, hair, colour = drawn(lab, planted.run, planted.hair)
    ranked = sorted(range(DRAWN), key=lambda number: hair[number])
    shown = [Shown(images[number], REQUESTS[number].prompt) for number in (ranked[0], *ranked[-RIGHT:])]
    with lab.host.training_session() as model:
        again = done(revisit(planted.run, last_of(epoch_files(planted.run)), model, lab.host.paths))
        with again.attached():
            found = done(influences(again, shown[:1], shown[1:]))
    return {
        "planted": planted.wrong.name,
        "is": planted.hair,
        "place": next(i for i, one in enumerate(found, start=1) if one.picture.name == planted.wrong.name),
        "scores": [round(one.score, 4) for one in found],
        "worst": min(hair),
        "hair": fmean(hair),
        "colour": fmean(colour),
    }


def without(lab: Lab, planted: Planted) -> Row:
    """The hair of the same pictures after a training without the planted one."""
    config = leaving_out(planted.run.config(), [planted.wrong])
    _, hair, colour = drawn(lab, lab.tour.train(replace(config, name=f"{config.name}-without")), planted.hair)
    return {"hair_without": fmean(hair), "colour_without": fmean(colour)}


def drawn(lab: Lab, run: Run, colour: str) -> tuple[list[Image.Image], list[float], list[float]]:
    """Pictures of a run's LoRA, with the probabilities that the hair is the character's, and of that ``colour``."""
    images = lab.host.generate(REQUESTS, (load_network(Path(run.result()["path"])),))
    read = [one["hair"] for one in lab.read(images)]
    return images, [hair[MIRA.hair] for hair in read], [hair[colour] for hair in read]


def _each(path: Path, seeds: range, measured: Callable[[int], Row]) -> dict[int, Row]:
    """The row of each seed; what is in the file already is not measured again."""
    known: dict[int, Row] = {}
    if path.exists():
        known = {row.pop("seed"): row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    for seed in seeds:
        if seed not in known:
            known[seed] = measured(seed)
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"seed": seed, **known[seed]}) + "\n")
        print(seed, known[seed], file=sys.stderr, flush=True)
    return known
