"""Epochs of the laboratory's runs at a constant rate: what the judge says of each, beside its fixed-noise loss."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from bench.lab import QUICK, Lab
from bench.truth.claims import LIKE
from lib_lora.demo.judge import truth
from lib_lora.demo.tour.datasets import character_caption, character_specs
from lib_lora.demo.tour.tour import TRIGGER
from lib_lora.lora_files import load_network
from lib_lora.workbench.files import epoch_files

RUNS, FRESH = 5, 12
OWN = ("hair", "hat", "outfit")


def epochs(lab: Lab, seed: int) -> dict[str, list[dict[str, float]]]:
    """Measures of the same fresh pictures by the ``last`` epoch, that of the ``lowest`` loss, and the one that the
    judge likes ``best`` on them."""
    specs = character_specs(FRESH, 2000)
    prompts = [f"{TRIGGER}, {character_caption(spec)}" for spec in specs]
    requests = [replace(QUICK, prompt=prompt, seed=7000 + number) for number, prompt in enumerate(prompts)]
    files = epoch_files(lab.steady(seed))
    found = []
    for file in files:
        read = lab.read(lab.host.generate(requests, (load_network(file.path),)))
        shown = [{name: value for name, value in truth(spec).items() if name in OWN} for spec in specs]
        found.append([{LIKE: fmean(r[a][v] for a, v in s.items())} for r, s in zip(read, shown, strict=True)])
    lowest = next(number for number, file in enumerate(files) if file.best)
    best = max(found, key=lambda rows: fmean(row[LIKE] for row in rows))
    return {"last": found[-1], "lowest": found[lowest], "best": best}
