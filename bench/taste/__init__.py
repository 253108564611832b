"""Tuning by taste on the miniature, with a simulated user: how good are settings after 24 answers?

Each task has a utility that the judge reads from pictures; the user sees no more of it than which of two pictures has
more, and errs in a tenth of the answers. To compare with: the best of random settings, and the preset one starts from.
Everything is kept in ``.state/taste``, so a second start goes on where the first one ended.
"""

from __future__ import annotations

import sys

from bench.taste.runs import measure
from bench.taste.tasks import tasks

RANDOM, RUNS = 300, 10


def run(random: int = RANDOM, runs: int = RUNS, only: str = "") -> dict[str, object]:
    """Measure both tasks (or ``only`` one).

    Returns:
        By task: ``random`` and ``start``, the best utility of that many random settings and that of the preset;
        ``tuned``, that of each run's result; ``near`` and ``above``, in how many runs it was at least 90 % of the
        first and above the second; ``answers`` a run.
    """
    found: dict[str, object] = {}
    for task in tasks(only):
        found[task.name] = measure(task, random, runs)
        print(task.name, found[task.name], file=sys.stderr, flush=True)
    return found
