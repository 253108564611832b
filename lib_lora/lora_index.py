"""Which LoRA files the folders hold, remembered: a folder is listed again only when something was added or removed.

A folder's own date tells that. It is looked at each time, of each folder once, sub-folders and linked folders included;
two folders that are one, such as a link back to its parent, count once.
"""

from __future__ import annotations

import difflib
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from lib_lora.adapters.file import SAVED_AS

SUFFIX = ".safetensors"
RACY_NS = 2_500_000_000  # a folder listed so soon after its date may change without getting another: FAT counts 2 s
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class _Listing:
    """What a folder held: names of LoRA files and of folders. ``stamp`` None: it has to be listed again."""

    stamp: Stamp | None
    files: tuple[str, ...]
    folders: tuple[str, ...]


class LoraIndex:
    """The files below some folders. One for the process; threads may ask at once."""

    def __init__(self) -> None:
        self._known: dict[str, _Listing] = {}
        self._names: dict[tuple[Path, ...], tuple[list[tuple[str, _Listing]], LoraNames]] = {}
        self._lock = Lock()

    def names(self, tops: Sequence[Path]) -> LoraNames:
        """The names of every LoRA file below ``tops``; the same object as long as no file came or went."""
        with self._lock:
            seen: set[tuple[int, int] | str] = set()
            walks = [self._walk(top, seen) for top in tops]
            listed = [folder for walk in walks for folder in walk]
            before, names = self._names.get(tuple(tops), ([], None))
            if names is None or before != listed:
                files = []
                for top, walk in zip(tops, walks, strict=True):
                    paths = [Path(folder, name) for folder, listing in walk for name in listing.files]
                    files += [(top, path) for path in sorted(paths)]
                names = LoraNames(files)
                self._names[tuple(tops)] = listed, names
            return names

    def folders(self, tops: Sequence[Path]) -> list[Path]:
        """``tops`` and all folders below them that exist, each once."""
        with self._lock:
            seen: set[tuple[int, int] | str] = set()
            return [Path(folder) for top in tops for folder, _ in self._walk(top, seen)]

    def _walk(self, top: Path, seen: set[tuple[int, int] | str]) -> list[tuple[str, _Listing]]:
        found: list[tuple[str, _Listing]] = []
        waiting = [os.fspath(top)]
        while waiting:
            folder = waiting.pop()
            try:
                state = os.stat(folder)
                identity = (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(folder)
                if identity in seen:
                    continue
                listing = self._listing(folder, (state.st_dev, state.st_ino, state.st_mtime_ns))
            except OSError:  # gone, no folder, or not ours to read
                self._known.pop(folder, None)
                continue
            seen.add(identity)
            found.append((folder, listing))
            waiting += [os.path.join(folder, name) for name in reversed(listing.folders)]
        return found

    def _listing(self, folder: str, stamp: Stamp) -> _Listing:
        known = self._known.get(folder)
        if known is not None and known.stamp == stamp:
            return known
        now = time.time_ns()
        files, folders = [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIX) and not entry.name.startswith(".") and entry.is_file():
                    files.append(entry.name)
        settled = stamp if now - stamp[2] > RACY_NS else None
        self._known[folder] = _Listing(settled, tuple(sorted(files)), tuple(sorted(folders)))
        return self._known[folder]


class LoraNames:
    """Files by the names that formulas and prompts may call them.

    A file's own name is its stem; that of a folder as PEFT or diffusers saves it, the folder's. Where several share
    it, they carry their path below the folder; where they share that too, the folder's name as well.

    Attributes:
        files: name -> file.
    """

    def __init__(self, files: Sequence[tuple[Path, Path]]):
        own = [_own_name(top, path) for top, path in files]
        below = [without_suffix(path.relative_to(top).as_posix()) for top, path in files]
        whole = [f"{top.name}/{name}" for (top, _), name in zip(files, below, strict=True)]
        counts = [Counter(names) for names in (own, below, whole)]
        self.files: dict[str, Path] = {}
        self._below: dict[str, Path] = {}
        self._stems: dict[str, list[Path]] = {}
        for (_, path), *candidates in zip(files, own, below, whole, strict=True):
            free = [name for name, count in zip(candidates, counts, strict=True) if count[name] == 1]
            self.files[free[0] if free else without_suffix(path.as_posix())] = path
            self._below.setdefault(candidates[1], path)  # of several folders, the first one's
            self._stems.setdefault(path.stem, []).append(path)

    def find(self, name: str) -> Path | None:
        """The file of a name, of a path below one of the folders, or of a stem that only one file has."""
        alone = self._stems.get(name, [])
        return self.files.get(name) or self._below.get(name) or (alone[0] if len(alone) == 1 else None)

    def like(self, name: str) -> list[str]:
        """Names that are perhaps meant."""
        same = self._stems.get(name, [])
        return [known for known, path in self.files.items() if path in same] or difflib.get_close_matches(
            name, self.files, n=3, cutoff=0.4
        )


def without_suffix(name: str) -> str:
    """``name`` without the ending of LoRA files, in whatever case."""
    return name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else name


def _own_name(top: Path, path: Path) -> str:
    return path.parent.name if path.stem in SAVED_AS and path.parent != top else path.stem


INDEX = LoraIndex()
