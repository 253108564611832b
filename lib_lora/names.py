"""What a file may be called on every system, and what the names of a run's files say."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from lib_lora.errors import UserError

# also marks that turn or break a line: a name would look like another, or like two
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\x85\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]')
FORBIDDEN_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # what is no text in any file
DEVICES = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
LONGEST = 180  # bytes in UTF-8: of 255, room for numbers, endings and temporary names
USE = "Use letters, digits, blanks, - and _"
EPOCH = re.compile(r"-(\d{6})$")
STEP = re.compile(r"-step(\d{8})$")
HIGHEST_EPOCH = 9999  # six digits above it are a date


def check_name(name: str, where: str, ending: str = ".safetensors") -> str:
    """``name`` if a file of that name, without a folder, can be made on Linux, macOS and Windows.

    Args:
        where: the field that it comes from, for the message.
        ending: what the program adds, so that nobody types it.

    Raises:
        UserError: says what is wrong and what may be used.
    """
    if not name.strip():
        raise UserError("The file needs a name", where=where, fix="Type a short one, for example the character's")
    if bad := FORBIDDEN.search(name):
        raise UserError(f"A name cannot contain {bad.group()!r}", where=where, fix=USE)
    if name != name.strip() or name.startswith(".") or name.endswith("."):
        what = f"{name!r} cannot be a name: no dot and no blank at its beginning or end"
        raise UserError(what, where=where, fix=f"For example {name.strip('. ') or 'mira'!r}")
    if DEVICES.fullmatch(name):
        other = f"For example {name.partition('.')[0]}-lora"
        raise UserError(f"Windows keeps the name {name!r} for a device", where=where, fix=other)
    if name.lower().endswith(ending):
        fix = f"Write {name[: -len(ending)]!r}"
        raise UserError(f"The ending {ending} is added by the program", where=where, fix=fix)
    if len(name.encode("utf-8")) > LONGEST:
        size = len(name.encode("utf-8"))
        most = LONGEST * len(name) // size // 2 if size > len(name) else LONGEST // 2
        raise UserError(f"This name is too long ({len(name)} characters)", where=where, fix=f"Use at most {most}")
    return name


def base_of(name: str, names: Collection[str]) -> str:
    """The run that a file belongs to, by their names: ``mira`` for ``mira-000004`` and ``mira-step00000500``.

    A name that ends in digits is a run's own where files of its epochs are there, or where the digits are a date:
    ``style-240101``.
    """
    if STEP.search(name):
        return STEP.sub("", name)
    if (epoch := EPOCH.search(name)) is None or int(epoch[1]) > HIGHEST_EPOCH or epochs_of(name, names):
        return name
    return EPOCH.sub("", name)


def epochs_of(base: str, names: Collection[str]) -> list[int]:
    """The epochs of a run that have a file of their own, in order."""
    found = (EPOCH.search(name) for name in names if name.startswith(f"{base}-") and len(name) == len(base) + 7)
    return sorted(int(match[1]) for match in found if match and int(match[1]) <= HIGHEST_EPOCH)


def steps_of(base: str, names: Collection[str]) -> dict[int, str]:
    """The steps of a run that have a file of their own, in order, and its name."""
    found = {name: STEP.search(name) for name in names if STEP.sub("", name) == base}
    return dict(sorted((int(match[1]), name) for name, match in found.items() if match))


def file_of_epoch(base: str, epoch: int, names: Collection[str], last: Callable[[str], int | None]) -> str | None:
    """The file of an epoch of a run; the last one's has no number in its name.

    Args:
        last: the number of epochs that a file says of its run, None where it says nothing; then it is taken to be as
            far behind the epoch before as that is behind its own.
    """
    if (numbered := f"{base}-{epoch:06}") in names:
        return numbered
    if base not in names:
        return None
    known = epochs_of(base, names)
    final = last(base)
    if final is None and known:
        final = known[-1] + (known[-1] - known[-2] if len(known) > 1 else known[-1])
    return base if final == epoch else None
