"""Sample prompts in kohya's line syntax."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lib_lora.names import FORBIDDEN_IN_TEXT

OPTION = re.compile(r"\s--(?=[A-Za-z]\w*(?:[\s=]|$))")
NAMED = re.compile(r"(\w+)[\s=]*(.*)", re.DOTALL)
ELSEWHERE = {
    "ss": "samples are drawn with the host's sampler", "g": "the guidance of models that take it is the host's",
    "cn": "no picture leads the sample",
    "ctr": "no picture leads the sample", "rcfg": "not offered", "fs": "not offered",
}  # fmt: skip
NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)")
SMALLEST, LARGEST, MOST_STEPS, MOST_CFG = 64, 4096, 1000, 100.0
SEEDS = 2**32  # as many as web UIs have


@dataclass(frozen=True)
class SamplePrompt:
    """One picture to make after an epoch; sizes in pixels."""

    prompt: str
    negative: str = ""
    width: int = 512
    height: int = 512
    steps: int = 28
    cfg: float = 7.0
    seed: int = 1


def parse_sample_prompts(text: str, *, size: int = 512) -> list[SamplePrompt]:
    """``prompt --n negative --w 512 --h 768 --s 28 --l 7 --d 1``, one a line; ``#`` starts a comment line.

    Nothing in a line stops a training: values are brought into their range, and what cannot be used is passed over;
    :func:`sample_prompt_notes` says so.

    Args:
        size: width and height of lines that name none, brought to a multiple of 8.
    """
    return [sample for _, sample, _ in _lines(text, size)]


def sample_prompt_notes(text: str) -> list[str]:
    """What is not taken as it stands, a sentence each, with the line's number."""
    return [f"Sample prompt in line {number}: {note}" for number, _, notes in _lines(text, 512) for note in notes]


def _lines(text: str, size: int) -> Iterator[tuple[int, SamplePrompt, list[str]]]:
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = FORBIDDEN_IN_TEXT.sub("", line).strip()
        if line and not line.startswith("#"):
            yield number, *_parsed(line, size)


def _parsed(line: str, size: int) -> tuple[SamplePrompt, list[str]]:
    prompt, *options = OPTION.split(" " + line)
    notes: list[str] = []
    sample = SamplePrompt(prompt.strip(), width=_side(size), height=_side(size))
    for option in options:
        name, value = NAMED.match(option).groups()  # type: ignore[union-attr]  # OPTION has seen the name
        key, value = name.lower(), value.strip()
        if key == "n":
            sample = replace(sample, negative=value)
        elif key not in VALUES:
            notes.append(f"--{name} is passed over ({ELSEWHERE.get(key, 'it is not known here')})")
        elif (match := NUMBER.match(value)) is None:
            notes.append(f"--{name} {value} is passed over: it needs a number")
        else:
            setting, bound = VALUES[key]
            wanted = float(match[0].replace(",", "."))
            used = bound(wanted)
            if used is None:
                notes.append(
                    f"--{name} {value} is passed over: the seed stays the same, so that epochs can be compared"
                )
                continue
            if used != wanted:
                notes.append(f"--{name} {match[0]} becomes {used:g}")
            sample = replace(sample, **{setting: used})
    return sample, notes


def _side(pixels: float) -> int:
    """As kohya: down to a multiple of 8."""
    return int(min(max(pixels, SMALLEST), LARGEST)) // 8 * 8


def _seed(number: float) -> int | None:
    """None asks for a random one."""
    return None if number < 0 else int(number) % SEEDS


VALUES: dict[str, tuple[str, Callable[[float], Any]]] = {
    "w": ("width", _side),
    "h": ("height", _side),
    "s": ("steps", lambda number: int(min(max(number, 1), MOST_STEPS))),
    "l": ("cfg", lambda number: min(max(number, 0.0), MOST_CFG)),
    "d": ("seed", _seed),
}
