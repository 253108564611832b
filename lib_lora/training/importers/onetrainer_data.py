"""OneTrainer's concepts and samples, where a file has them in itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_lora.training.importers.report import Reading
from lib_lora.training.importers.values import Unreadable, number, shown, switch, text


def tables(value: Any) -> list[dict[str, Any]]:
    """A list of tables."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Unreadable(f"{shown(value)} is no list of tables")
    return value


def concepts(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """The folder, its repeats and its captions, where there is one."""
    rows = [row for row in value if row.get("enabled", True) and row.get("type", "STANDARD") == "STANDARD"]
    if len(rows) != 1:
        fix = "Put these folders into one, each named by its repeats, such as 10_name, and choose that one"
        reading.ignore(key, fix if rows else "Choose the folder with the images here")
        return
    row = rows[0]
    try:
        values: dict[str, Any] = {"data_dir": text(row["path"])}
        if row.get("balancing_strategy", "REPEATS") == "REPEATS":
            values["repeats"] = str(min(max(round(number(row.get("balancing", 1))), 1), 10000))
        image, words = (part if isinstance(part, dict) else {} for part in (row.get("image"), row.get("text")))
        values["flip"] = switch(image.get("enable_random_flip", False))
        values["shuffle"] = switch(words.get("enable_tag_shuffling", False))
        values["keep_tokens"] = int(number(words.get("keep_tags_count", 1))) if values["shuffle"] else 0
    except (Unreadable, KeyError) as error:
        reading.unreadable(key, str(error))
        return
    reading.translate(key, f"Folder = {values['data_dir']}, with its repeats and captions", **values)


def samples(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """The prompts of its samples, in kohya's lines."""
    lines = []
    options = {"negative_prompt": "n", "width": "w", "height": "h", "seed": "d", "diffusion_steps": "s",
               "cfg_scale": "l"}  # fmt: skip
    for row in value:
        if row.get("enabled", True) and isinstance(row.get("prompt"), str) and row["prompt"].strip():
            words = [f"--{short} {row[name]}" for name, short in options.items() if row.get(name) not in (None, "")]
            lines.append(" ".join([*row["prompt"].split(), *" ".join(words).split()]))
    try:
        prompts = text("\n".join(lines))
    except Unreadable as error:
        reading.unreadable(key, error)
        return
    if lines:
        reading.translate(key, f"{len(lines)} sample prompts", sample_prompts=prompts)
    else:
        reading.ignore(key, "There is no prompt in it")
