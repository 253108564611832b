from __future__ import annotations

import pytest

from lib_lora.errors import UserError
from lib_lora.tools.lora_files import find_lora, list_loras, new_lora_path


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
