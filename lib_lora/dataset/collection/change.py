"""A change to files before it happens: what would be written and moved, counted and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lib_lora.errors import UserError


@dataclass(frozen=True)
class Write:
    """A small file, made or replaced; the journal keeps its old bytes.

    Args:
        before: what the plan was made from, b"" where there was no file; a file that holds something else by now is not
            replaced. None: no matter.
    """

    path: Path
    content: bytes
    before: bytes | None = None


@dataclass(frozen=True)
class Make:
    """A new file that ``make`` writes to the path it is given, e.g. a mirrored picture. Never replaces anything.

    Args:
        quick: made in well under a second, so that a plan can show what comes out.
    """

    path: Path
    make: Callable[[Path], None]
    quick: bool = True


@dataclass(frozen=True)
class Move:
    """A file gets another name or folder, where nothing is yet."""

    source: Path
    target: Path


Operation = Write | Make | Move


@dataclass(frozen=True)
class Example:
    """One file before and after, as text."""

    path: Path
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """The dry run of an edit; `Journal.apply` carries it out.

    Args:
        title: what the history calls it, e.g. ``"Add tags: mira"``.
        operations: in the order in which they are done.
        counts: what it would do, in words and numbers, e.g. ``{"captions written": 12}``.
        examples: the first few files.
        notes: what is left out, and why.
    """

    title: str
    operations: tuple[Operation, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.operations)


def check(operations: tuple[Operation, ...]) -> None:
    """Raise `UserError` for a file that is missing, changed or in the way, before anything is touched.

    Names are compared without case, so that a change means the same on every file system.
    """
    free: set[str] = set()
    taken: set[str] = set()
    for operation in operations:
        if isinstance(operation, Move):
            source = _key(operation.source)
            if source not in taken and not operation.source.exists():
                fix = "Scan the folder again"
                raise UserError("A file to be moved is not there any more", where=operation.source, fix=fix)
            free.add(source)
            taken.discard(source)
        path = operation.target if isinstance(operation, Move) else operation.path
        if isinstance(operation, Write):
            if operation.before is not None and _key(path) not in taken:
                _check_unchanged(operation)
            continue
        if _key(path) in taken or (_key(path) not in free and path.exists()):
            raise UserError("A file of this name exists already", where=path, fix="Choose another name or folder")
        taken.add(_key(path))
        free.discard(_key(path))


def _check_unchanged(write: Write) -> None:
    try:
        now = write.path.read_bytes()
    except FileNotFoundError:
        now = b""
    if now == write.before:
        return
    fix = "Open the folder again, and look at the change once more"
    raise UserError("The file was changed by another program meanwhile", where=write.path, fix=fix)


def reordered(moves: list[Move]) -> list[Move]:
    """Moves that may take each other's names, as moves that can be done one after the other.

    Those whose target is the source of another go by way of a hidden name in the target's folder.
    """
    sources = {_key(move.source) for move in moves}
    tangled = [move for move in moves if _key(move.target) in sources]
    aside = {move: move.target.with_name(f".moving-{number:06}") for number, move in enumerate(tangled)}
    first = [Move(move.source, aside.get(move, move.target)) for move in sorted(moves, key=lambda m: m not in aside)]
    return first + [Move(aside[move], move.target) for move in tangled]


def new_folders(operations: tuple[Operation, ...]) -> Iterator[Path]:
    """Folders that do not exist yet, outer ones first."""
    targets = {(o.target if isinstance(o, Move) else o.path).parent for o in operations}
    missing = {folder for target in targets for folder in (target, *target.parents) if not folder.exists()}
    yield from sorted(missing, key=lambda folder: len(folder.parts))


def _key(path: Path) -> str:
    return str(path).casefold()
