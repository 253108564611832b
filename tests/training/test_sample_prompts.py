"""kohya's whole notation of sample prompts: nothing in a line stops a training."""

from __future__ import annotations

import pytest

from lib_lora.training.sample_prompts import SamplePrompt, parse_sample_prompts, sample_prompt_notes


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
    assert sample_prompt_notes(text) == []


def test_no_prompts():
    assert parse_sample_prompts("\n#\n") == []


@pytest.mark.parametrize(
    ("line", "changes", "notes"),
    [
        ("a --W 512 --H 768", {"height": 768}, 0),
        ("a --w 500 --h 500", {"width": 496, "height": 496}, 2),
        ("a --w 8 --h 99999", {"width": 64, "height": 4096}, 2),
        ("a --w 512px --h 512 # remark", {}, 0),
        ("a --w=640 --h = 384 --n=bad\t--s\t9", {"width": 640, "height": 384, "negative": "bad", "steps": 9}, 0),
        ("a --l 7,5", {"cfg": 7.5}, 0),
        ("a --l -3 --s 0", {"cfg": 0.0, "steps": 1}, 2),
        ("a --s 30.0 --l 7", {"steps": 30}, 0),
        ("a --d -1", {}, 1),
        ("a --d 99999999999999999999", {"seed": 1661992960}, 1),
        ("a --n x --n y", {"negative": "y"}, 0),
        ("a --n", {}, 0),
        ("a -- smile", {"prompt": "a -- smile"}, 0),
        ("a --ss euler_a --ctr 0.5 --cn x.png --prompt y", {}, 4),
        ("a --w x --l", {}, 2),
        ("\ufeffa\x00", {}, 0),
        ("--n bad", {"prompt": "", "negative": "bad"}, 0),
        ("赤い帽子 (smile:1.2) --d 5", {"prompt": "赤い帽子 (smile:1.2)", "seed": 5}, 0),
    ],
)
def test_values_are_bounded_and_what_is_not_known_is_noted(line, changes, notes):
    assert parse_sample_prompts(line) == [SamplePrompt(**{"prompt": "a", **changes})]
    assert len(sample_prompt_notes(f"fine\n{line}")) == notes
    assert all(note.startswith("Sample prompt in line 2: --") for note in sample_prompt_notes(f"fine\n{line}"))
