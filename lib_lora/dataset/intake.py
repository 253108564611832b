"""Pictures that somebody brings: dropped or chosen files, folders and zips become a set in a folder of its own.

Names are kept as far as every system can have them. Nothing is overwritten, and nothing lands outside of the set's
folder, whatever a name or a zip says.
"""

from __future__ import annotations

import filecmp
import shutil
import stat
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import IO

from lib_lora.dataset.oddities import FOREIGN_EXTENSIONS, IMAGE_EXTENSIONS
from lib_lora.dataset.sidecars import CAPTION_EXTENSIONS, FURTHER_EXTENSIONS
from lib_lora.errors import UserError
from lib_lora.files import make_folder
from lib_lora.names import DEVICES, FORBIDDEN, LONGEST

KINDS = frozenset((*IMAGE_EXTENSIONS, *FOREIGN_EXTENSIONS, *CAPTION_EXTENSIONS, *FURTHER_EXTENSIONS, ".json"))
ZIP, LORA = ".zip", ".safetensors"
MOST_FILES = 20_000  # of a set
LARGEST_FILE = 1 << 28  # bytes of a picture, a caption …
LARGEST_ZIP = 1 << 33
MOST_BYTES = 1 << 35  # of a set, unpacked
PART = ".part"
CHUNK = 1 << 20


@dataclass
class Taken:
    """What a set has been given. ``left_out`` are files of other kinds."""

    files: int = 0
    bytes: int = 0
    left_out: int = 0


class Intake:
    """A set that is being filled.

    Args:
        root: the folder of all sets.
        name: of this one; where there is such a set already, a number is added.
        kinds: suffixes of the files that belong into it.
    """

    def __init__(self, root: Path, name: str, kinds: Collection[str] = KINDS):
        self.folder = _claimed(root / (_part(name) or "pictures"))
        self.kinds = kinds
        self.taken = Taken()
        self._numbers = count(1)

    def limit(self, path: str) -> int:
        """How many bytes a file of that name may have."""
        return LARGEST_ZIP if path.lower().endswith((ZIP, LORA)) else LARGEST_FILE

    def wanted(self, path: str) -> bool:
        """Whether a file of that name belongs into a set; others are counted and left out."""
        parts = safe_parts(path)
        wanted = bool(parts) and Path(parts[-1]).suffix.lower() in (*self.kinds, ZIP)
        self.taken.left_out += not wanted
        return wanted

    def part(self) -> Path:
        """A place of its own for a file while it is being received: several are on their way at once."""
        make_folder(self.folder)
        return _fresh(self.folder / f".upload-{next(self._numbers)}{PART}")

    def put(self, path: str, received: Path) -> None:
        """Take a file that was received; its place is free afterwards.

        Args:
            path: its name, with folders parted by slashes.

        Raises:
            UserError: it is too much for one set, or a zip that cannot be read.
        """
        try:
            if path.lower().endswith(ZIP):
                self._unpack(path, received)
            else:
                self._place(safe_parts(path), received)
        finally:
            received.unlink(missing_ok=True)

    def _unpack(self, path: str, received: Path) -> None:
        name = safe_parts(path)[-1]
        try:
            with zipfile.ZipFile(received) as archive:
                for entry in _files_of(archive):
                    if not self.wanted(entry.filename) or entry.filename.lower().endswith(ZIP):
                        continue
                    part = self.part()
                    try:
                        with archive.open(entry) as source:
                            copy_at_most(source, part, LARGEST_FILE, entry.filename)
                        self._place(safe_parts(entry.filename), part)
                    finally:
                        part.unlink(missing_ok=True)
        except (
            zipfile.BadZipFile,
            zipfile.LargeZipFile,
            NotImplementedError,
            RuntimeError,
            EOFError,
            OSError,
        ) as error:
            fix = "Unpack it yourself, and drop the folder"
            raise UserError(f"This zip cannot be read ({error})", where=name, fix=fix) from error

    def _place(self, parts: list[str], received: Path) -> None:
        self.taken.files += 1
        self.taken.bytes += received.stat().st_size
        if self.taken.files > MOST_FILES or self.taken.bytes > MOST_BYTES:
            limit = f"{MOST_FILES:,} files and {MOST_BYTES >> 30} GB"
            raise UserError(f"A set takes at most {limit} this way", where=self.folder, fix="Open its folder instead")
        target = self.folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and filecmp.cmp(target, received, shallow=False):
            received.unlink()
            return
        received.rename(_fresh(target))


def safe_parts(path: str) -> list[str]:
    """The folders and the name in ``path``, none of which leads out; empty for what is hidden."""
    names = [name for name in path.replace("\\", "/").split("/") if name not in ("", ".", "..")]
    if any(name.startswith((".", "__MACOSX")) for name in names):
        return []
    return [part for name in names if (part := _part(name))]


def copy_at_most(source: IO[bytes], target: Path, limit: int, name: str) -> None:
    """Copy a stream into a file.

    Raises:
        UserError: it has more bytes than ``limit``, whatever it says of itself.
    """
    left = limit
    with open(target, "wb") as file:
        while chunk := source.read(min(CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise UserError(f"This file is larger than {limit >> 20:,} MB", where=name)
            file.write(chunk)


def _files_of(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """Its plain files; no folders, and no links."""
    for entry in archive.infolist():
        if not entry.is_dir() and not stat.S_ISLNK(entry.external_attr >> 16):
            yield entry


def _part(name: str) -> str:
    """``name`` as every system can have it."""
    text = FORBIDDEN.sub("_", name).strip().rstrip(". ")
    text = f"_{text}" if DEVICES.fullmatch(text) else text
    suffix = PurePosixPath(text).suffix
    while len(text.encode()) > LONGEST:
        text = text[: -len(suffix) - 1] + suffix if suffix else text[:-1]
    return text


def _fresh(path: Path) -> Path:
    """``path``, or that name with a number where it exists."""
    return next(name for name in _names(path) if not name.exists())


def _claimed(path: Path) -> Path:
    """A new folder of that name, or with a number: two sets that begin at once are two."""
    make_folder(path.parent)
    for name in _names(path):
        try:
            name.mkdir()
        except FileExistsError:
            continue
        return name
    raise AssertionError("there is always another number")


def _names(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))


def free_bytes(folder: Path) -> int:
    """What the disk of ``folder`` has left."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(there).free
