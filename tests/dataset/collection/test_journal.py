"""Changes under faults: cut off, refused, on a full disk, twice in a row, and by two hands at once."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.faults.disk import FULL, KILL, Disk, Killed
from lib_lora import ownership
from lib_lora.dataset.collection import record
from lib_lora.dataset.collection.moving import plan_numbering
from lib_lora.dataset.collection.owner import Busy
from lib_lora.dataset.editor import STATE_FOLDER, DatasetEditor
from lib_lora.dataset.tags.edits import Add
from lib_lora.errors import UserError
from lib_lora.ownership import Owner

ROOT = Path(__file__).parents[3]


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


OWN = """
import sys
from pathlib import Path
from lib_lora.ownership import Claim
claim = Claim(Path(sys.argv[1]), "Crop")
print("mine", flush=True)
input()
"""


def test_processes_know_of_each_other(three, tmp_path):
    file = tmp_path / STATE_FOLDER / "journal" / "owner.json"
    command = [sys.executable, "-c", OWN, str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline().strip() == b"mine"
        with pytest.raises(Busy, match=f"Crop, by process {other.pid}"):
            add(three, "x")
        other.kill()
        other.communicate()
    assert file.exists()  # an orphan
    add(three, "x")
    assert not file.exists()


def test_where_no_locks_are_known_only_the_dead_and_silent_are_succeeded(three, tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "_lock", lambda file: False)
    file = tmp_path / STATE_FOLDER / "journal" / "owner.json"
    present = Owner.present("Crop")
    add(three, "w")
    for orphan, quiet in ((replace(present, started="another time"), False), (replace(present, machine="far"), True)):
        file.write_text(json.dumps(asdict(orphan)), encoding="utf-8")
        if quiet:
            os.utime(file, (1, 1))
        three.undo()
        assert not file.exists()
        add(three, "x")
    file.write_bytes(b"\xff")  # names nobody
    three.undo()
    file.write_text(json.dumps(asdict(replace(present, machine="far"))), encoding="utf-8")
    with pytest.raises(Busy, match=r"Crop, by process \d+ on far"):
        add(three, "y")


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
