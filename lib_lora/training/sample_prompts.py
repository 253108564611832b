"""Sample prompts in kohya's line syntax."""

from __future__ import annotations

from dataclasses import dataclass

from lib_lora.errors import UserError

OPTIONS = {"n": "negative", "w": "width", "h": "height", "s": "steps", "l": "cfg", "d": "seed"}


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

    Args:
        size: width and height of lines that name none.
    Raises:
        UserError: unknown option or a value that is no number; names the line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [_parse_line(line, number, size) for number, line in lines if line and not line.startswith("#")]


def _parse_line(line: str, number: int, size: int) -> SamplePrompt:
    where = f"sample_prompts, line {number}"
    prompt, *options = (" " + line).split(" --")
    values: dict[str, str | int | float] = {"prompt": prompt.strip(), "width": size, "height": size}
    for option in options:
        key, _, value = option.strip().partition(" ")
        if key not in OPTIONS:
            raise UserError(f"Unknown option --{key}", where=where, fix="Use " + " ".join(f"--{k}" for k in OPTIONS))
        name = OPTIONS[key]
        try:
            values[name] = {"negative": str, "cfg": float}.get(name, int)(value.strip())
        except ValueError as error:
            raise UserError(f"--{key} needs a number, not {value!r}", where=where) from error
    sample = SamplePrompt(**values)
    return _checked(sample, where)


def _checked(sample: SamplePrompt, where: str) -> SamplePrompt:
    for side in (sample.width, sample.height):
        if not 64 <= side <= 4096 or side % 8:
            raise UserError(f"A side of {side} pixels is not possible", where=where, fix="Use multiples of 8 from 64")
    if not 1 <= sample.steps <= 1000:
        raise UserError(f"{sample.steps} steps are not possible", where=where, fix="Use 1 to 1000")
    return sample
