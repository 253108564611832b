from __future__ import annotations

from lib_lora.hosts.standalone.tokenizer import clip_tokenizer


def test_vocabulary_is_clips():
    tokenizer = clip_tokenizer()
    assert tokenizer("1girl, blue hair, twintails")["input_ids"] == [
        49406, 272, 1611, 267, 1746, 2225, 267, 9342, 16066, 49407,
    ]  # fmt: skip
    assert len(tokenizer) == 49408


def test_parentheses_are_text():
    tokenizer = clip_tokenizer()
    ids = tokenizer("(red:1.2)", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids).replace(" ", "") == "(red:1.2)"
