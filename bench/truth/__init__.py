"""Claims of the community's guides as experiments on the miniature; docs/truth.md has what came out.

``python -m lib_lora bench truth NAME`` runs one and prints its verdict; without a name, all of them. What was drawn and
read once is kept in ``.state/truth``, so a second start goes on where the first one ended.
"""

from __future__ import annotations

import sys
from dataclasses import asdict

from bench.truth.claims import CLAIMS, Claim
from bench.truth.readings import Readings
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
    for claim in [CLAIMS[name]] if name else CLAIMS.values():
        verdict = measured(claim, readings)
        print(f"{claim.name}: {verdict.sentence}", file=sys.stderr, flush=True)
        found[claim.name] = asdict(verdict)
    return found


def measured(claim: Claim, readings: Readings) -> Verdict:
    """Draw both ways with the same prompts and seeds, read them, and judge."""
    usual, other = (readings.of(way) for way in (claim.usual, claim.other))
    return judged(claim, usual, other)
