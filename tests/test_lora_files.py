from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lib_lora import lora_index
from lib_lora.errors import UserError
from lib_lora.lora_files import find_lora, list_loras, new_lora_path
from tests.pace import within


@pytest.fixture
def folder(tmp_path):
    for name in ("mira.safetensors", "a/style.safetensors", "b/style.safetensors", ".hidden.safetensors", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_list_names_each_file_once(folder):
    assert sorted(list_loras(folder)) == ["a/style", "b/style", "mira"]
    assert list_loras(folder / "none") == {}


@pytest.mark.parametrize("name", ["mira", "mira.safetensors", "./mira"[2:]])
def test_find_by_name_or_file_name(folder, name):
    assert find_lora(name, folder) == folder / "mira.safetensors"


def test_find_takes_either_slash(folder):
    assert find_lora("a\\style", folder) == folder / "a" / "style.safetensors"


@pytest.mark.parametrize("name", ["", " ", "a:b", "../up", "a/../../up", ".hidden", "dot.", "x?"])
def test_bad_names_for_new_files(folder, name):
    with pytest.raises(UserError):
        new_lora_path(name, folder)


def test_new_names_are_not_taken(folder):
    assert new_lora_path("a/new", folder) == folder / "a" / "new.safetensors"
    with pytest.raises(UserError):
        new_lora_path("mira", folder)


def age(*folders) -> None:
    """As if they had been changed long ago: a folder that was just changed is listed again each time."""
    for folder in folders:
        os.utime(folder, (1e9, 1e9))


@pytest.fixture
def listed(monkeypatch) -> list[str]:
    """The folders that are listed from now on."""
    found: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(lora_index.os, "scandir", lambda path: found.append(str(path)) or scandir(path))
    return found


def test_a_folder_is_listed_once_per_change(folder, listed):
    age(folder / "a", folder / "b", folder)
    for _ in range(5):
        assert len(list_loras(folder)) == 3
    assert sorted(listed) == sorted(map(str, (folder, folder / "a", folder / "b")))
    listed.clear()
    (folder / "a" / "new.safetensors").touch()
    assert "new" in list_loras(folder) and listed == [str(folder / "a")]
    (folder / "a" / "new.safetensors").unlink()
    assert "new" not in list_loras(folder)
    (folder / "c" / "d").mkdir(parents=True)
    (folder / "c" / "d" / "deep.SAFETENSORS").touch()
    assert find_lora("deep", folder) == folder / "c" / "d" / "deep.SAFETENSORS"
    shutil.rmtree(folder / "c")
    assert "deep" not in list_loras(folder)


def test_changes_within_one_tick_of_the_clock_are_seen(folder):
    """Two changes may give a folder the same date."""
    date = folder.stat().st_mtime_ns
    for number in range(20):
        assert len(list_loras(folder)) == 3 + number
        (folder / f"{number}.safetensors").touch()
        os.utime(folder, ns=(date, date))


def test_links_pipes_and_what_is_gone(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "far.safetensors").touch()
    (folder / "linked").symlink_to(other)
    (folder / "round").symlink_to(folder)
    (folder / "gone.safetensors").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "dir.safetensors").mkdir()
    assert sorted(list_loras(folder)) == ["a/style", "b/style", "far", "mira"]
    (other / "nearer.safetensors").touch()
    assert "nearer" in list_loras(folder)


def test_folders_of_peft_and_diffusers_give_the_name(folder):
    for name in ("red", "blue"):
        (folder / name).mkdir()
        (folder / name / "adapter_model.safetensors").touch()
    assert list_loras(folder)["red"] == find_lora("red/adapter_model", folder) == find_lora("red", folder)
    with pytest.raises(UserError, match="blue, red"):
        find_lora("adapter_model", folder)


def test_many_terms_of_many_files_cost_little(folder):
    for number in range(2000):
        (folder / "a" / f"lora-{number}.safetensors").touch()
    with within(4):  # 14.2 s when every term listed the folder; here the date is young
        for number in range(200):
            find_lora(f"lora-{number * 7}", folder)
            find_lora(f"a/lora-{number * 7}", folder)
    age(folder / "a", folder)
    find_lora("lora-1", folder)
    with within(0.5):
        for number in range(200):
            find_lora(f"lora-{number * 7}", folder)


def test_a_name_that_looks_like_one_with_its_ending_is_found(tmp_path: Path) -> None:
    for file in ("n.safetensors.safetensors", "m.safetensors"):
        (tmp_path / file).touch()
    assert [find_lora(name, tmp_path).name for name in (*list_loras(tmp_path), "m.safetensors")] == [
        "m.safetensors", "n.safetensors.safetensors", "m.safetensors"
    ]  # fmt: skip


def test_a_backslash_is_a_folder_on_every_system(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert new_lora_path("sub\\mira", tmp_path) == tmp_path / "sub" / "mira.safetensors"
    with pytest.raises(UserError):
        new_lora_path("..\\mira", tmp_path)
