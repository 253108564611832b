"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lib_lora.errors import UserError
from lib_lora.ownership import Taken, alone
from lib_lora.part_files import part_name

FULL = (errno.ENOSPC, errno.EDQUOT, 112)  # 112: Windows' own number
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)  # another user's, or read-only; on Windows also: open elsewhere
MISPLACED = (IsADirectoryError, FileExistsError, NotADirectoryError)  # a folder for a file, or the reverse
PART = ".part"  # how names of files end that are being written
TURN = 5.0  # seconds; who changes a small file is soon done
RENAME_TRIES = 20  # virus scanners and previews hold new files open for a moment, on drives that Windows serves too


@contextmanager
def atomic_write(path: str | Path, durable: bool = True, new: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success fsync it (if ``durable``) and rename it into place.

    The temporary name starts with a dot and ends in ``.part``, so hosts do not list it; what a killed process left is
    swept by :func:`lib_lora.part_files.sweep_parts` at the next start. If the body raises, the
    temporary file is removed and ``path`` is as it was.

    Args:
        new: replace nothing, not even what another process writes meanwhile.

    Raises:
        UserError: the disk is full, the place may only be read, or ``path`` exists where a ``new`` file is wanted.
    """
    path = Path(path)
    part = path.with_name(part_name())
    with naming_refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            if durable:
                with open(part, "rb+") as f:
                    os.fsync(f.fileno())
            (move_new if new else move)(part, path)
        finally:
            part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it, where they are missing.

    Raises:
        UserError: the disk refuses, or something else stands in its place.
    """
    with naming_refusals(folder / PART):  # of what is to be in it
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def naming_refusals(path: Path) -> Iterator[None]:
    """Within a ``with`` block, an error says so and names ``path`` where a disk is full or read-only, a folder has
    gone, or something stands in the place of the file or its folder."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # safetensors has an error of its own for it
        if _is(error, FULL):
            fix = "Free some space and go on; what was there before is whole"
            raise UserError("The disk is full", where=path, fix=fix) from error
        if (isinstance(error, MISPLACED) or _is(error, (errno.ELOOP,))) and (place := _stands_in_the_way(path)):
            fix = "Move it away or give it another name, and try again"
            raise UserError("Something else is in the place of this file or folder", where=place, fix=fix) from error
        if _is(error, DENIED) and _concerns(error, path):
            raise UserError(
                "This file or its folder cannot be written",
                where=path,
                fix="Check the permissions, and whether another program has it open; what was there before is whole",
            ) from error
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and not path.parent.is_dir():
            what, fix = "The folder of this file is gone", "Put it back, or start anew; files elsewhere are whole"
            raise UserError(what, where=path, fix=fix) from error
        raise


def _stands_in_the_way(path: Path) -> Path | None:
    """``path`` where it is a folder; else what above it is none, or the link that leads to itself."""
    if path.is_dir():
        return path
    above = [place for place in path.parents if os.path.lexists(place) and not place.is_dir()]
    return next(iter([*above, *([path] if path.is_symlink() else [])]), None)


def _concerns(error: Exception, path: Path) -> bool:
    """Whether it is about a file beside ``path``, or a folder above it, and not about one that is read from."""
    name = getattr(error, "filename", None)
    return name is None or Path(os.fsdecode(name)).parent in path.parents


def _is(error: Exception, numbers: tuple[int, ...]) -> bool:
    return getattr(error, "errno", None) in numbers or any(f"os error {number})" in str(error) for number in numbers)


def move(source: Path, target: Path) -> None:
    """Rename within one file system, replacing ``target``; waits for programs that hold a file open."""
    for attempt in range(RENAME_TRIES):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if attempt == RENAME_TRIES - 1:
                raise
            if target.is_dir() and not source.is_dir():  # Windows' word for it is that this is not permitted
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target)) from None
            time.sleep(0.05 * (attempt + 1))


def move_new(source: Path, target: Path) -> None:
    """Rename within one file system; a UserError where there is a ``target``, though it came this moment."""
    try:
        os.link(source, target)
        with suppress(OSError):
            source.unlink()
        return
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno in FULL:
            raise
        if not target.exists():  # a file system without links: only the moment in between is not guarded
            move(source, target)
            return
    raise UserError("There is a file of this name already", where=target, fix="Choose another name")


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Read ``path`` and write it anew within a ``with`` block: no thread and no other process that takes turns does so
    meanwhile. Who only reads it needs no turn.

    Raises:
        UserError: somebody else has been at it for :data:`TURN` seconds, or its folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            with naming_refusals(path):
                stack.enter_context(alone(path.with_name(f".{path.name}.lock"), TURN))
        except Taken as taken:
            what = f"This file is just being changed ({taken.owner or 'by another process'})"
            raise UserError(what, where=path, fix="Try again") from None
        yield


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
