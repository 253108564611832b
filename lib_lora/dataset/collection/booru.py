"""Side-car files of gallery-dl and Grabber: what a downloader writes beside an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lib_lora.dataset.tags.text import imported, split_booru, split_text

TYPES = ("artist", "character", "copyright", "general", "meta", "species", "lore", "rating")


@dataclass(frozen=True)
class Post:
    """What a side-car says of a picture.

    Args:
        tags: in their order. types: of each tag that has one.
        family: the post it is a variant of, "" if none.
    """

    tags: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    family: str = ""


def read_post(text: str) -> Post:
    """A JSON side-car.

    Understood: ``tag_string`` and ``tag_string_TYPE`` (Danbooru), ``tags`` as a text or a list, ``tags_TYPE``
    (gallery-dl), and ``tags`` as an object of types (e621).

    Raises:
        ValueError: not JSON, or no object.
    """
    data = json.loads(text)
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        raise ValueError("it holds no object")
    types = {tag: kind for kind in TYPES for tag in _typed(data, kind)}
    plain = data.get("tag_string", data.get("tags"))
    tags = dict.fromkeys([] if isinstance(plain, Mapping) else _tags(plain)) | dict.fromkeys(types)
    return Post(tuple(tags), types, _family(data))


def read_text(text: str) -> Post:
    """A text side-car; types from Grabber's ``includenamespace`` form (``character:mira``) are taken off the tags."""
    tags, types = [], {}
    for raw in split_text(text):
        kind, tag = typed(raw)
        tags.append(tag)
        if kind:
            types[tag] = kind
    return Post(tuple(dict.fromkeys(tags)), types)


def typed(tag: str) -> tuple[str, str]:
    """(type, tag without it) of ``character:mira``; ("", tag) of others."""
    kind, _, rest = tag.partition(":")
    return (kind, rest.strip()) if kind in TYPES and rest.strip() else ("", tag)


def _typed(data: Mapping[str, Any], kind: str) -> list[str]:
    grouped = data.get("tags")
    nested = grouped.get(kind) if isinstance(grouped, Mapping) else None
    return _tags(data.get(f"tag_string_{kind}", data.get(f"tags_{kind}", nested)))


def _tags(value: object) -> list[str]:
    if isinstance(value, str):
        parts = split_text(value) if "," in value else split_booru(value)
    elif isinstance(value, list):
        parts = [str(part) for part in value]
    else:
        parts = []
    return [tag for part in parts if (tag := imported(part))]


def _family(data: Mapping[str, Any]) -> str:
    parent = data.get("parent_id")
    if parent not in (None, 0, "0", ""):
        return str(parent)
    return str(data.get("id", "")) if data.get("has_children") in (True, "true") else ""
