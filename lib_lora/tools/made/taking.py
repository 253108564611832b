"""Drawn pictures become a folder of a set, as a change that is shown first and can be undone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lib_lora.dataset.collection.change import Change, Example, Make, Operation, Write
from lib_lora.dataset.scan import CONCEPT_NAME
from lib_lora.dataset.sidecars import MADE_FILE
from lib_lora.errors import UserError
from lib_lora.names import check_name
from lib_lora.small_files import mapping, tolerated
from lib_lora.tools.pictures import DAMAGE, RECIPE

SHOWN = 3


def usual_folder(root: Path, name: str) -> str:
    """What the folder of pictures called ``name`` is called in the set ``root``: beside ``N_name`` folders it needs a
    number too, else trainers pass it over."""
    numbered = root.is_dir() and any(path.is_dir() and CONCEPT_NAME.fullmatch(path.name) for path in root.iterdir())
    return f"1_made {name}" if numbered else f"made {name}"


def plan_take(pictures: Sequence[Path], root: Path, folder: str) -> Change:
    """Copies of drawn pictures, with captions as they are beside them now and recipes, in ``folder`` below ``root``.

    Pictures that are there already, or are damaged, are left out and named; nothing is overwritten.

    Raises:
        UserError: no picture, or a folder's name that cannot be.
    """
    if not pictures:
        raise UserError("No picture is kept yet", where="Generate pictures", fix="Look at them, and keep some")
    target = root / check_name(folder, "Folder in the set")
    side_file = target / MADE_FILE
    nothing: dict[str, Any] = {}
    known = dict(tolerated(side_file, mapping, nothing) or _recipes(target))
    operations: list[Operation] = []
    examples: list[Example] = []
    there: list[str] = []
    damaged: list[str] = []
    for source in pictures:
        path = target / f"{source.parent.name}-{source.stem}.png"
        if path.exists():
            there.append(path.name)
            continue
        recipe = read_recipe(source)
        if not recipe:
            damaged.append(source.name)
            continue
        caption = _caption(source, recipe)
        operations.append(Make(path, _copier(source)))
        if caption:
            operations.append(Write(path.with_suffix(".txt"), caption, b""))
        known[path.name] = recipe
        examples.append(Example(path, "", caption.decode(errors="replace")))
    if taken := len(pictures) - len(there) - len(damaged):
        before = side_file.read_bytes() if side_file.exists() else b""
        content = json.dumps(known, indent=1, ensure_ascii=False).encode()
        operations.append(Write(side_file, content, before))
    notes = [
        f"{told}: {', '.join(names[:SHOWN])}{' …' if len(names) > SHOWN else ''}"
        for told, names in (("In the folder already", there), ("Damaged", damaged)) if names
    ]  # fmt: skip
    return Change(
        f"Made pictures: {folder}", tuple(operations), {"pictures added": taken}, tuple(examples[:SHOWN]), tuple(notes)
    )


def _recipes(folder: Path) -> dict[str, Any]:
    """Those that the pictures in ``folder`` carry, where the file that has them all is damaged."""
    found = {path.name: read_recipe(path) for path in sorted(folder.glob("*.png"))}
    return {name: recipe for name, recipe in found.items() if recipe}


def read_recipe(path: Path) -> dict[str, Any]:
    """What a PNG says that it was made from; empty where it says nothing."""
    try:
        with Image.open(path) as image:
            return mapping(json.loads(image.info.get(RECIPE) or "{}"))
    except (*DAMAGE, RecursionError):
        return {}


def _caption(picture: Path, recipe: Mapping[str, Any]) -> bytes:
    """What stands beside it, to the byte, since it may have been edited; else that which it was drawn by."""
    beside = picture.with_suffix(".txt")
    return beside.read_bytes() if beside.is_file() else str(recipe.get("caption", "")).encode()


def _copier(source: Path) -> Callable[[Path], None]:
    def copy(target: Path) -> None:
        shutil.copyfile(source, target)

    return copy
