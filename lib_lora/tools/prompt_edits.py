"""The LoRA tags of a prompt with another epoch, weight or block weights: what an X/Y/Z plot varies."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from ..adapters.block_presets import LETTER, OF_ITS_PLOT, load_presets
from ..adapters.blocks import BlockWeights
from ..errors import UserError
from ..names import base_of, epochs_of, file_of_epoch, steps_of
from .prompt_loras import TAG

LAST = "last"
STEP = re.compile(r"s(?:tep)?\s*(\d{1,9})", re.IGNORECASE)


def with_epoch(
    prompt: str, epoch: str, names: Collection[str], last_epoch: Callable[[str], int | None] = lambda _name: None
) -> str:
    """Every tag of a trained LoRA names the file of ``epoch``, a number or ``"last"``; ``"s500"`` is that of a step.

    Args:
        names: of the LoRA files that exist; tags of LoRAs without such an epoch stay as they are.
        last_epoch: the number of epochs that a run's last file says it has, None where it says nothing.

    Raises:
        UserError: no tag has such an epoch; lists those that it has.
    """
    found = False
    step = STEP.fullmatch(epoch.strip())
    number = None if step or epoch.strip().lower() == LAST else _number(epoch)

    def edit(name: str, rest: str) -> str:
        nonlocal found
        base = base_of(name.strip(), names)
        if step:
            file = steps_of(base, names).get(int(step[1]))
        else:
            file = base if number is None else file_of_epoch(base, number, names, last_epoch)
        if file not in names:
            return f"{name}{rest}"
        found = True
        return f"{file}{rest}"

    changed = _edited(prompt, edit)
    if not found:
        bases = {base_of(match[1].strip(), names) for match in TAG.finditer(prompt)}
        known = sorted({number for base in bases for number in epochs_of(base, names)})
        steps = sorted({number for base in bases for number in steps_of(base, names)})
        last = [LAST] if bases & set(names) else []
        there = ", ".join([*map(str, known), *(f"s{number}" for number in steps), *last])
        fix = f"There are {there}" if known or steps else "Put the tag of a LoRA trained here into the prompt"
        raise UserError(f"No LoRA of the prompt has an epoch {epoch.strip()}", where="prompt", fix=fix)
    return changed


def with_weight(prompt: str, weight: float) -> str:
    """Every tag with this weight, for text encoder and U-Net alike; its other entries stay.

    Raises:
        UserError: there is no tag.
    """
    return _changed(
        prompt,
        lambda name, parts: [name, f"{weight:g}", *(p for p in parts if "=" in p and not _named(p, "te", "unet"))],
    )


def with_blocks(prompt: str, blocks: str, presets: Mapping[str, str] | None = None) -> str:
    """Every tag with these block weights, a preset's name or numbers.

    Where tags have the placeholders of LoRA Block Weight's plot, only those change: ``XYZ`` takes the weights, ``ZYX``
    1 less each of them, for another LoRA in the blocks that are left.

    Args:
        presets: the user's and the built-in ones, by name; None: the built-in ones.

    Raises:
        UserError: there is no tag; or weights for ZYX cannot be read.
    """
    known = load_presets() if presets is None else presets
    placeholders = any(_placeholder(match[2].split(":")[1:]) for match in TAG.finditer(prompt))

    def change(name: str, parts: list[str]) -> list[str]:
        own = _placeholder(parts)
        if placeholders and not own:
            return [name, *parts]
        kept = [part for part in parts if not _named(part, "lbw") and part.strip() not in OF_ITS_PLOT] or ["1"]
        return [name, *kept, f"lbw={_the_rest(blocks, known) if own == 'ZYX' else blocks}"]

    return _changed(prompt, change)


def _placeholder(parts: list[str]) -> str:
    return next((value for part in parts if (value := part.strip().removeprefix("lbw=")) in OF_ITS_PLOT), "")


def _the_rest(blocks: str, presets: Mapping[str, str]) -> str:
    """1 less each of the weights; random ones stay. Of a preset's forms, that which its file has first."""
    numbers = [part.strip() for part in presets.get(blocks, blocks).rpartition("|")[2].split(",")]
    try:
        return ",".join(part if LETTER.fullmatch(part) else f"{round(1 - float(part), 6):g}" for part in numbers)
    except ValueError:
        weights = BlockWeights.parse(blocks, presets)
        return weights.changed({name: round(1 - value, 6) for name, value in weights.items()}).format()


def _changed(prompt: str, change: Callable[[str, list[str]], list[str]]) -> str:
    if not TAG.search(prompt):
        raise UserError("There is no LoRA in the prompt", where="prompt", fix="Add a tag such as <lora:mira:1>")
    return _edited(prompt, lambda name, rest: ":".join(change(name, rest.split(":")[1:])))


def _edited(prompt: str, edit: Callable[[str, str], str]) -> str:
    """``edit`` gets name and entries of each tag, and gives what is to stand between its kind and its end."""
    return TAG.sub(lambda match: f"{match[0].partition(':')[0]}:{edit(match[1], match[2])}>", prompt)


def _named(part: str, *names: str) -> bool:
    key, equals, _ = part.partition("=")
    return bool(equals) and key.strip() in names


def _number(epoch: str) -> int:
    try:
        number = float(epoch)
        if number != int(number):
            raise ValueError(epoch)
    except (ValueError, OverflowError):
        raise UserError(f"{epoch!r} is no epoch", where="Epoch", fix=f"Use numbers or {LAST}") from None
    return int(number)
