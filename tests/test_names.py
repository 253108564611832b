"""Names of files that every system takes, and what the names of a run's files say."""

from __future__ import annotations

import pytest

from lib_lora.errors import UserError
from lib_lora.names import base_of, check_name, epochs_of, file_of_epoch, steps_of

GOOD = ["mira", "日本語", "emoji🎨", "name, with comma", "mira-000003", "mira-240101", "v1.5", "100%", "a'b", "%20",
        "con-lora",
        "console", "x" * 120, "a (b) [c]"]  # fmt: skip
BAD = ["", " ", "con", "CON", "nul.txt", "aux", "com1", "LPT9", "mira.", "mira ", " mira", ".mira", "a/b", "a\\b", "..",
       "a:b",
       "x" * 250, "é" * 100, "name\nline", "<lora>", "tab\tx", "mira.safetensors",
       "a\0b", "\ud800", "a|b", "a?", 'a"', "a*"]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_names_that_work_everywhere(name, tmp_path):
    assert check_name(name, "name") == name
    (tmp_path / f"{name}-step00000001.safetensors").write_bytes(b"")


@pytest.mark.parametrize("name", BAD)
def test_others_are_refused_at_their_field_with_what_may_be_used(name):
    with pytest.raises(UserError) as refused:
        check_name(name, "name")
    assert refused.value.where == "name" and refused.value.fix


NAMES = ["mira", "mira-000002", "mira-000004", "mira-000006", "style-240101", "style-240101-000002", "style",
         "other-000001",
         "other-000002", "other", "mira-step00000500"]  # fmt: skip


def test_the_run_of_a_file():
    assert base_of("mira-000004", NAMES) == base_of("mira-step00000500", NAMES) == base_of("mira", NAMES) == "mira"
    assert base_of("style-240101", NAMES) == base_of("style-240101-000002", NAMES) == "style-240101"
    assert base_of("date-240101", NAMES) == "date-240101" and base_of("new-000007", NAMES) == "new"
    names = [*NAMES, "mira-step00001000", "mira-step00000050", "mira-step5", "mira-b-step00000001"]
    assert list(steps_of("mira", names)) == [50, 500, 1000] and steps_of("mira", names)[500] == "mira-step00000500"
    assert epochs_of("mira", NAMES) == [2, 4, 6] and epochs_of("style", NAMES) == []


@pytest.mark.parametrize(
    ("base", "epoch", "said", "expected"),
    [("other", 3, None, "other"), ("other", 2, None, "other-000002"), ("other", 4, None, None), 
     ("mira", 8, None, "mira"),
     ("mira", 7, None, None), ("mira", 7, 7, "mira"), ("mira", 8, 7, None), ("style", 1, 1, "style"),
     ("gone", 1, None, None)],
)  # fmt: skip
def test_the_last_epoch_by_its_number(base, epoch, said, expected):
    assert file_of_epoch(base, epoch, NAMES, lambda name: said) == expected


@pytest.mark.parametrize("name", ["x\u202ey", "a\u2028b", "a\u200bb", "a\u2066b", "\ufeffa"])
def test_marks_that_make_a_name_look_like_another_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot contain"):
        check_name(name, "name")
    assert check_name("👩‍👩‍👧 日本", "name")


def test_a_long_name_is_told_how_many_letters_it_may_have() -> None:
    for letter, most in (("a", 90), ("日", 30)):
        with pytest.raises(UserError, match=f"at most {most}"):
            check_name(letter * 200, "name")
        assert check_name(letter * most, "name")
