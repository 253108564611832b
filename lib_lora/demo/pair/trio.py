"""Three characters in one picture, each in its place: places first, and the base model to compare with."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from lib_lora.models.base import Host

from ...files import write_text
from ...tools.pictures import save_png
from ...tools.sheet import Sheet
from ..judge import Judge
from ..tour.report import table
from ..tour.tour import PICTURE
from .experiment import PLACES_FIRST, SHOWN, Amounts, Experiment, Places, Scores
from .scores import trio_scores
from .subjects import FIGURE, HEIGHT, TRIO

PROMPT = "{} left, {} middle, {} right, 3girls, full body, simple background, white background"
WIDTH = FIGURE * len(TRIO)  # wider than what the miniature was taught; three stand side by side all the same
AMOUNTS = Amounts(
    places=Places(steps=(270, 225)),
    training=(("shuffle", False), ("resolution", 200), ("bucket_max", WIDTH), ("no_upscale", True)),
)
TEXT = """\
# Three characters in one picture

Share of {n} pictures ({width}×{height}, the same seeds; `{prompt}`, all six orders of the names in turn)
in which the judge sees the characters: right is who has its colours of hair and of outfit. Each character has {singles}
pictures of its own; composites of three are {share:.0%} of the set. {first} steps at the noisiest timesteps, {then} at
others too. Alone: as many pictures of one character (128×128). Data seed {seed}, picture seeds from {first_seed}.

{table}
"""


def run(host: Host, output: Path, amounts: Amounts = AMOUNTS, judge: Judge | None = None) -> Scores:
    """Train, draw, read, and write ``trio.md``, ``trio.json`` and ``trio.png`` into ``output``; returns the scores.

    What is there already is not made again, so a second start goes on where the first one ended.
    """
    judge = judge or Judge.load()
    work = Experiment(host, output, amounts, judge)
    work.folder = host.paths.data / "trio"
    orders = list(permutations(TRIO))
    names = [orders[i % len(orders)] for i in range(amounts.pictures)]
    requests = [
        replace(PICTURE, prompt=PROMPT.format(*who), seed=amounts.first_seed + i, width=WIDTH, height=HEIGHT)
        for i, who in enumerate(names)
    ]
    scores: Scores = {}
    rows = []
    for way, lora in {"base model": None, PLACES_FIRST: work.places("trio", TRIO)}.items():
        images = work.desk.pictures(f"drawing {way}", requests, lora)
        scores[way] = trio_scores(judge, images, names, TRIO) | {"alone": work.alone(way, lora, TRIO)}
        rows.append(images[:SHOWN])
    save_png(Sheet(rows, [""] * len(rows[0]), list(scores)).draw(), output / "trio.png")
    write_text(output / "trio.json", json.dumps(scores, indent=1))
    text = TEXT.format(
        n=amounts.pictures,
        width=WIDTH,
        height=HEIGHT,
        prompt=PROMPT.format(*TRIO),
        singles=amounts.singles,
        share=amounts.places.share,
        first=amounts.places.steps[0],
        then=amounts.places.steps[1],
        seed=amounts.seed,
        first_seed=amounts.first_seed,
        table=table(scores),
    )
    write_text(output / "trio.md", text)
    return scores
