"""Claims of the community's guides as experiments on the miniature; docs/truth.md has what came out.

``python -m lib_lora bench truth NAME`` runs one and prints its verdict; without a name, all of them. What was drawn and
read once is kept in ``.state/truth``, so a second start goes on where the first one ended. ``python -m
bench.truth.table`` writes the verdicts of what was read so far into docs/truth.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from bench.truth.claims import CLAIMS, Claim
from bench.truth.readings import Readings
from bench.truth.trainings import SEEDS
from bench.truth.verdict import Verdict, judged
from lib_lora.errors import UserError


def run(name: str = "") -> dict[str, object]:
    """Measure one claim, or all.

    Returns:
        By name of the claim: pictures of each way, by measure the mean of both ways and the paired difference with its
        95 % interval, and the verdict in a sentence.

    Raises:
        UserError: there is no such claim.
    """
    if name and name not in CLAIMS:
        raise UserError("There is no such claim", where=name, fix=f"Use {', '.join(CLAIMS)}")
    readings = Readings()
    found: dict[str, object] = {}
    for seeds in (SEEDS[:1], SEEDS):  # whoever stops early has something of each
        for claim in [CLAIMS[name]] if name else CLAIMS.values():
            verdict = measured(claim, readings, seeds)
            print(f"{claim.name}: {verdict.sentence}", file=sys.stderr, flush=True)
            found[claim.name] = asdict(verdict)
    return found


def measured(claim: Claim, readings: Readings, seeds: Sequence[int] = SEEDS) -> Verdict:
    """Draw both ways with the same prompts and seeds, read them, and judge."""
    usual, other = (readings.of(way, seeds) for way in (claim.usual, claim.other))
    return judged(claim, usual, other)
