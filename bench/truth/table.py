"""The verdicts in docs/truth.md, from what was read so far: nothing is trained or drawn.

``python -m bench.truth.table`` writes the last cell of each row of a setting's claim, and leaves the others alone.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.truth.claims import CLAIMS, EPOCH, Claim
from bench.truth.readings import Readings, is_trained
from bench.truth.verdict import Difference, Verdict, judged
from lib_lora.files import write_text

TRUTH = Path(__file__).resolve().parents[2] / "docs" / "truth.md"
START = {True: "holds", False: "**does not hold**", None: "cannot be told"}


def cell(verdict: Verdict, claim: Claim) -> str:
    """``holds: like 0.41 → 0.59 (+0.02 to +0.33); also learned …; 12 pairs``."""
    expected = [_told(name, verdict.measures[name]) for name in claim.expected]
    others = [_told(n, d) for n, d in verdict.measures.items() if n not in claim.expected and d.low * d.high > 0]
    also = f"; also {', '.join(others)}" if others else ""
    return f"{START[verdict.holds]}: {', '.join(expected)}{also}; {verdict.pictures} pairs"


def found(claim: Claim, readings: Readings) -> Verdict | None:
    """The verdict by all that is there of both ways; None where that is nothing."""
    usual, other = readings.there(claim.usual), readings.there(claim.other)
    seeds = sorted(usual.keys() & other.keys())
    if not seeds:
        return None
    return judged(claim, [row for s in seeds for row in usual[s]], [row for s in seeds for row in other[s]])


def filled(text: str, cells: dict[str, str]) -> str:
    """The document with these last cells, by name of the claim."""
    for name, new in cells.items():
        row = re.compile(rf"^(\| `{re.escape(name)}` \|.*\| )[^|]*( \|)$", re.MULTILINE)
        text = row.sub(lambda match, new=new: f"{match[1]}{new}{match[2]}", text)
    return text


def _told(name: str, d: Difference) -> str:
    return f"{name} {d.usual:.2f} → {d.other:.2f} ({d.low:+.2f} to {d.high:+.2f})"


def main() -> None:
    """Write what is known into the document."""
    readings = Readings()
    claims = [claim for claim in CLAIMS.values() if is_trained(claim.usual) or claim.usual.startswith(EPOCH)]
    verdicts = {claim.name: (claim, found(claim, readings)) for claim in claims}
    cells = {name: cell(verdict, claim) for name, (claim, verdict) in verdicts.items() if verdict is not None}
    write_text(TRUTH, filled(TRUTH.read_text(encoding="utf-8"), cells))
    print(f"{len(cells)} of {len(claims)} verdicts")


if __name__ == "__main__":
    main()
