"""What a request may say, read strictly: an unknown or mistyped entry is an error that names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, TypeVar

from lib_lora.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Start:
    """``POST start``: settings by name, over those of ``preset``."""

    settings: dict
    preset: str = ""


@dataclass(frozen=True)
class Stop:
    """``POST stop``: the job, by default the current one; ``save`` writes the LoRA so far."""

    job: int = 0
    save: bool = False


@dataclass(frozen=True)
class Grid:
    """``POST grid``: epochs of ``run`` (none: all that are saved) at ``weights``. Empty prompts: the run's own."""

    run: str
    epochs: list = ()
    weights: list = (0.6, 0.8, 1.0)
    prompts: list = ()
    seeds: list = (1,)
    negative: str = ""
    width: int = 512
    height: int = 512
    steps: int = 20
    cfg: float = 7.0
    sampler: str = ""
    clip_skip: int = 1


@dataclass(frozen=True)
class Merge:
    """``POST merge``: ``rank`` 0 is exact; with ``save`` the result is written under that name."""

    formula: str
    rank: int = 0
    save: str = ""


def read(kind: type[T], body: Mapping[str, Any]) -> T:
    """``body`` as a ``kind``.

    Raises:
        UserError: naming the entry that is unknown, missing or of a wrong type.
    """
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted(set(body) - set(known)):
        raise UserError("Unknown entry", where=unknown[0], fix=f"Known are {', '.join(known)}")
    if missing := [name for name, f in known.items() if f.default is MISSING and name not in body]:
        raise UserError("This entry is missing", where=missing[0], fix="Add it to the JSON object")
    return kind(**{name: _typed(known[name], value) for name, value in body.items()})


def numbers(values: Iterable[Any], kind: type, where: str) -> tuple:
    """A list of whole (``int``) or decimal (``float``) numbers as a tuple of ``kind``."""
    values = tuple(values)
    accepted = (int,) if kind is int else (int, float)
    if not all(isinstance(v, accepted) and not isinstance(v, bool) for v in values):
        raise UserError("This must be a list of numbers", where=where, fix="For example [1, 2]")
    return tuple(map(kind, values))


def texts(values: Iterable[Any], where: str) -> tuple[str, ...]:
    """A list of texts as a tuple."""
    values = tuple(values)
    if not all(isinstance(v, str) and v.strip() for v in values):
        raise UserError("This must be a list of texts", where=where, fix='For example ["mira, 1girl"]')
    return values


def _typed(field: Field, value: Any) -> Any:
    wanted = field.type if isinstance(field.type, str) else field.type.__name__
    if wanted == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ != wanted:
        raise UserError(f"This must be a {wanted}", where=field.name, fix=f"It is a {type(value).__name__} now")
    return value
