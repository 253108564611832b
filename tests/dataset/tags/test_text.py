from __future__ import annotations

import pytest

from lib_lora.dataset.tags.text import KAOMOJI, escaped_brackets, imported, plain_brackets, split_text, with_spaces


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("1girl, long hair ,, solo", ["1girl", "long hair", "solo"]),
        ("1girl\nlong hair\nsolo\n", ["1girl", "long hair", "solo"]),
        ("1girl long_hair ^_^", ["1girl", "long_hair", "^_^"]),
        ("a photo of a dog", ["a photo of a dog"]),
        ("ranma_1/2 don&#039;t_look", ["ranma_1/2", "don't_look"]),
        ("\n\n1girl, solo\nsecond line, ignored", ["1girl", "solo"]),
        ("solo", ["solo"]),
        ("", []),
    ],
)
def test_text_is_split_at_commas_else_lines_else_blanks(text, tags):
    assert split_text(text) == tags


def test_underscores_become_blanks_except_in_kaomoji():
    assert with_spaces("long_hair") == "long hair"
    assert [with_spaces(face) for face in KAOMOJI] == list(KAOMOJI)


def test_brackets_have_one_spelling():
    assert plain_brackets(r"mira \(series\)") == "mira (series)"
    assert escaped_brackets("mira (series)") == escaped_brackets(r"mira \(series\)") == r"mira \(series\)"
    assert imported(r"mira_\(series\)") == imported("mira_(series)") == "mira (series)"
