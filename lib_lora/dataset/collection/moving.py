"""Pictures get other names or another folder, together with all that belongs to them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from lib_lora.dataset.collection.change import Change, Example, Make, Move, reordered
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.oddities import IMAGE_EXTENSIONS

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
    targets: list[tuple[Picture, Path, Path]] = []
    for folder in by_folder.values():
        for number, picture in enumerate(folder, start=start):
            targets += _renamed(picture, picture.path.parent, f"{prefix}{number:0{width}}")
    renamed = {picture.path for picture, source, target in targets if source != target}
    return _change("Rename to ascending numbers", targets, {"pictures renamed": len(renamed)})


def plan_move(pictures: Sequence[Picture], folder: Path, title: str) -> Change:
    """Move pictures and what belongs to them into ``folder``; those whose name is taken there get a number."""
    targets: list[tuple[Picture, Path, Path]] = []
    taken = {path.name.casefold() for path in folder.iterdir()} if folder.is_dir() else set()
    for picture in pictures:
        found = _renamed(picture, folder, _free_stem(picture, taken))
        taken |= {target.name.casefold() for _, _, target in found}
        targets += found
    counts = {"pictures moved": len(pictures), "files moved": len({source for _, source, _ in targets})}
    return _change(title, targets, counts)


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


def _renamed(picture: Picture, folder: Path, stem: str) -> list[tuple[Picture, Path, Path]]:
    """(picture, file, where it goes) of a picture and all that belongs to it."""
    files = (picture.path, *picture.sidecars)
    return [(picture, file, folder / _new_name(file, picture, stem)) for file in files]


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


def _change(title: str, targets: Sequence[tuple[Picture, Path, Path]], counts: dict[str, int]) -> Change:
    """Moves; a caption that several pictures share stays with each of them, as a copy."""
    leaving = {picture.path for picture, _, _ in targets}
    stems = _stems({picture.path.parent for picture in (row[0] for row in targets)})
    moves: dict[Path, Move] = {}
    copies: list[Make] = []
    for picture, source, target in targets:
        alone = source == picture.path or source.name.startswith(picture.path.name)
        sharing = () if alone else stems.get((source.parent, picture.path.stem.casefold()), ())
        if source == target:
            continue
        if source in moves or any(other not in leaving for other in sharing):
            copies.append(Make(target, partial(_copy, source)))
        else:
            moves[source] = Move(source, target)
    examples = tuple(Example(m.source, m.source.name, str(m.target)) for m in list(moves.values())[:EXAMPLES])
    if copies:
        counts = counts | {"shared captions copied": len(copies)}
    return Change(title, (*reordered(list(moves.values())), *copies), counts, examples)


def _stems(folders: Iterable[Path]) -> dict[tuple[Path, str], list[Path]]:
    """The images of each folder by their names without ending."""
    found: dict[tuple[Path, str], list[Path]] = {}
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix.lower() in IMAGE_EXTENSIONS:
                found.setdefault((folder, path.stem.casefold()), []).append(path)
    return found


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
