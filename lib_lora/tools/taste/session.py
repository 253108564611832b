"""One tuning by taste: questions, answers and the best by now, in a file that is gone on with tomorrow."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from ...files import atomic_write
from ...small_files import listed, load, mapping, number, set_aside, whole, write_json
from .preference import EQUAL, FIRST, SECOND, Answer, Taste
from .proposals import Best, Point, best, next_pair
from .recipe import Recipe

AHEAD = 1  # questions that are drawn while one is looked at
ANSWERS = 24  # after which the best has usually been found
MOST = 500  # answers; the model's work grows with their cube


@dataclass(frozen=True)
class Question:
    """Two settings, as points of the unit cube, and what was answered; None: nothing yet."""

    first: Point
    second: Point
    better: int | None = None

    @classmethod
    def read(cls, value: Any) -> Question:
        """From the parsed file; ValueError and the like where it makes no sense."""
        given = mapping(value)
        answer = given["better"]
        if answer is not None and (type(answer) is not int or answer not in (FIRST, SECOND, EQUAL)):
            raise ValueError(f"{answer!r:.40} is no answer")
        first, second = (tuple(listed(given[side], number)) for side in ("first", "second"))
        if len(first) != len(second) or not all(0 <= place <= 1 for place in (*first, *second)):
            raise ValueError("these are no two settings")
        return cls(first, second, answer)


@dataclass(frozen=True)
class TasteSession:
    """What was asked and answered. Immutable: each step gives a new one, and :meth:`save` keeps it.

    Args:
        dimensions: numbers that are tuned.
        free: which of them may change; empty: all.
        seed: of what is proposed; the same answers lead to the same questions.
    """

    recipe: Recipe
    dimensions: int
    questions: tuple[Question, ...] = ()
    seed: int = 0

    # -- questions and answers ----------------------------------------------------------------------------------------

    @property
    def answered(self) -> int:
        """How many answers there are."""
        return sum(question.better is not None for question in self.questions)

    @property
    def start(self) -> Point:
        """Where tuning started: the middle of everything."""
        return (0.5,) * self.dimensions

    def current(self) -> Question | None:
        """The question that waits for an answer."""
        return self.questions[self.answered] if self.answered < len(self.questions) else None

    def asked_ahead(self, ahead: int = AHEAD) -> TasteSession:
        """With as many questions open as are looked at and drawn ahead; those ahead do not know the next answers."""
        session = self
        while len(session.questions) <= min(session.answered + ahead, MOST - 1):
            session = session._asked()
        return session

    def answer(self, better: int) -> TasteSession:
        """With an answer to the current question: FIRST, SECOND or EQUAL.

        Raises:
            UserError: nothing is asked.
        """
        if (question := self.current()) is None:
            raise UserError("There is nothing to answer", where="Tune by taste", fix="Start first")
        return self._with(self.answered, replace(question, better=better))

    def undo(self) -> TasteSession:
        """Without the last answer: its question is asked again.

        Raises:
            UserError: nothing was answered.
        """
        if not self.answered:
            raise UserError("Nothing was answered yet", where="Tune by taste")
        last = self.answered - 1
        return self._with(last, replace(self.questions[last], better=None))

    # -- what is learned ----------------------------------------------------------------------------------------------

    def taste(self) -> Taste:
        """The model of the answers so far."""
        answers = [Answer(q.first, q.second, q.better) for q in self.questions if q.better is not None]
        return Taste(answers, self.dimensions)

    def best(self) -> Best:
        """The best settings by now, and how likely they beat those of the start."""
        return _best(self)

    # -- the file -----------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write it, atomically."""
        questions = [asdict(question) for question in self.questions]
        write_json(path, {"recipe": self.recipe.plain(), "dimensions": self.dimensions, "questions": questions,
                          "seed": self.seed})  # fmt: skip

    @classmethod
    def keep_earlier(cls, path: Path) -> None:
        """Copy what is in the file beside it, before another session takes its place; one that is damaged moves."""
        set_aside(path, cls.read)
        if path.exists():
            names = (path.with_stem(f"{path.stem}-{number}") for number in range(1, 100_000))
            with atomic_write(next(name for name in names if not name.exists()), new=True) as part:
                shutil.copyfile(path, part)

    @classmethod
    def load(cls, path: Path) -> TasteSession | None:
        """The one in a file; None where there is none.

        Raises:
            Damaged: the file cannot be read.
        """
        return load(path, cls.read, None)

    @classmethod
    def read(cls, value: Any) -> TasteSession:
        """From the parsed file; ValueError where it makes no sense."""
        given = mapping(value)
        questions = listed(given["questions"], Question.read)
        session = cls(
            Recipe.read(given["recipe"]), whole(given["dimensions"], 1), tuple(questions), whole(given["seed"])
        )
        answers = [question.better is not None for question in questions]
        if answers != sorted(answers, reverse=True) or any(len(q.first) != session.dimensions for q in questions):
            raise ValueError("the questions are not in order")
        return session

    # -- small parts --------------------------------------------------------------------------------------------------

    def _asked(self) -> TasteSession:
        rng = np.random.default_rng((self.seed, len(self.questions)))
        pair = next_pair(self.taste(), self.start, rng)
        first, second = pair if rng.random() < 0.5 else pair[::-1]  # so that no side is the better one as a rule
        return replace(self, questions=(*self.questions, Question(first, second)))

    def _with(self, index: int, question: Question) -> TasteSession:
        return replace(self, questions=(*self.questions[:index], question, *self.questions[index + 1 :]))


@lru_cache(maxsize=16)
def _best(session: TasteSession) -> Best:
    """:meth:`TasteSession.best`, which pages ask for again and again."""
    if not session.answered:
        return Best(session.start, 0.5)
    return best(session.taste(), session.start)
