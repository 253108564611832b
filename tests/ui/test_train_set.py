"""The folder of the Train tab proposes name, trigger and prompts; what a user wrote stays, and so do closed folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib_lora.access import Access, guarded, under
from lib_lora.ui.compat import SKIP
from lib_lora.ui.draft import Draft
from lib_lora.ui.form import SettingsForm
from lib_lora.ui.train_set import SetFields
from lib_lora.workbench import Workbench
from tests.ui.bare_host import bare_host

TYPED = "lw_train_data_dir|17"


@pytest.fixture
def fields(tmp_path: Path) -> SetFields:
    host = bare_host(tmp_path / "host")
    host.literal = str
    for name in ("mira", "rin"):
        folder = tmp_path / "sets" / f"5_{name}"
        folder.mkdir(parents=True)
        (folder / "1.txt").write_text("1girl, hat", encoding="utf-8")
    form = SettingsForm()
    form._draft = Draft(tmp_path / "draft.json")
    form._draft.save("Mine", {"name": "", "epochs": 7})
    return SetFields(Workbench(host), form)


def test_proposals_follow_the_folder_until_somebody_writes(fields: SetFields, tmp_path: Path) -> None:
    mira, rin = (str(tmp_path / "sets" / f"5_{name}") for name in ("mira", "rin"))
    first = fields.after_typing(TYPED, mira, "", "", "")
    assert first == ["mira", "mira", "mira, 1girl, hat"]
    kept = fields.form._draft.load()
    assert (
        kept and kept[1]["name"] == "mira" and kept[1]["epochs"] == 7
    )  # what nobody typed stays as another page left it
    assert fields.after_typing(TYPED, rin, *first) == ["rin", "rin", "rin, 1girl, hat"]
    assert fields.after_typing(TYPED, rin, "mine", "", "my prompt") == [SKIP, "rin", SKIP]
    assert fields.after_typing("lw_train_trigger|18", mira, "mira", "miria", first[2])[2] == "miria, 1girl, hat"
    assert fields.after_typing("lw_train_epochs|19", mira, *first) == [SKIP] * 3


def test_what_was_filled_by_itself_goes_with_its_folder(fields: SetFields, tmp_path: Path) -> None:
    """The prompts of one set were drawn in the training of the next, which proposed none."""
    mira, style = str(tmp_path / "sets" / "5_mira"), tmp_path / "sets" / "a style"
    style.mkdir()
    first = fields.after_typing(TYPED, mira, "", "", "")
    assert fields.after_typing(TYPED, str(style), *first) == ["a-style", "", ""]
    assert fields.after_typing(TYPED, str(style), first[0], first[1], "my prompt") == ["a-style", "", SKIP]
    assert fields.after_typing(TYPED, str(tmp_path / "half typed"), *first) == [SKIP] * 3


def test_a_folder_that_was_opened_is_there_after_a_reload(fields: SetFields, tmp_path: Path) -> None:
    """The page showed it, and the next one did not."""
    mira = str(tmp_path / "sets" / "5_mira")
    assert fields.after_choice(mira, "", "", "mine") == ["mira", "mira", SKIP]
    kept = fields.form._draft.load()
    assert kept and (kept[1]["data_dir"], kept[1]["name"], kept[1]["epochs"]) == (mira, "mira", 7)
    assert fields.carried == {"data_dir": mira, "name": "mira", "trigger": "mira"}


def test_a_folder_that_may_not_be_named_is_not_looked_into(fields: SetFields, tmp_path: Path) -> None:
    with under(Access(hide_paths=True, roots=(tmp_path / "host",))):
        closed = guarded(fields.after_typing)
    assert closed(TYPED, str(tmp_path / "sets" / "5_mira"), "", "", "") == [SKIP] * 3
