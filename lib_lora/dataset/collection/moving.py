"""Pictures get other names or another folder, together with all that belongs to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lib_lora.dataset.collection.change import Change, Example, Move, reordered
from lib_lora.dataset.collection.picture import Picture

EXAMPLES = 5
NAME_BYTES = 255  # longest file name on the usual file systems, in UTF-8


def plan_numbering(pictures: Sequence[Picture], start: int = 1, prefix: str = "", digits: int = 0) -> Change:
    """Name pictures ``prefix`` + ascending number in the order given, captions and masks with them.

    Args:
        start: number of the first picture of each folder.
        digits: least number of digits, padded with zeros; 0 takes as many as the largest folder needs.
    """
    by_folder: dict[Path, list[Picture]] = {}
    for picture in pictures:
        by_folder.setdefault(picture.path.parent, []).append(picture)
    width = digits or len(str(start + max(map(len, by_folder.values()), default=1) - 1))
    moves: list[Move] = []
    for folder in by_folder.values():
        for number, picture in enumerate(folder, start=start):
            moves += _renamed(picture, f"{prefix}{number:0{width}}")
    return _change("Rename to ascending numbers", moves, {"pictures renamed": len({m.source for m in moves})})


def plan_move(pictures: Sequence[Picture], folder: Path, title: str) -> Change:
    """Move pictures and what belongs to them into ``folder``; those whose name is taken there get a number."""
    moves: list[Move] = []
    taken = {path.name.casefold() for path in folder.iterdir()} if folder.is_dir() else set()
    for picture in pictures:
        stem = _free_stem(picture, taken)
        found = [Move(file, folder / _new_name(file, picture, stem)) for file in (picture.path, *picture.sidecars)]
        taken |= {move.target.name.casefold() for move in found}
        moves += found
    return _change(title, moves, {"pictures moved": len(pictures), "files moved": len(set(moves))})


def set_aside(change: Change, pictures: Sequence[Picture], folder: Path) -> Change:
    """``change``, which makes copies of these pictures, and then moves the originals into ``folder``."""
    return merged([change, plan_move(pictures, folder, change.title)], change.title)


def merged(changes: Sequence[Change], title: str) -> Change:
    """Several changes as one, which is undone in one step. They must not touch the same files."""
    counts: Counter[str] = Counter()
    for change in changes:
        counts.update(change.counts)
    return Change(
        title,
        tuple(operation for change in changes for operation in change.operations),
        dict(counts),
        tuple(example for change in changes for example in change.examples)[:EXAMPLES],
        tuple(note for change in changes for note in change.notes),
    )


def derived(path: Path, ending: str, suffix: str | None = None) -> Path:
    """``a.png`` -> ``a`` + ``ending`` + ``suffix``, the name shortened where the file system would refuse it."""
    suffix = path.suffix if suffix is None else suffix
    room = NAME_BYTES - len((ending + suffix).encode()) - len(".masklabel.png")
    stem = path.stem.encode()[:room].decode(errors="ignore")
    return path.with_name(f"{stem}{ending}{suffix}")


def _renamed(picture: Picture, stem: str) -> list[Move]:
    files = (picture.path, *picture.sidecars)
    moves = [Move(file, file.with_name(_new_name(file, picture, stem))) for file in files]
    return [move for move in moves if move.source != move.target]


def _new_name(file: Path, picture: Picture, stem: str) -> str:
    """The name with the picture's stem exchanged: ``old.png.json`` -> ``new.png.json``."""
    return stem + file.name[len(picture.path.stem) :]


def _free_stem(picture: Picture, taken: set[str]) -> str:
    names, number = (picture.path, *picture.sidecars), 1
    stem = picture.path.stem
    while any(_new_name(file, picture, stem).casefold() in taken for file in names):
        number += 1
        stem = derived(picture.path, f" ({number})").stem
    return stem


def _change(title: str, moves: Iterable[Move], counts: dict[str, int]) -> Change:
    unique = list({move.source: move for move in moves}.values())  # a caption may belong to two pictures
    examples = tuple(Example(m.source, m.source.name, str(m.target)) for m in unique[:EXAMPLES])
    return Change(title, tuple(reordered(unique)), counts, examples)
