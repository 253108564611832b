"""Which tag each output of a tagger stands for."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib_lora.errors import UserError

GENERAL, CHARACTER, RATING = "general", "character", "rating"
WD_CATEGORIES = {"0": GENERAL, "4": CHARACTER, "9": RATING}
CSV_NAME, JSON_NAME = "selected_tags.csv", "tag_mapping.json"


@dataclass(frozen=True)
class Label:
    """A tag as the model knows it (with underscores), and its category in lower case."""

    name: str
    category: str


@dataclass(frozen=True)
class Labels:
    """The labels in the order of the outputs. ``logits``: the model's outputs are not yet probabilities."""

    rows: tuple[Label, ...]
    logits: bool


def read_labels(folder: Path) -> Labels:
    """From ``selected_tags.csv`` (WD taggers: probabilities) or ``tag_mapping.json`` (cl_tagger: logits).

    Raises:
        UserError: neither is there, or it cannot be understood.
    """
    try:
        if (path := folder / CSV_NAME).exists():
            return Labels(tuple(_from_csv(path)), logits=False)
        if (path := folder / JSON_NAME).exists():
            return Labels(tuple(_from_json(path)), logits=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"The list of tags is damaged ({error!r})", where=path, fix="Download it again") from error
    fix = "Give the folder that holds model.onnx and selected_tags.csv"
    raise UserError(f"There is no {CSV_NAME} here", where=folder, fix=fix)


def _from_csv(path: Path) -> Iterator[Label]:
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Label(row["name"], WD_CATEGORIES.get(row["category"], "other"))


def _from_json(path: Path) -> Iterator[Label]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if "idx_to_tag" in data:
        names, categories = data["idx_to_tag"], data["tag_to_category"]
        data = {index: {"tag": name, "category": categories[name]} for index, name in names.items()}
    for index in sorted(data, key=int):
        yield Label(data[index]["tag"], data[index]["category"].lower())
