"""Files that cannot be trained on as they are: set aside together, or converted where a picture can be read in them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lib_lora.dataset.collection.change import Change, Make, Move, Operation
from lib_lora.dataset.images import BadFile, has_alpha, load_rgb, load_rgba, read_header


def plan_aside(paths: Sequence[Path], folder: Path) -> Change:
    """Move them into ``folder``; a name that is taken there gets a number."""
    moves = _moved(paths, folder)
    return Change("Set files aside that cannot be used", moves, {"files moved": len(moves)})


def plan_png(paths: Sequence[Path], folder: Path) -> Change:
    """Write each as a PNG beside itself, as a viewer shows it, its first frame alone; the original goes to ``folder``.

    What cannot be read, or whose PNG is there already, is left as it is and counted in a note.
    """
    found = [path for path in paths if not path.with_suffix(".png").exists() and _opens(path)]
    made: list[Operation] = [Make(path.with_suffix(".png"), partial(_write, path)) for path in found]
    left = len(paths) - len(found)
    notes = (f"Left as they are (cannot be read, or their PNG is there already): {left}",) if left else ()
    moves = _moved(found, folder)
    return Change("Convert to PNG", (*made, *moves), {"pictures made": len(made)} if made else {}, notes=notes)


def _moved(paths: Sequence[Path], folder: Path) -> tuple[Move, ...]:
    taken = {path.name.casefold() for path in folder.iterdir()} if folder.is_dir() else set()
    moves = []
    for path in paths:
        name, number = path.name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{path.stem}-{number}{path.suffix}"
        taken.add(name.casefold())
        moves.append(Move(path, folder / name))
    return tuple(moves)


def _opens(path: Path) -> bool:
    try:
        read_header(path)
        load_rgb(path)
    except BadFile:
        return False
    return True


def _write(source: Path, target: Path) -> None:
    (load_rgba if has_alpha(source) else load_rgb)(source).save(target, "PNG")
