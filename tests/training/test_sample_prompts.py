from __future__ import annotations

import pytest

from lib_lora.errors import UserError
from lib_lora.training.sample_prompts import SamplePrompt, parse_sample_prompts


def test_kohyas_syntax():
    text = """
    # a comment
    1girl, red-hair, well--known --n bad, worse --w 512 --h 768 --s 20 --l 7.5 --d 42
    mira
    """
    assert parse_sample_prompts(text, size=640) == [
        SamplePrompt("1girl, red-hair, well--known", "bad, worse", 512, 768, 20, 7.5, 42),
        SamplePrompt("mira", width=640, height=640),
    ]


def test_no_prompts():
    assert parse_sample_prompts("\n#\n") == []


@pytest.mark.parametrize("line", ["a --w x", "a --w 500", "a --s 0", "a --zz 1", "a --l", "a --h 99999"])
def test_mistakes_name_the_line(line):
    with pytest.raises(UserError, match="line 2"):
        parse_sample_prompts("fine\n" + line)
