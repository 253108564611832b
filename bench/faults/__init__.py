"""Faults at every operation of what writes files, alone and in pairs (`bench.faults.campaign`), and processes that are
killed (`bench.faults.kills`).

What is tried is listed in `bench.faults.catalogue`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.faults.campaign import Tally

PAIRS = 5  # of each campaign
MOST = 25  # single faults of each campaign
KILLS = 30  # processes


def run(most: int | None = MOST, pairs: int = PAIRS, kills: int = KILLS) -> dict[str, object]:
    """Try them all; one line each, and what went wrong, goes to standard error.

    Returns:
        ``faults`` (``pairs`` and ``kills`` of processes among them), ``recovered``, ``lost``, ``half`` and
        ``leftovers``: attempts after which something of the user's was gone, a file or set was half there, or a file
        was left over after the next start.
    """
    # here, so that a process that is to be killed reads no more than its own campaign
    from bench.faults.campaign import HALF, LEFT, LOST, Tally, run_campaign
    from bench.faults.catalogue import campaigns
    from bench.faults.kills import run_kills

    total = Tally()
    with TemporaryDirectory() as name:
        work = Path(name) / "work"
        for campaign in campaigns():
            _report(campaign.name, found := run_campaign(campaign, work, pairs, most=most))
            total.add(found)
        _report("killed processes", killed := run_kills(campaigns(), work, kills))
        total.add(killed)
    for story in total.stories:
        print(story, file=sys.stderr)
    wrong = {"lost": total.wrong[LOST], "half": total.wrong[HALF], "leftovers": total.wrong[LEFT]}
    tried = {"faults": total.faults, "pairs": total.pairs, "kills": killed.faults}
    return {**tried, "recovered": total.recovered, **wrong}


def _report(name: str, found: Tally) -> None:
    print(f"{name}: {found.faults} faults, {found.recovered} recovered", file=sys.stderr, flush=True)
