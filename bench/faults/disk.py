"""A disk on which one operation goes wrong: the process is killed there, or the disk is full, or refuses.

What a process does with files below one folder goes through a handful of functions of `os` and `open`; they are
replaced while the disk is mounted. After a kill nothing more is written, whatever `finally` tries: as after SIGKILL.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KILL, FULL, SHORT, DENIED = KINDS = ("kill", "full disk", "short write", "denied")
READ_ONLY = "read-only"  # everything below the root is another user's
RENAMES = ("replace", "rename", "link")
WRITES = ("open", "write")
NAMES = (*RENAMES, "unlink", "remove", "mkdir", "rmdir", "fsync", "truncate")


class Killed(BaseException):
    """The end of the process: nothing after it runs."""


@dataclass
class Disk:
    """What happens to files below ``root``.

    Args:
        at: the number of the operation that goes wrong, counted from 1; 0: none.
        kind: how.
        lasting: a full disk stays full.
        really: a kill ends this process, as SIGKILL does.
    """

    root: Path
    at: int = 0
    kind: str = KILL
    lasting: bool = True
    really: bool = False
    seen: list[str] = field(default_factory=list)
    dead: bool = False

    @contextmanager
    def mounted(self) -> Iterator[Disk]:
        """Operations within this block go through this disk."""
        originals = {name: getattr(os, name) for name in NAMES}
        real_open, real_descriptor = builtins.open, os.open
        for name, original in originals.items():
            setattr(os, name, self._guarded(name, original))
        os.open = self._guarded_descriptor(real_descriptor)
        builtins.open = io.open = self._opening(real_open)  # type: ignore[assignment]
        try:
            yield self
        finally:
            for name, original in originals.items():
                setattr(os, name, original)
            os.open = real_descriptor
            builtins.open = io.open = real_open

    def does(self, name: str) -> bool:
        """Called before an operation; True where it should happen by half only, as a write into the last free block."""
        if self.dead:
            raise Killed
        self.seen.append(name)
        number = len(self.seen)
        if not self.at or number < self.at:
            return False
        if self.kind == KILL and number == self.at:
            if self.really:
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows every signal is final
            self.dead = True
            raise Killed
        if self.kind in (FULL, SHORT) and name in WRITES and (number == self.at or self.lasting):
            if self.kind == SHORT and number == self.at and name == "write":
                return True
            raise OSError(errno.ENOSPC, "No space left on device", str(self.root))
        if self.kind == READ_ONLY or (self.kind == DENIED and number == self.at):
            raise PermissionError(errno.EACCES, "Permission denied", str(self.root))
        return False

    def concerns(self, path: Any) -> bool:
        """Whether a path, or a file that is open, lies below the root."""
        if isinstance(path, int):
            return True
        try:
            return os.fspath(path).startswith(str(self.root))
        except TypeError:
            return False

    def _guarded(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(path: Any, *args: Any, **options: Any) -> Any:
            if self.concerns(path) or (args and self.concerns(args[0])):
                self.does(name)
            return original(path, *args, **options)

        return guarded

    def _guarded_descriptor(self, original: Callable[..., int]) -> Callable[..., int]:
        def guarded(path: Any, flags: int, *args: Any, **options: Any) -> int:
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and self.concerns(path):
                self.does("open")
            return original(path, flags, *args, **options)

        return guarded

    def _opening(self, real_open: Callable[..., Any]) -> Callable[..., Any]:
        def opening(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            if not set(mode) & set("wax+") or isinstance(path, int) or not self.concerns(path):
                return real_open(path, mode, *args, **options)
            self.does("open")
            if "b" in mode:
                return _File(real_open(path, mode, buffering=0), self)
            raw = real_open(path, mode.replace("t", "") + "b", buffering=0)
            text = {name: options[name] for name in ("encoding", "errors", "newline") if name in options}
            return _File(io.TextIOWrapper(raw, write_through=True, **text), self)

        return opening


class _File:
    """A file that is written to without a buffer: what has been written is there, whatever comes next."""

    def __init__(self, file: Any, disk: Disk):
        self._file, self._disk = file, disk

    def write(self, data: Any) -> Any:
        if self._disk.does("write"):
            self._file.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(self._disk.root))
        return self._file.write(data)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
