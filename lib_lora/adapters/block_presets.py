"""Named block weights: the built-in ones, the user's own file, and lists of the LoRA Block Weight extension.

A file has lines ``NAME:weights``, the weights in any form of :func:`lib_lora.adapters.blocks.BlockWeights.parse`; ``#``
starts a comment line; several lines of one name are forms for several layouts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.files import write_text
from lib_lora.models.families import families
from lib_lora.small_files import plain_text

LONGEST_LINE = 10_000  # characters
BUILT_IN_PRESETS = Path(__file__).with_name("block_presets.txt")
_BAD_NAME = re.compile(r'[,:"=#\n]')
_ELEMENTAL = re.compile(r"([^:,\n]*):([^:,\n]*):([^:,\n]*)")


def load_presets(path: str | Path | None = None) -> dict[str, str]:
    """Preset names and their weights as text: the built-in ones, and over them those of the user's file ``path``.

    A file that does not exist is an empty one; :func:`preset_faults` names its lines that are no presets.
    """
    presets = dict(_read_presets(BUILT_IN_PRESETS)[0])
    if path is not None:
        presets.update(_read_presets(Path(path))[0])
    return presets


def preset_faults(path: Path) -> list[str]:
    """What of the user's file cannot be read, with what to do; all else of it works."""
    return _read_presets(path)[1]


def save_presets(path: Path, new: Mapping[str, str], replace: bool = False) -> None:
    """Add presets to the user's file; its other lines, and comments, stay as they are.

    Args:
        replace: overwrite presets of these names in the user's file.

    Raises:
        UserError: a name that cannot be written, or is in the file already; nothing is written then.
    """
    for name in new:
        if not name or name != name.strip() or _BAD_NAME.search(name):
            raise UserError(f"{name!r} cannot be a preset's name", where="preset", fix='Leave out , : = # and ".')
    present = _read_presets(path)[0]
    taken = sorted(set(new) & set(present))
    if taken and not replace:
        raise UserError(
            f"You have a preset called {', '.join(taken)} already",
            where=path,
            fix="Choose another name, or allow replacing it.",
        )
    lines = plain_text(path).splitlines() if path.exists() else []
    kept = [line for line in lines if line.lstrip().startswith("#") or line.partition(":")[0].strip() not in new]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join([*kept, *(f"{name}:{weights}" for name, weights in new.items())]) + "\n")


@dataclass
class Imported:
    """Presets read from a list of another program, and what could not be, with the reason."""

    presets: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def import_lbw(text: str) -> Imported:
    """Presets from ``lbwpresets.txt`` (``NAME:1,0,…``) or ``elempresets.txt`` (``NAME:BLOCKS:ELEMENTS:weight,…``).

    As the extension reads them: a ``#`` anywhere disables a line, elements go on over commas and lines up to an empty
    line, blanks separate several blocks or elements, and none stands for all.
    """
    found = Imported()
    for name, body in _lbw_entries(text):
        try:
            found.presets[name] = _elemental(body) if ":" in body else _vector(body)
        except ValueError as error:
            found.skipped[name] = str(error)
    return found


def _lbw_entries(text: str) -> Iterator[tuple[str, str]]:
    """(name, everything after its colon); lines that go on with an elemental entry are joined to it."""
    name, body = "", ""
    for line in [*text.splitlines(), ""]:
        line = "" if "#" in line else line.strip()
        more = line.count(":") == 2 and ":" in body
        if more:
            body += f",{line}"
            continue
        if name:
            yield name, body
        name, _, body = (part.strip() for part in line.partition(":"))
    if name:
        yield name, body


def _vector(body: str) -> str:
    numbers = [part.strip() for part in body.split(",")]
    if any(re.search(r"[RUX]", number) for number in numbers):
        raise ValueError("it has random numbers or the placeholder X")
    if not any(len(numbers) == len(names) for one in families().values() for names in one.blocks.accepted):
        raise ValueError(f"it has {len(numbers)} weights, which no family has")
    return ",".join(repr(float(number)).removesuffix(".0") for number in numbers)


def _elemental(body: str) -> str:
    entries = []
    for part in filter(None, (part.strip() for part in body.split(","))):
        match = _ELEMENTAL.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not BLOCKS:ELEMENTS:weight")
        blocks, elements, weight = (group.strip() for group in match.groups())
        kinds = elements.split() or [""]
        if unknown := [
            kind for kind in kinds if kind and not any(kind in f.kinds.choices for f in families().values())
        ]:
            raise ValueError(f"the element {unknown[0]!r} has no counterpart here")
        number = repr(float(weight)).removesuffix(".0")
        target = blocks or "BASE-OUT11"
        entries += [f"{target}.{kind}={number}" if kind else f"{target}={number}" for kind in kinds]
    return ",".join(entries)


def _read_presets(path: Path) -> tuple[dict[str, str], list[str]]:
    """Name -> weights, and a sentence for what is no preset."""
    try:
        content = plain_text(path) if path.exists() else ""
    except OSError as error:
        return {}, [str(UserError(f"The block presets cannot be read ({error.strerror})", where=path))]
    presets: dict[str, str] = {}
    faults: list[str] = []
    for number, line in enumerate(content.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, weights = (part.strip() for part in line.partition(":"))
        if not name or not colon or "," in name or len(line) > LONGEST_LINE:
            fix = "Write NAME:w1,w2,… on each line"
            faults.append(str(UserError(f"Line {number} is not a block preset", where=path, fix=fix)))
        else:
            presets[name] = f"{weights}|{presets[name]}" if name in presets else weights  # a form for another layout
    return presets, faults
