"""What a published LoRA says of itself: ``README.md`` as Hugging Face reads it, and the fields of Civitai's form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .inspection import Facts

# identifiers of Hugging Face -> name for the user
LICENCES = {
    "": "not decided",
    "creativeml-openrail-m": "CreativeML OpenRAIL-M (Stable Diffusion 1.x)",
    "openrail++": "CreativeML OpenRAIL++-M (SDXL)",
    "cc0-1.0": "CC0 1.0: no rights reserved",
    "cc-by-4.0": "CC BY 4.0: name the author",
    "cc-by-sa-4.0": "CC BY-SA 4.0: name the author, share alike",
    "cc-by-nc-4.0": "CC BY-NC 4.0: name the author, not for money",
    "cc-by-nc-sa-4.0": "CC BY-NC-SA 4.0",
    "apache-2.0": "Apache 2.0",
    "mit": "MIT",
    "other": "another one, in the description",
}
NOT_SHOWN = ("Network arguments", "Comment", "Seed")  # of the settings, in the short list of Civitai
SHOWN_TAGS = 20


@dataclass(frozen=True)
class Shown:
    """A picture of the card: where it lies below the card, and what was asked for."""

    path: str
    prompt: str = ""
    negative: str = ""


@dataclass(frozen=True)
class CardText:
    """What the user says about a LoRA.

    Args:
        trigger: what the prompt has to have; may be empty.
        weight: that is recommended.
        licence: one of :data:`LICENCES`; empty says that there is none yet.
        base: the base model on Hugging Face, ``owner/name``; may be empty.
    """

    name: str
    trigger: str = ""
    weight: float = 1.0
    description: str = ""
    licence: str = ""
    base: str = ""
    pictures: Sequence[Shown] = field(default_factory=tuple)
    sheet: str = ""


def readme(card: CardText, facts: Facts, digest: str, *, diffusers: bool) -> str:
    """``README.md`` with the header that Hugging Face takes its gallery, trigger word and licence from.

    Args:
        digest: SHA-256 of the file, hexadecimal.
        diffusers: whether diffusers applies all of it.
    """
    parts = [f"# {_line(card.name)}", "<Gallery />"]
    if card.description:
        parts.append(card.description.strip())
    parts += ["## Use", _use(card, facts)]
    if card.sheet:
        parts += ["## Compared", "The same prompt and seed for each file and weight:", f"![Grid]({card.sheet})"]
    if facts.settings:
        parts += ["## Trained with", _table("Setting", "Value", facts.settings.items())]
    if data := _data(facts):
        parts += ["## Training set", data]
    parts += ["## File", _table("", "", _file(facts, digest)), *(f"{text}." for text in facts.programs)]
    licence = LICENCES.get(card.licence, card.licence) if card.licence else "The author has not named a licence yet."
    parts += ["## Licence", licence]
    return _header(card, diffusers) + "\n\n".join(parts) + "\n"


def civitai(card: CardText, facts: Facts) -> str:
    """What Civitai's form asks for, field by field, to be copied."""
    settings = facts.settings
    rows = [
        ("Name", card.name),
        ("Type", _civitai_type(facts)),
        ("Base model", f"{facts.family}; choose the nearest one of its list"),
        ("Trigger words", card.trigger or "none"),
        ("Strength", f"{card.weight:g}"),
        ("Epochs", settings.get("Saved at epoch", settings.get("Epochs", ""))),
        ("Steps", settings.get("Saved at step", settings.get("Steps planned", ""))),
        ("Clip skip", settings.get("Clip skip", "")),
    ]
    fields = _table("Field", "Value", ((name, value) for name, value in rows if value))
    order = (
        "1. Publish → Upload a model; fill in the fields above.\n"
        f"2. Upload `{card.name}.safetensors`.\n"
        "3. Upload the pictures of `images/`, the cover first: their prompts and settings are in the files."
    )
    words = card.description.strip() or _use(card, facts)
    trained = ", ".join(f"{name} {value}" for name, value in settings.items() if name not in NOT_SHOWN)
    parts = [f"# {_line(card.name)} on Civitai", fields, order, "## Description", words]
    return "\n\n".join([*parts, *([f"Trained with: {trained}."] if trained else [])]) + "\n"


# -- parts ------------------------------------------------------------------------------------------------------------


def _header(card: CardText, diffusers: bool) -> str:
    """YAML; a JSON text is one of YAML too, so that nothing a user types can break it."""
    lines = []
    if card.licence:
        lines.append(f"license: {card.licence}")
    if card.base:
        lines.append(f"base_model: {_quoted(card.base)}")
    if card.trigger:
        lines.append(f"instance_prompt: {_quoted(card.trigger)}")
    tags = ["text-to-image", "lora", "template:sd-lora", *(["diffusers"] if diffusers else [])]
    lines += ["pipeline_tag: text-to-image", "tags:", *(f"- {tag}" for tag in tags)]
    if card.pictures:
        lines.append("widget:")
    for shown in card.pictures:
        lines.append(f"- text: {_quoted(shown.prompt or card.trigger or card.name)}")
        if shown.negative:
            lines += ["  parameters:", f"    negative_prompt: {_quoted(shown.negative)}"]
        lines += ["  output:", f"    url: {_quoted(shown.path)}"]
    return "---\n" + "\n".join(lines) + "\n---\n\n"


def _use(card: CardText, facts: Facts) -> str:
    tag = f"<lora:{card.name}:{card.weight:g}>"
    trigger = f" Write `{_code(card.trigger)}` into the prompt." if card.trigger else ""
    return (
        f"Put `{card.name}.safetensors` into the LoRA folder of your program, and `{tag}` into the prompt.{trigger}"
        + (f" It is made for {facts.family}." if facts.family != "unknown" else "")
    )


def _data(facts: Facts) -> str:
    rows = [(name, f"{images} × {repeats}") for name, (images, repeats) in facts.folders.items()]
    parts = [_table("Folder", "Images × repeats", rows)] if rows else []
    if facts.tags:
        tags = ", ".join(f"{_line(tag)} ({count})" for tag, count in facts.tags[:SHOWN_TAGS])
        parts.append(f"Most frequent tags: {tags}.")
    return "\n\n".join(parts)


def _file(facts: Facts, digest: str) -> list[tuple[str, str]]:
    ranks = list(facts.ranks)
    rank = f"{ranks[0]} to {ranks[-1]}" if len(ranks) > 1 else str(ranks[0]) if ranks else "full"
    rows = [
        ("Family", facts.family),
        ("Kind", ", ".join(facts.kinds)),
        ("Layers", str(facts.layers)),
        ("Rank", rank),
        ("Precision", ", ".join(facts.precisions)),
        ("Size", f"{facts.size / 1e6:.1f} MB"),
        ("SHA-256", digest),
    ]
    return rows


def _civitai_type(facts: Facts) -> str:
    """Its list has LoRA, LyCORIS and DoRA."""
    if "DoRA" in " ".join(facts.kinds):
        return "DoRA"
    return "LoRA" if facts.kinds == ("LoRA",) else "LyCORIS"


def _table(first: str, second: str, rows: Iterable[tuple[str, str]] | Mapping[str, str]) -> str:
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    body = "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in pairs)
    return f"| {first} | {second} |\n|---|---|\n{body}"


def _quoted(text: str) -> str:
    return json.dumps(_line(text), ensure_ascii=False)


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    return _line(text).replace("`", "'")
