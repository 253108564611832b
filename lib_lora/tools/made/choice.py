"""Which of the drawn pictures are kept: one answer after the other, on disk at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib_lora.errors import UserError
from lib_lora.small_files import listed, load, mapping, record, set_aside, write_json

CHOICE = "choice.json"


@dataclass(frozen=True)
class Answer:
    """A picture, by its name without ending, that is kept or left."""

    picture: str
    keep: bool


@dataclass(frozen=True)
class Choice:
    """The answers in the order in which they were given; of several on one picture the last counts."""

    answers: tuple[Answer, ...] = ()

    def answered(self, picture: str, keep: bool) -> Choice:
        """With one more answer."""
        return Choice((*self.answers, Answer(picture, keep)))

    def undone(self) -> Choice:
        """Without the last answer; UserError where there is none."""
        if not self.answers:
            raise UserError("Nothing was chosen yet", fix="Keep or leave a picture first")
        return Choice(self.answers[:-1])

    def states(self) -> dict[str, bool]:
        """Picture -> whether it is kept, of those that were answered."""
        return {answer.picture: answer.keep for answer in self.answers}

    def save(self, folder: Path) -> None:
        """Keep it with the pictures; a damaged file that is there gets another name."""
        set_aside(folder / CHOICE, self._read)
        write_json(folder / CHOICE, {"answers": [asdict(answer) for answer in self.answers]})

    @classmethod
    def load(cls, folder: Path) -> Choice:
        """That of the pictures in ``folder``; none where nothing was chosen yet.

        Raises:
            Damaged: the file cannot be read.
        """
        return load(folder / CHOICE, cls._read, cls())

    @classmethod
    def _read(cls, content: Any) -> Choice:
        return cls(tuple(listed(mapping(content)["answers"], lambda item: record(Answer, item))))
