"""LoRAs of a smaller model carried over to the larger one that was made of its blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from lib_lora.adapters.file import LoraFile
from lib_lora.adapters.layers import Layers, outline
from lib_lora.models.family import Family

_NUMBER = re.compile(r"(?<=_)\d+(?=_)")


def carried_keys(keys: Iterable[str], target: Family) -> dict[str, str]:
    """Key in ``target`` -> key that it takes the layer of; the same where nothing is to be carried over.

    A file counts as one of the smaller model where it has layers in each of its blocks and in no other.
    """
    keys = list(keys)
    numbered = {key: int(match[0]) for key in keys if (match := _NUMBER.search(key)) and key.startswith("lora_unet_")}
    for taken in target.adopts.values():
        if set(numbered.values()) == set(taken):
            copies: dict[int, list[int]] = {}
            for ours, theirs in enumerate(taken):
                copies.setdefault(theirs, []).append(ours)
            return {
                _NUMBER.sub(str(ours), key, count=1) if key in numbered else key: key
                for key in keys
                for ours in (copies[numbered[key]] if key in numbered else (0,))
            }
    return {key: key for key in keys}


def carried(file: LoraFile, target: Family) -> LoraFile:
    """The file as one of ``target``, itself where it is one already; layers are made when they are asked for."""
    names = carried_keys(file.modules, target)
    if len(names) == len(file.modules):
        return file
    shapes = outline(file.modules)
    modules = Layers({ours: shapes[theirs] for ours, theirs in names.items()}, lambda key: file.modules[names[key]])
    return replace(file, modules=modules, families=(target,))


def is_carried(names: Mapping[str, str]) -> bool:
    """Whether :func:`carried_keys` found something to carry over."""
    return any(ours != theirs for ours, theirs in names.items())
