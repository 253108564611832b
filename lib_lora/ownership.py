"""One owner at a time, among threads and among processes: a lock file that says who has it.

The operating system's lock on the file decides; it goes with its process, however that ends. Where a file system knows
no locks (some network drives) the file's word counts, and an owner whose process is gone is none.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

BUSY = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
FAR = 1 << 30  # the byte that is locked on Windows, where locked bytes cannot be read
TRIES = 50


@dataclass(frozen=True)
class Owner:
    """Who has it: a process of a machine, when that process was started, since when (seconds since 1970), what for."""

    pid: int
    machine: str
    started: str
    since: float
    title: str = ""

    @classmethod
    def present(cls, title: str = "") -> Owner:
        """This process, from now on."""
        return cls(os.getpid(), platform.node(), started(os.getpid()) or "", time.time(), title)

    @property
    def alive(self) -> bool:
        """Whether its process may still run; those of other machines are taken to."""
        return self.machine != platform.node() or started(self.pid) == self.started

    @property
    def here(self) -> bool:
        """Whether it is this process."""
        return (self.pid, self.machine) == (os.getpid(), platform.node())

    def __str__(self) -> str:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        if self.here:
            return f"this program, since {at}"
        return f"process {self.pid} on {self.machine}, since {at}"


class Taken(Exception):
    """Somebody else has it: ``owner``, None where the file does not say who."""

    def __init__(self, owner: Owner | None):
        self.owner = owner
        super().__init__(f"in use by {owner or 'another process'}")


class Claim(AbstractContextManager["Claim"]):
    """What this process owns until :meth:`release`, or to the end of a ``with`` block. Errors of the file system are
    raised as they are.

    Args:
        path: of the lock file; its folder is made.
        title: what for.
        silent: seconds without :meth:`sign` after which an owner on another machine counts as gone, where the file
            system knows no locks; None: it never does.

    Raises:
        Taken: it has an owner.
    """

    def __init__(self, path: Path, title: str = "", silent: float | None = None):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: int | None = _locked(path, silent)
        try:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, json.dumps(asdict(Owner.present(title))).encode())
        except BaseException:
            self.release()
            raise

    def sign(self) -> None:
        """Show other machines that the owner lives."""
        with suppress(OSError):
            os.utime(self.path)

    def __exit__(self, *exc: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it; does nothing the second time."""
        file, self._file = self._file, None
        if file is None:
            return
        if os.name == "nt":  # no open file can be removed there
            os.close(file)
            with suppress(OSError):
                self.path.unlink()
            return
        try:
            with suppress(OSError):
                self.path.unlink()
                return
            with suppress(OSError):
                os.ftruncate(file, 0)  # it stays, and names nobody
        finally:
            os.close(file)


@contextmanager
def alone(path: Path, wait: float, title: str = "", silent: float | None = None) -> Iterator[Claim]:
    """Own a lock file within a ``with`` block, after waiting for at most ``wait`` seconds; see :class:`Claim`.

    Raises:
        Taken: it still has an owner.
    """
    until = time.monotonic() + wait
    while True:
        try:
            claim = Claim(path, title, silent)
            break
        except Taken:
            if time.monotonic() >= until:
                raise
        time.sleep(0.02)
    with claim:
        yield claim


def sweep_locks(folders: Iterable[Path]) -> None:
    """Remove the hidden lock files in ``folders`` whose owners are gone."""
    for path in (path for folder in folders for path in folder.glob(".*.lock")):
        with suppress(Taken, OSError):
            Claim(path).release()


def owner_of(path: Path) -> Owner | None:
    """What a lock file says; None where there is none, or nothing legible."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def started(pid: int) -> str | None:
    """When a process of this machine was started, in the system's own words; None if there is no such process."""
    if sys.platform == "win32":
        return _started_on_windows(pid)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]  # in clock ticks since the boot
    except OSError:
        if Path("/proc/self").exists():
            return None
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _locked(path: Path, silent: float | None) -> int:
    """The open file, with the lock on it."""
    for _ in range(TRIES):
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            if not _lock(file) and (owner := owner_of(path)) is not None and owner.alive:
                quiet = time.time() - os.fstat(file).st_mtime
                if owner.machine == platform.node() or silent is None or quiet < silent:
                    raise Taken(owner)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its last owner has removed it between our opening and our locking: the next one is ours
    raise Taken(owner_of(path))


def _lock(file: int) -> bool:
    """Take the system's lock; False where the file system has none."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, FAR, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            raise Taken(_said(file)) from None
        return False
    return True


def _said(file: int) -> Owner | None:
    try:
        os.lseek(file, 0, os.SEEK_SET)
        return Owner(**json.loads(os.read(file, 4096)))
    except (OSError, ValueError, TypeError):
        return None


def _started_on_windows(pid: int) -> str | None:
    """The creation time of a process, by the Windows API."""
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import wintypes

    query, still_active = 0x1000, 259  # PROCESS_QUERY_LIMITED_INFORMATION, STILL_ACTIVE
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = wintypes.HANDLE
    handle = kernel.OpenProcess(query, False, pid)
    if not handle:
        return None
    try:
        times = [wintypes.FILETIME() for _ in range(4)]
        code = wintypes.DWORD()
        known = kernel.GetProcessTimes(wintypes.HANDLE(handle), *map(ctypes.byref, times))
        kernel.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
        if not known or code.value != still_active:
            return None
        return f"{times[0].dwHighDateTime}:{times[0].dwLowDateTime}"
    finally:
        kernel.CloseHandle(wintypes.HANDLE(handle))
