"""A set that is open twice: who has it is named, and it is taken over on request; what is alive goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.faults.disk import KILL, Disk, Killed
from lib_lora.dataset.collection import hold as holds
from lib_lora.dataset.collection.hold import NAME, Hold
from lib_lora.dataset.editor import STATE_FOLDER, DatasetEditor
from lib_lora.dataset.tags.edits import Add
from lib_lora.errors import UserError
from lib_lora.ownership import Owner
from tests.test_ownership import windows  # noqa: F401

ROOT = Path(__file__).parents[3]
OTHER = """
import sys
from pathlib import Path
from lib_lora.dataset.collection.hold import Hold
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.tags.edits import Add
from lib_lora.errors import UserError
editor = DatasetEditor([Path(sys.argv[1])], Path(sys.argv[2]))
hold = Hold(editor.journal.folder)
print("open", flush=True)
for line in sys.stdin:
    tag = line.strip()
    try:
        if tag == "take":
            hold.take()
        else:
            editor.refresh()
            editor.apply(editor.plan_tags(Add((tag,)), "Add"), hold=hold)
        print("done", flush=True)
    except UserError as error:
        print(error.what, flush=True)
"""


@pytest.fixture
def two(add_image, opened) -> DatasetEditor:
    for name in ("1.png", "2.png"):
        add_image(name, caption=name)
    return opened()


@pytest.fixture
def other(two, tmp_path, tmp_path_factory) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the set open; it adds the tags that it is told, one a line."""
    command = [sys.executable, "-c", OTHER, str(tmp_path), str(tmp_path_factory.mktemp("other"))]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "open\n"
        yield child
        child.kill()


def tell(child: subprocess.Popen[str], word: str) -> str:
    child.stdin.write(word + "\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def add(editor: DatasetEditor, tag: str, hold: Hold) -> None:
    editor.refresh()
    editor.apply(editor.plan_tags(Add((tag,)), f"Add {tag}"), hold=hold)


def captions(folder: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]


def test_processes_take_turns_until_one_takes_over(two, other, opened, tmp_path):
    hold = Hold(two.journal.folder)
    assert f"process {other.pid} on " in hold.others() and ", since " in hold.others()
    add(two, "a", hold)
    assert tell(other, "b") == "done"
    hold.take()
    assert hold.others() == ""
    assert tell(other, "c").startswith("This set was taken over by process ")
    add(two, "d", hold)
    assert captions(tmp_path) == ["1.png, a, b, d", "2.png, a, b, d"]
    assert tell(other, "take") == "done"
    for action in (lambda: add(two, "e", hold), lambda: two.undo(hold)):
        with pytest.raises(UserError, match=f"taken over by process {other.pid} on .*pen the folder again"):
            action()
    again = Hold(two.journal.folder)
    assert again.succeeded() is None
    other.kill()
    other.wait()
    assert again.others() == ""  # the dead have nothing open
    add(two, "e", again)
    assert captions(tmp_path)[0] == "1.png, a, b, d, e"


@pytest.mark.parametrize("system", ["here", "windows"])
def test_a_change_that_is_alive_is_waited_for_and_an_orphan_is_taken_back(two, opened, tmp_path, system, request):
    if system == "windows":
        request.getfixturevalue("windows")
    old, new, second = Hold(two.journal.folder), Hold(two.journal.folder), opened()
    work = two.applying(two.plan_tags(Add(("x",)), "Add x"), old)
    next(work)
    new.take()
    second.reopen(wait=0.1)
    assert second.recovered == []  # not rolled back
    end = threading.Timer(0.5, lambda: list(work))
    end.start()
    second.reopen(wait=20)
    end.join()
    assert captions(tmp_path) == ["1.png, x", "2.png, x"] and second.recovered == []
    with pytest.raises(UserError, match="taken over by another page"):
        add(two, "y", old)
    with Disk(tmp_path, at=26, kind=KILL).mounted(), pytest.raises(Killed):
        second.apply(second.plan_tags(Add(("z",)), "Add z"), hold=new)
    last = Hold(two.journal.folder)
    last.take()
    second.reopen()
    assert second.recovered == ["Add z"] and captions(tmp_path) == ["1.png, x", "2.png, x"]
    assert sorted(path.name for path in second.journal.folder.glob("o*")) == [NAME]  # no lock is left


def test_of_many_who_take_over_at_once_one_has_it(two):
    takers = [Hold(two.journal.folder) for _ in range(8)]
    threads = [threading.Thread(target=taker.take) for taker in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({taker.term for taker in takers}) == 8
    assert sum(taker.succeeded() is None for taker in takers) == 1


def test_the_record_names_nobody_who_has_left_and_nothing_is_made_where_nothing_can_be(two, tmp_path, monkeypatch):
    file = tmp_path / STATE_FOLDER / "journal" / NAME
    hold = Hold(file.parent)
    file_of_other = Hold(file.parent)
    file_of_other.take()
    hold.release()  # was succeeded: not its own to end
    assert '"pid"' in file.read_text(encoding="utf-8")
    file_of_other.release()
    assert '"pid"' not in file.read_text(encoding="utf-8") and hold.succeeded() is not None
    stranger = replace(Owner.present(), machine="far")
    hold._write(holds._Record("", stranger))
    assert "on far, since" in Hold(file.parent).others()
    os.utime(file, (1, 1))  # has been silent for long
    assert Hold(file.parent).others() == "" and file.stat().st_mtime > 1  # and the newcomer signs
    os.utime(file, (1, 1))
    assert Hold(file.parent).others() == "" and file.stat().st_mtime > 1
    file.write_text("{", encoding="utf-8")  # damaged: nobody is kept out
    Hold(file.parent).check()
    gone = tmp_path / "gone" / "journal"
    lost = Hold(gone)
    for path in (gone / NAME, gone, gone.parent):
        path.unlink() if path.is_file() else path.rmdir()
    lost.release()
    assert not gone.parent.exists()
    (tmp_path / "file").write_bytes(b"")
    full = Hold(tmp_path / "file" / "journal")
    full.check()
    with pytest.raises(UserError, match="could not be taken over"):
        full.take()
