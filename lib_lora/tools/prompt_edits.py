"""The LoRA tags of a prompt with another epoch, weight or block weights: what an X/Y/Z plot varies."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

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
    number = None if step or epoch.strip() == LAST else _number(epoch)

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
        there = ", ".join([*map(str, known), *(f"s{number}" for number in steps), LAST])
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


def with_blocks(prompt: str, blocks: str) -> str:
    """Every tag with these block weights, a preset's name or numbers.

    Raises:
        UserError: there is no tag.
    """
    return _changed(
        prompt, lambda name, parts: [name, *([p for p in parts if not _named(p, "lbw")] or ["1"]), f"lbw={blocks}"]
    )


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
