"""Files that belong together, under kills at every rename."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from lib_lora import file_sets, files
from lib_lora.errors import UserError
from lib_lora.file_sets import file_set, finish_sets
from lib_lora.files import atomic_write
from lib_lora.part_files import sweep_parts

NAMES = ("mira.safetensors", "mira.json", "mira.preview.png")


class Killed(BaseException):
    """After it, nothing of the process happens any more."""


def write(folder: Path) -> None:
    with file_set([folder / name for name in NAMES]) as parts:
        for part, name in zip(parts, NAMES, strict=True):
            part.write_text(name)


def seen(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("at", range(5))
def test_a_set_that_was_cut_off_is_finished_or_was_never_there(tmp_path, monkeypatch, at):
    count = 0

    def replace(source, target):
        nonlocal count
        count += 1
        if count > at:
            raise Killed
        os.rename(source, target)

    def unlink(path, missing_ok=False):
        if count > at:
            raise Killed
        if not missing_ok or os.path.exists(path):
            os.unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", replace)
        patch.setattr(Path, "unlink", unlink)
        if at < 4:
            with pytest.raises(Killed):
                write(tmp_path)
        else:
            write(tmp_path)
    finished = finish_sets([tmp_path])
    assert set(finished) == ({tmp_path / name for name in NAMES} if 0 < at < 4 else set())
    assert seen(tmp_path) == ({name: name for name in NAMES} if at else {})
    assert not list(tmp_path.glob(".*.set"))


def test_a_set_that_cannot_be_finished_now_is_finished_later(tmp_path, monkeypatch):
    """Another program held a file: what was still to be renamed was swept, and the set stayed half for ever."""
    with monkeypatch.context() as patch:
        patch.setattr(file_sets, "move", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            write(tmp_path)
    monkeypatch.setattr("lib_lora.part_files.started", lambda pid: "another process of that number")
    with monkeypatch.context() as patch:
        patch.setattr(file_sets, "move", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "held")))
        assert finish_sets([tmp_path]) == [] and sweep_parts([tmp_path]) == []
    assert len(finish_sets([tmp_path])) == 3
    assert seen(tmp_path) == {name: name for name in NAMES} and len(list(tmp_path.iterdir())) == 3


def test_an_error_leaves_nothing_and_names_the_target(tmp_path):
    with pytest.raises(UserError) as error, file_set([tmp_path / name for name in NAMES]) as parts:
        parts[0].write_text("x")
        raise UserError("The disk is full", where=parts[0])
    assert error.value.where == str(tmp_path / NAMES[0])
    with pytest.raises(ZeroDivisionError), file_set([tmp_path / "a"]) as parts:
        parts[0].write_text(str(1 // 0))
    assert not list(tmp_path.iterdir())


def test_what_came_in_between_is_not_replaced(tmp_path):
    targets = [tmp_path / name for name in NAMES]
    with pytest.raises(UserError, match="of this name already"), file_set(targets) as parts:
        for part in parts:
            part.write_text("ours")
        (tmp_path / NAMES[1]).write_text("theirs")
    assert seen(tmp_path) == {NAMES[1]: "theirs"}


def test_plans_of_others_and_damaged_ones_are_let_be(tmp_path, monkeypatch):
    (tmp_path / ".a.part").write_text("x")
    (tmp_path / ".a.set").write_text(json.dumps({".a.part": "a"}))
    for name, text in {"b": "{", "c": '{".a.part": "../a"}', "d": "[]", "e": "{}"}.items():
        (tmp_path / f".{name}.set").write_text(text)
    monkeypatch.setattr(file_sets, "is_left_over", lambda part: False)
    assert finish_sets([tmp_path, tmp_path / "none"]) == []
    assert seen(tmp_path) == {}
    monkeypatch.setattr(file_sets, "is_left_over", lambda part: part.name == ".a.part")
    assert finish_sets([tmp_path]) == [tmp_path / "a"]


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_replaces_nothing_that_came_meanwhile(tmp_path, monkeypatch, links):
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "mira.safetensors"
    with pytest.raises(UserError, match="file of this name"), atomic_write(path, new=True) as part:
        part.write_text("mine", encoding="utf-8")
        path.write_text("theirs", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "theirs" and list(tmp_path.iterdir()) == [path]
    path.unlink()
    with atomic_write(path, new=True) as part:
        part.write_text("mine", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "mine" and list(tmp_path.iterdir()) == [path]
