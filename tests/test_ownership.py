"""Lock files: one owner at a time, and none that is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

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
