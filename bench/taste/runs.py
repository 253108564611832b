"""The simulated user, runs of it, and what they are compared with."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from bench.taste.tasks import PICTURES, PROMPTS, STATE, Task
from lib_lora.tools.taste.preference import EQUAL, FIRST, SECOND
from lib_lora.tools.taste.proposals import Point
from lib_lora.tools.taste.session import ANSWERS, TasteSession

FLIPPED = 0.1  # answers that are not what the user thinks
ALIKE = 0.05  # of utility: no difference to be seen
NEAR = 0.9


class Scores:
    """Utilities of single pictures; what was read once is kept in a file."""

    def __init__(self, task: Task):
        self.task = task
        self.path = STATE / f"{task.name}.jsonl"
        self._known: dict[str, float] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                self._known.update(json.loads(line))

    def of(self, point: Point, numbers: Sequence[int]) -> list[float]:
        """Of the pictures of prompts ``numbers``; those that are missing are drawn together."""
        keys = {number: json.dumps([point, number]) for number in numbers}
        if missing := [number for number, key in keys.items() if key not in self._known]:
            read = zip(missing, self.task.scores(point, missing), strict=True)
            found = {keys[number]: score for number, score in read}
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            self._known.update(found)
        return [self._known[key] for key in keys.values()]

    def mean(self, point: Point) -> float:
        """Over all prompts."""
        return fmean(self.of(point, range(PROMPTS)))

    def reaching(self, point: Point, above: float) -> float:
        """The mean, or 0 as soon as it cannot be more than ``above``, since no picture has more than 1."""
        total = 0.0
        for number in range(PROMPTS):
            total += self.of(point, [number])[0]
            if total + PROMPTS - 1 - number <= above * PROMPTS:
                return 0.0
        return total / PROMPTS


def measure(task: Task, random: int, runs: int) -> dict[str, object]:
    """Random settings, the start, and ``runs`` tunings of a task."""
    scores = Scores(task)
    dimensions = len(task.tuned.dimensions())
    drawn = np.random.default_rng(0).random((random, dimensions)).round(4)
    best_random = 0.0
    for number, point in enumerate(drawn, start=1):
        best_random = max(best_random, scores.reaching(tuple(point.tolist()), above=best_random))
        if not number % 10:
            print(f"{task.name}: {number} of {random} settings, best {best_random:.3f}", file=sys.stderr, flush=True)
    start = scores.mean((0.5,) * dimensions)
    tuned = []
    for seed in range(runs):
        tuned.append(scores.mean(tune(task, scores, dimensions, seed).best().point))
        print(f"{task.name}: run {seed}, {tuned[-1]:.3f}", file=sys.stderr, flush=True)
    return {
        "random": round(best_random, 3),
        "settings": random,
        "start": round(start, 3),
        "tuned": [round(value, 3) for value in tuned],
        "near": sum(value >= NEAR * best_random for value in tuned),
        "above": sum(value > start for value in tuned),
        "answers": ANSWERS,
    }


def tune(task: Task, scores: Scores, dimensions: int, seed: int, answers: int = ANSWERS) -> TasteSession:
    """A session that the simulated user has answered."""
    r = np.random.default_rng((seed, 1))
    session = TasteSession(task.recipe, dimensions, seed=seed).asked_ahead()
    for turn in range(answers):
        question = session.current()
        assert question is not None
        shown = [(turn * PICTURES + i) % PROMPTS for i in range(PICTURES)]
        seen = fmean(scores.of(question.first, shown)) - fmean(scores.of(question.second, shown))
        session = session.answer(answer(seen, r)).asked_ahead()
    return session


def answer(difference: float, r: np.random.Generator) -> int:
    """What a user says who sees a difference of utility, and errs now and then."""
    better = EQUAL if abs(difference) < ALIKE else FIRST if difference > 0 else SECOND
    if r.random() < FLIPPED:
        return int(r.choice([FIRST, SECOND])) if better == EQUAL else -better
    return better
