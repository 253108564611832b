"""Changes under faults: cut off, refused, on a full disk, twice in a row, and by two hands at once."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.faults.disk import FULL, KILL, Disk, Killed
from lib_lora.dataset.collection import record
from lib_lora.dataset.collection.moving import plan_numbering
from lib_lora.dataset.collection.owner import Busy, Claim, started
from lib_lora.dataset.editor import STATE_FOLDER, DatasetEditor
from lib_lora.dataset.tags.edits import Add
from lib_lora.errors import UserError


@pytest.fixture
def three(add_image, opened) -> DatasetEditor:
    """Three pictures with captions."""
    for name in ("1.png", "2.png", "3.png"):
        add_image(name, caption=name)
    return opened()


def add(editor: DatasetEditor, tag: str):
    return editor.apply(editor.plan_tags(Add((tag,)), f"Add {tag}"))


def test_nothing_is_done_before_a_change_whose_rollback_failed_is_taken_back(
    three, opened, every_byte, monkeypatch, tmp_path
):
    """A later change was thrown away when the earlier one was rolled back at last."""
    before, real, refused = every_byte(), record.move, []

    def refusing(source: Path, target: Path) -> None:
        if target.name == "2.txt" or (refused and target.suffix == ".txt"):
            refused.append(target)
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(source, target)

    monkeypatch.setattr(record, "move", refusing)
    with pytest.raises(UserError, match="Some files are changed and others not yet"):
        add(three, "AAA")
    assert every_byte() != before
    with pytest.raises(UserError, match="Some files are changed"):
        add(three, "BBB")
    other = opened()
    assert len(other.pictures) == 3 and "Some files" in str(other.journal.trouble) and other.recovered == []
    monkeypatch.setattr(record, "move", real)
    again = opened()
    assert again.journal.trouble is None and again.recovered == ["Add AAA"] and every_byte() == before
    add(again, "BBB")
    assert [picture.text for picture in opened().pictures] == ["1.png, BBB", "2.png, BBB", "3.png, BBB"]
    assert opened().recovered == []


def test_an_undo_that_is_refused_changes_nothing(three, every_byte, monkeypatch):
    """Pictures were separated from their captions where one file could not be written."""
    three.apply(plan_numbering([*three.pictures[1:], three.pictures[0]]))
    done, real, refused = every_byte(), record.move, []

    def refusing(source: Path, target: Path) -> None:
        if target.name == "2.txt" and not refused:
            refused.append(target)
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        real(source, target)

    monkeypatch.setattr(record, "move", refusing)
    with pytest.raises(UserError, match="could not be taken back; nothing was changed"):
        three.undo()
    assert every_byte() == done and three.history()[-1].state == "done"
    monkeypatch.setattr(record, "move", real)
    assert three.undo().state == "undone"


def test_an_undo_that_was_cut_off_is_finished(three, opened, every_byte, tmp_path):
    before = every_byte()
    three.apply(plan_numbering([*three.pictures[1:], three.pictures[0]]))
    disk = Disk(tmp_path, at=18, kind=KILL)
    with disk.mounted(), pytest.raises(Killed):
        three.undo()
    assert every_byte() != before and disk.seen.count("replace") > 2
    assert opened().recovered == ["Rename to ascending numbers"]
    assert every_byte() == before and opened().history()[-1].state == "undone"


def test_a_full_disk_keeps_no_set_from_being_looked_at(three, opened, tmp_path):
    with Disk(tmp_path, at=26, kind=KILL).mounted(), pytest.raises(Killed):
        add(three, "x")
    with Disk(tmp_path, at=1, kind=FULL).mounted():
        editor = opened()
        assert len(editor.pictures) == 3 and "free space" in str(editor.journal.trouble).lower().replace("some ", "")
        with pytest.raises(UserError, match=r"nothing was changed \(No space left"):
            add(editor, "y")
    assert opened().recovered == ["Add x"]


def test_a_change_that_is_alive_is_not_rolled_back(three, opened, every_byte):
    before = every_byte()
    change = three.plan_tags(Add(("x",)), "Add x")
    work = three.applying(change)
    next(work)
    other = opened()
    assert other.recovered == [] and len(other.pictures) == 3
    for action in (lambda: add(other, "y"), other.undo):
        with pytest.raises(Busy, match="Add x"):
            action()
    work.close()
    assert every_byte() == before
    add(other, "y")
    assert other.history()[-1].title == "Add y"


def owner_file(tmp_path: Path, **values: object) -> Path:
    file = tmp_path / STATE_FOLDER / "journal" / "owner.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {"machine": socket.gethostname(), "pid": os.getpid(), "started": started(os.getpid()), "title": "Crop"}
    file.write_text(json.dumps(known | values), encoding="utf-8")
    return file


def test_processes_know_of_each_other(three, tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner_file(tmp_path, pid=other.pid, started=started(other.pid))
        with pytest.raises(Busy, match=f"Crop, by process {other.pid}"):
            add(three, "x")
        other.communicate(b"")
    add(three, "x")
    for orphan in ({"pid": os.getpid(), "started": "another time"}, {}, {"machine": "elsewhere"}):
        file = owner_file(tmp_path, **orphan)
        os.utime(file, (1, 1))
        three.undo()
        assert not file.exists()
        add(three, "x")
    owner_file(tmp_path, machine="elsewhere")
    with pytest.raises(Busy, match="elsewhere"):
        three.undo()


def test_a_claim_that_is_no_text_is_no_owner(tmp_path):
    owner_file(tmp_path).write_bytes(b"\xff")
    assert Claim(tmp_path / STATE_FOLDER / "journal").owner() is None


def test_a_damaged_history_is_passed_over_and_a_damaged_beginning_is_named(three, opened, tmp_path):
    add(three, "x")
    add(three, "y")
    newest = tmp_path / STATE_FOLDER / "journal" / "000002"
    (newest / "change.json").write_text("{", encoding="utf-8")
    assert [entry.title for entry in opened().history()] == ["Add x"]
    (newest / "state").unlink()
    other = opened()
    assert "damaged" in str(other.journal.trouble) and len(other.pictures) == 3
    with pytest.raises(UserError, match="damaged"):
        add(other, "z")
