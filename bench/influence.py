"""Which picture did this: one wrong picture among 24 is looked for, left out, and its fault looked for again.

The simulated user draws 16 pictures, asks about the one whose hair is least the character's, and gives a star to the
four where it is most, as the page lets one; that is all the method is told. Where it ranks the planted picture is
measured, and what hair the same prompts and seeds give without it. The method was chosen on the runs of seeds 0 to 4.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

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

RUNS, DRAWN = 10, 16
RIGHT = 4


def run(runs: int = RUNS) -> dict[str, Any]:
    """Measure.

    Returns:
        ``first_two``: runs in which the planted picture is one of the first two of 24; ``repaired``: of those whose
        user saw other hair than the character's, those in which that picture's hair is the character's without it;
        ``runs``: the figures of each.
    """
    lab = Lab()
    path = lab.state / "influence.jsonl"
    known = {}
    if path.exists():
        known = {row["seed"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    for seed in range(runs):
        if seed not in known:
            known[seed] = {"seed": seed, **measured(lab, lab.planted(seed))}
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(known[seed]) + "\n")
        print(known[seed], file=sys.stderr, flush=True)
    rows = [known[seed] for seed in range(runs)]
    faulty = [row for row in rows if row["worst"] < 0.5]
    return {
        "first_two": sum(row["place"] <= 2 for row in rows),
        "faulty": len(faulty),
        "repaired": sum(row["worst_without"] > 0.5 for row in faulty),
        "hair": fmean(row["hair"] for row in rows),
        "hair_without": fmean(row["hair_without"] for row in rows),
        "runs": rows,
    }


def measured(lab: Lab, planted: Planted) -> dict[str, Any]:
    """Point, rank, leave out, and look again."""
    specs = character_specs(DRAWN, 500)
    requests = [
        replace(QUICK, prompt=f"{TRIGGER}, {character_caption(spec)}", seed=100 + number)
        for number, spec in enumerate(specs)
    ]

    def drawn(run: Run) -> tuple[list[Any], list[float]]:
        images = lab.host.generate(requests, (load_network(Path(run.result()["path"])),))
        return images, [read["hair"][MIRA.hair] for read in lab.read(images)]

    images, hair = drawn(planted.run)
    ranked = sorted(range(DRAWN), key=lambda number: hair[number])
    worst = ranked[0]
    shown = [Shown(images[number], requests[number].prompt) for number in (worst, *ranked[-RIGHT:])]
    with lab.host.training_session() as model:
        again = done(revisit(planted.run, last_of(epoch_files(planted.run)), model, lab.host.paths))
        with again.attached():
            found = done(influences(again, shown[:1], shown[1:]))
    place = next(i for i, one in enumerate(found, start=1) if one.picture.name == planted.wrong.name)
    config = leaving_out(planted.run.config(), [planted.wrong])
    _, without = drawn(lab.tour.train(replace(config, name=f"{config.name}-without")))
    return {
        "planted": planted.wrong.name,
        "colour": planted.hair,
        "place": place,
        "scores": [round(one.score, 4) for one in found],
        "worst": hair[worst],
        "worst_without": without[worst],
        "hair": fmean(hair),
        "hair_without": fmean(without),
    }
