"""Which picture did this: one wrong picture among 24 is looked for; one that is learned by heart is left out.

The simulated user draws 16 pictures, asks about the one whose hair is least the character's, and gives a star to the
four where it is most, as the page lets one; that is all the method is told. Where it ranks the planted picture is
measured. The method was chosen on the runs of seeds 0 to 4, which are not among those that are measured.

Of 24 pictures in 36 steps one wrong picture does not show. So what leaving it out changes is measured where it does: on
eight pictures that are learned by heart, and what the caption of the wrong one gives, with it and without.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
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
from lib_lora.models.base import GenerationRequest
from lib_lora.tools.influence import Shown, influences
from lib_lora.training.data import leaving_out
from lib_lora.training.revisit import revisit
from lib_lora.training.run import Run
from lib_lora.workbench.files import epoch_files
from lib_lora.workbench.revisit import last_of

CHOSEN, RUNS, DRAWN = 5, 10, 16
RIGHT = 4
LEFT_OUT, FIRST_SEED = 21, 300  # of trainings by heart (20 chose their length), and of their pictures
Row = dict[str, Any]
REQUESTS = [
    replace(QUICK, prompt=f"{TRIGGER}, {character_caption(spec)}", seed=100 + number)
    for number, spec in enumerate(character_specs(DRAWN, 500))
]


def run(runs: int = RUNS) -> dict[str, Any]:
    """Measure both.

    Returns:
        ``first_two``: runs in which the planted picture is one of the first two of 24. ``shown`` and
        ``shown_without``: pictures, of ``drawn``, that have the planted hair after a training with that picture and
        without it; ``right`` and ``right_without``: those that have the character's hair; ``repaired``: runs in which
        the planted hair is seen and then less often; ``runs``, ``left_out``: the figures of each.
    """
    lab = Lab()
    found = _each(lab.state / "influence.jsonl", range(CHOSEN, CHOSEN + runs), lambda s: traced(lab, lab.planted(s)))
    again = _each(lab.state / "left-out.jsonl", range(LEFT_OUT, LEFT_OUT + runs), lambda s: left_out(lab, s))
    rows = list(again.values())
    return {
        "first_two": sum(row["place"] <= 2 for row in found.values()),
        "drawn": DRAWN * len(rows),
        **{name: sum(row[name] for row in rows) for name in ("shown", "shown_without", "right", "right_without")},
        "repaired": sum(row["shown_without"] < row["shown"] for row in rows),
        "runs": list(found.values()),
        "left_out": rows,
    }


def traced(lab: Lab, planted: Planted) -> Row:
    """Point at the worst picture, and see where the planted one is ranked."""
    images, read = drawn(lab, planted.run, REQUESTS)
    hair, colour = [one[MIRA.hair] for one in read], [one[planted.hair] for one in read]
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


def left_out(lab: Lab, seed: int) -> Row:
    """How often the wrong picture's caption gives its hair and the character's, with that picture and without it."""
    planted = lab.by_heart(seed)
    config = leaving_out(planted.run.config(), [planted.wrong])
    without = lab.tour.train(replace(config, name=f"{config.name}-without"))
    asked = f"{TRIGGER}, {planted.caption}"
    requests = [replace(QUICK, prompt=asked, seed=FIRST_SEED + number) for number in range(DRAWN)]
    row: Row = {"is": planted.hair, "prompt": asked}
    for run, then in ((planted.run, ""), (without, "_without")):
        read = drawn(lab, run, requests)[1]
        seen = [max(hair, key=lambda colour: hair[colour]) for hair in read]
        row |= {f"shown{then}": seen.count(planted.hair), f"right{then}": seen.count(MIRA.hair)}
    return row


def drawn(
    lab: Lab, run: Run, requests: Sequence[GenerationRequest]
) -> tuple[list[Image.Image], list[dict[str, float]]]:
    """Pictures of a run's LoRA, with the probability of each colour of hair."""
    images = lab.host.generate(requests, (load_network(Path(run.result()["path"])),))
    return images, [one["hair"] for one in lab.read(images)]


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
