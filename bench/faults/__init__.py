"""Faults at every operation of what writes files, alone and in pairs; see :mod:`bench.faults.campaign`.

A new tool gets a campaign in `CAMPAIGNS`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.faults import dataset, settings, tools, training
from bench.faults.campaign import HALF, LEFT, LOST, Campaign, Tally, run_campaign

PAIRS = 9  # of each campaign
CAMPAIGNS = (dataset.campaigns, tools.campaigns, training.campaigns, settings.campaigns)
MOST = 45  # single faults of each campaign


def campaigns() -> list[Campaign]:
    """All there are."""
    return [campaign for some in CAMPAIGNS for campaign in some()]


def run(most: int | None = MOST, pairs: int = PAIRS) -> dict[str, object]:
    """Try them all; one line each, and what went wrong, goes to standard error.

    Returns:
        ``faults`` (``pairs`` among them), ``recovered``, ``lost``, ``half`` and ``leftovers``: attempts after which
        something of the user's was gone, a file or set was half there, or a file was left over after the next start.
    """
    total = Tally()
    with TemporaryDirectory() as name:
        for campaign in campaigns():
            found = run_campaign(campaign, Path(name) / "work", pairs, most=most)
            print(f"{campaign.name}: {found.faults} faults, {found.recovered} recovered", file=sys.stderr, flush=True)
            total.add(found)
    for story in total.stories:
        print(story, file=sys.stderr)
    wrong = {"lost": total.wrong[LOST], "half": total.wrong[HALF], "leftovers": total.wrong[LEFT]}
    return {"faults": total.faults, "pairs": total.pairs, "recovered": total.recovered, **wrong}
