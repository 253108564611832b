"""Real ends: the work runs in a process of its own, which is killed at one of its writes, and nothing is cleaned up."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.faults.campaign import Campaign, Fresh, Tally, files_of, prepared, verdict
from bench.faults.disk import KILL, Disk

POINTS = ("replace", "fsync", "unlink")  # operations before which a process dies
PATIENCE = 120.0  # seconds for a process to reach its end


def run_kills(campaigns: Sequence[Campaign], work: Path, count: int, seed: int = 0) -> Tally:
    """Kill ``count`` processes, each at a random one of `POINTS` of a random campaign, then start and judge."""
    rng, tally = random.Random(seed), Tally()
    processes = _server({_module(campaign) for campaign in campaigns})
    while tally.faults < count:
        campaign = rng.choice(campaigns)
        template, place, before, after, seen = prepared(campaign, work)
        points = [at for at, name in enumerate(seen, start=1) if name in POINTS]
        if not points:
            continue
        at = rng.choice(points)
        with Fresh(template, place):
            process = processes.Process(target=_die, args=(_module(campaign), campaign.name, place, at))
            process.start()
            process.join(PATIENCE)
            if process.exitcode is None or (process.exitcode >= 0 and sys.platform != "win32"):
                process.kill()
                raise RuntimeError(f"{campaign.name}: the process was not killed but ended: {process.exitcode}")
            campaign.start(place)
            story = f"process killed at {at} ({seen[at - 1]})"
            verdict(tally, campaign, before, after, files_of(place, campaign.ignored), story)
    shutil.rmtree(work, ignore_errors=True)
    return tally


def _server(modules: set[str]) -> Any:
    """Where processes come from: one that has read the code already, where the system can divide it."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(sorted(modules))
    return context


def _module(campaign: Campaign) -> str:
    """Where another process finds it: functions cannot be sent."""
    return campaign.act.__module__


def _die(module: str, name: str, place: Path, at: int) -> None:
    campaign = next(campaign for campaign in import_module(module).campaigns() if campaign.name == name)
    with Disk(place, at, KILL, really=True).mounted():
        campaign.act(place)
