"""Lock files: one owner at a time, and none that is gone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib_lora import ownership
from lib_lora.ownership import Claim, Owner, Taken, owner_of, started

ROOT = Path(__file__).parents[1]
HOLD = "import sys; from pathlib import Path; from lib_lora.ownership import Claim; Claim(Path(sys.argv[1])); "


def other_process(path: Path) -> subprocess.Popen[str]:
    """A process that owns ``path`` until it is killed."""
    code = HOLD + "print('mine', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code.replace("Claim(Path", "claim = Claim(Path"), str(path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "mine\n"
    return child


def test_one_of_many_threads_gets_it_and_nothing_is_left(tmp_path):
    path, got, refused = tmp_path / "deep" / "x.lock", [], []
    start = threading.Barrier(8)

    def take() -> None:
        start.wait()
        try:
            got.append(Claim(path))
        except Taken as taken:
            refused.append(taken)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1 and len(refused) == 7 and owner_of(path).pid == os.getpid()
    got[0].release()
    got[0].release()
    assert not list(path.parent.iterdir())
    with Claim(path), pytest.raises(Taken, match="this program"):
        Claim(path)
    assert not path.exists()


@pytest.mark.parametrize("system_locks", [True, False])
def test_a_process_that_was_killed_owns_nothing(tmp_path, monkeypatch, system_locks):
    path = tmp_path / "x.lock"
    child = other_process(path)
    try:
        if not system_locks:
            monkeypatch.setattr(ownership, "_lock", lambda file: False)
        with pytest.raises(Taken, match=f"process {child.pid} on ") as caught:
            Claim(path)
        assert caught.value.owner.alive
    finally:
        child.kill()
        child.communicate()
    assert path.exists() and not owner_of(path).alive  # what it left is in nobody's way
    with Claim(path):
        assert owner_of(path).pid == os.getpid()


def test_without_system_locks_the_files_word_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "_lock", lambda file: False)
    path, present = tmp_path / "x.lock", Owner.present()
    for owner, free in (
        (replace(present, started="another time"), True),  # the number was given to another process since
        (replace(present, machine="elsewhere", started=""), False),
        (present, False),
    ):
        path.write_text(json.dumps(asdict(owner)), encoding="utf-8")
        assert owner.alive != free
        if free:
            Claim(path).release()
        else:
            with pytest.raises(Taken):
                Claim(path)
    path.write_text("no JSON", encoding="utf-8")
    Claim(path).release()
    assert not path.exists()


@pytest.mark.parametrize("error", [PermissionError, RuntimeError, KeyboardInterrupt])
def test_what_cannot_be_removed_is_let_go_all_the_same(tmp_path, monkeypatch, error):
    path = tmp_path / "x.lock"

    def refuse(*_: object, **__: object) -> None:
        raise error

    claim = Claim(path, "training")
    assert owner_of(path).title == "training"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        if error is PermissionError:
            claim.release()
        else:
            with pytest.raises(error):
                claim.release()
    assert path.exists() and (error is not PermissionError or owner_of(path) is None)
    Claim(path).release()
    with monkeypatch.context() as patched:
        patched.setattr(ownership.json, "dumps", refuse)
        with pytest.raises(error):
            Claim(path)
    Claim(path).release()


def test_processes_are_told_apart_by_their_start():
    assert started(os.getpid()) == started(os.getpid()) != started(1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert started(gone.pid) is None


class Msvcrt:
    """Windows' locks: of bytes of an open file, which nobody else can read then, and gone when the file is closed.

    A file that is open cannot be removed there.
    """

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.open: dict[int, tuple[int, int]] = {}  # descriptor -> file
        self.locked: dict[tuple[int, int], int] = {}  # file -> descriptor that has the lock

    def locking(self, file: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1)
        assert os.lseek(file, 0, os.SEEK_CUR) > 1 << 20, "what the file says can still be read"
        found = os.fstat(file)
        if self.locked.setdefault((found.st_dev, found.st_ino), file) != file:
            raise PermissionError(errno.EACCES, "Permission denied")

    def opened(self, *args: Any) -> int:
        file = os.open(*args)
        found = os.fstat(file)
        self.open[file] = (found.st_dev, found.st_ino)
        return file

    def close(self, file: int) -> None:
        if self.locked.get(which := self.open.pop(file)) == file:
            del self.locked[which]
        os.close(file)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Msvcrt:
    """`ownership` as it runs on Windows."""
    double, unlink = Msvcrt(), Path.unlink

    def removed(path: Path, missing_ok: bool = False) -> None:
        found = os.stat(path) if path.exists() else None
        if found and (found.st_dev, found.st_ino) in double.open.values():
            raise PermissionError(errno.EACCES, "used by another process", str(path))
        unlink(path, missing_ok)

    system = {**vars(os), "name": "nt", "open": double.opened, "close": double.close, "O_BINARY": 0}
    monkeypatch.setitem(sys.modules, "msvcrt", double)
    monkeypatch.setattr(ownership, "os", SimpleNamespace(**system))
    monkeypatch.setattr(ownership, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(ownership, "started", lambda pid: str(pid))
    monkeypatch.setattr(Path, "unlink", removed)
    return double


def test_on_windows_one_has_it_and_says_so_and_nothing_is_left(windows, tmp_path):
    path = tmp_path / "x.lock"
    first = Claim(path, "Add x")
    with pytest.raises(Taken) as caught:
        Claim(path)
    assert caught.value.owner.title == "Add x" and caught.value.owner.pid == os.getpid()
    assert list(windows.open) == list(windows.locked.values())  # the one that was refused has closed the file
    first.release()
    first.release()
    assert not path.exists() and not windows.open and not windows.locked
    with Claim(path):
        assert path.exists()
    assert not path.exists()


def test_on_windows_a_lock_whose_process_is_gone_is_taken(windows, tmp_path):
    """Its file may still be there; the system has let go of the lock."""
    path = tmp_path / "x.lock"
    path.write_text(json.dumps(asdict(replace(Owner.present("old"), pid=1 << 30, started="x"))), encoding="utf-8")
    with Claim(path, "new"):
        assert owner_of(path).title == "new"
    assert not path.exists()


def test_on_windows_a_reader_does_not_stop_the_owner(windows, tmp_path):
    """Somebody has the file open: it stays, and the next one can have it."""
    path = tmp_path / "x.lock"
    claim = Claim(path)
    reader = windows.opened(path, os.O_RDONLY)
    claim.release()
    assert path.exists() and not windows.locked
    windows.close(reader)
    Claim(path).release()
    assert not path.exists()
