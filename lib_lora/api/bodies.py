"""What a request may say, read strictly: an unknown, mistyped or boundless entry is an error that names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar

from lib_lora import bounds
from lib_lora.errors import UserError


class Body(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Body)
N = TypeVar("N", int, float)
TYPES: dict[str, type] = {
    "dict[str, Any]": dict,
    "list[Any]": list,
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
}


@dataclass(frozen=True)
class Start:
    """``POST start``: settings by name, over those of ``preset``."""

    settings: dict[str, Any]
    preset: str = ""


@dataclass(frozen=True)
class Stop:
    """``POST stop``: the job, by default the current one; ``save`` writes the LoRA so far."""

    job: int = 0
    save: bool = False


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How pictures are drawn; sizes in pixels, an empty sampler is the host's usual one."""

    negative: str = ""
    width: int = 512
    height: int = 512
    steps: int = 20
    cfg: float = 7.0
    sampler: str = ""
    clip_skip: int = 1


@dataclass(frozen=True, kw_only=True)
class Grid(Drawing):
    """``POST grid``: epochs of ``run`` (none: all that are saved) at ``weights``. Empty prompts: the run's own."""

    run: str
    epochs: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=lambda: [0.6, 0.8, 1.0])
    prompts: list[Any] = field(default_factory=list)
    seeds: list[Any] = field(default_factory=lambda: [1])


@dataclass(frozen=True)
class Merge:
    """``POST merge``: with ``save`` the result is written under that name.

    ``rank`` 0 is exact, ``energy`` 0 is all of it. ``base`` is the checkpoint that DoRA and its like act on, by default
    the loaded model; ``program`` the one that the result is for.
    """

    formula: str
    rank: int = 0
    energy: float = 0.0
    base: str = ""
    program: str = ""
    save: str = ""


@dataclass(frozen=True)
class Publish:
    """``POST publish``: a LoRA for others, under ``name`` (none: its own), with pictures of its own epoch."""

    lora: str
    name: str = ""
    trigger: str = ""
    weight: float = 1.0
    description: str = ""
    licence: str = ""
    base_model: str = ""
    zip: bool = False


@dataclass(frozen=True, kw_only=True)
class Taste(Drawing):
    """``POST taste``: begin to tune a LoRA, from ``weight`` and ``blocks``; ``subtract`` is drawn subtracted."""

    lora: str
    prompts: list[Any]
    seeds: list[Any] = field(default_factory=lambda: [1, 2, 3, 4])
    weight: float = 1.0
    blocks: str = "ALL"
    subtract: str = ""
    subtract_blocks: str = "GP2"
    locked: str = ""
    tune_weight: bool = True
    pictures: int = 4  # on each side, as the page begins


@dataclass(frozen=True)
class Answer:
    """``POST answer``: to question ``question``, from 0; ``better`` is first, second, equal or, instead, undo."""

    lora: str
    question: int
    better: str


@dataclass(frozen=True, kw_only=True)
class Generate(Drawing):
    """``POST generate``: pictures to be trained on, kept under ``name``; a second call goes on with what is missing.

    ``prompts`` are captions, used in turn; ``loras`` a formula such as ``MIRA:0.8``; ``before`` is before each prompt
    and in no caption, ``trigger`` first in both. ``checkpoint``: by default the loaded one.
    """

    name: str
    prompts: list[Any]
    count: int = 24
    seed: int = 1
    loras: str = ""
    before: str = ""
    trigger: str = ""
    checkpoint: str = ""


@dataclass(frozen=True)
class Keep:
    """``POST keep``: ``answer`` is keep or leave, of a picture by its name, or undo."""

    name: str
    answer: str
    picture: str = ""


@dataclass(frozen=True)
class Take:
    """``POST take``: the kept pictures of ``name`` into ``folder`` (none: made and the name) of the set ``set``."""

    name: str
    set: str
    folder: str = ""


@dataclass(frozen=True, kw_only=True)
class Slider(Drawing):
    """``POST slider``: a LoRA that goes from ``less`` at -1 to ``more`` at 1, learned on pictures that are drawn of
    ``prompts``; or from the pairs of pictures in the folders ``before`` and ``after``."""

    name: str
    more: str = ""
    less: str = ""
    prompts: list[Any] = field(default_factory=list)
    before: str = ""
    after: str = ""
    pictures: int = 24
    training_steps: int = 200
    strength: float = 1.0
    rank: int = 4


@dataclass(frozen=True)
class Mixture:
    """``POST mixture``: of the epochs of ``run``; ``pictures``: a folder of held-out ones, by default the run's own."""

    run: str
    pictures: str = ""


@dataclass(frozen=True)
class Influence:
    """``POST influence``: of the training pictures of ``run`` on what is wrong in ``image``, and not in the images
    ``right``; ``prompt`` asked for all of them."""

    run: str
    image: str
    prompt: str
    right: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Without:
    """``POST without``: train ``run`` again, without what these ``pictures`` of its folder taught."""

    run: str
    pictures: list[Any]


def read(kind: type[T], body: Mapping[str, Any]) -> T:
    """``body`` as a ``kind``.

    Raises:
        UserError: naming the entry that is unknown, missing or of a wrong type.
    """
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted(set(body) - set(known)):
        raise UserError("Unknown entry", where=f"{unknown[0]:.60}", fix=f"Known are {', '.join(known)}")
    required = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in body]:
        raise UserError("This entry is missing", where=missing[0], fix="Add it to the JSON object")
    return kind(**{name: _typed(str(known[name].type), name, value) for name, value in body.items()})


def numbers(values: Iterable[Any], kind: type[N], where: str) -> tuple[N, ...]:
    """A list of whole (``int``) or decimal (``float``) numbers as a tuple of ``kind``."""
    values = _listed(values, where)
    accepted = (int,) if kind is int else (int, float)
    if not all(isinstance(v, accepted) and not isinstance(v, bool) for v in values):
        raise UserError("This must be a list of numbers", where=where, fix="For example [1, 2]")
    return tuple(kind(bounds.as_float(value, where) if kind is float else value) for value in values)


def texts(values: Iterable[Any], where: str) -> tuple[str, ...]:
    """A list of texts as a tuple."""
    values = _listed(values, where)
    if not all(isinstance(v, str) and v.strip() for v in values):
        raise UserError("This must be a list of texts", where=where, fix='For example ["mira, 1girl"]')
    return values


def _listed(values: Iterable[Any], where: str) -> tuple[Any, ...]:
    found = tuple(values)
    if len(found) > bounds.LIST:
        raise UserError(f"These are {len(found):,} values", where=where, fix=f"Give at most {bounds.LIST:,}")
    return found


def _typed(kind: str, name: str, value: Any) -> Any:
    wanted = TYPES[kind]
    if wanted is float and type(value) is int:
        return bounds.as_float(value, name)
    bounds.check_kind(value, wanted, name)
    if isinstance(value, str):
        bounds.check_text(value, name)
    return value
