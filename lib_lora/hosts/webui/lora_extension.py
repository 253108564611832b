"""The web UI's own extension that applies LoRA files, its module ``networks``; each web UI has another form of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modules import shared

from lib_lora.errors import UserError

LOG = logging.getLogger(__name__)
HASHES = "Lora hashes"
NOT_IN_NAMES = str.maketrans("", "", ":,")


def _extension() -> Any:
    """None where the user has disabled it."""
    return sys.modules.get("networks")


def list_again() -> None:
    """Have the folders listed again.

    Raises:
        UserError: it could not, perhaps for a file that has nothing to do with ours.
    """
    relist = getattr(_extension(), "list_available_networks", None)
    if relist is None:
        return
    try:
        relist()
    except Exception as error:
        LOG.exception("The web UI could not list its LoRA files again")
        what = f"The web UI could not list its LoRA files again ({type(error).__name__}: {error})"
        raise UserError(what, fix="The file itself is saved. Press the web UI's own refresh button") from error


def forget_files() -> None:
    """Forget the tensors that were read; Forge keeps them by path, Neo and A1111 look at the file again."""
    clear = getattr(getattr(_extension(), "load_lora_state_dict", None), "cache_clear", None)
    if clear is not None:
        clear()


def file_named(name: str) -> Path | None:
    """The file that a tag with this name or alias means to the web UI; None where it does not know it (yet)."""
    file = getattr(_entry(name), "filename", None)
    return Path(file) if file else None


def add_hashes(p: Any, names: Iterable[str]) -> None:
    """Name the files in the infotext of ``p`` as the extension names those that it has loaded itself."""
    if not getattr(shared.opts, "lora_add_hashes_to_infotext", True):
        return
    there = p.extra_generation_params.get(HASHES, "")
    hashes = dict(pair.split(": ", 1) for pair in there.split(", ") if ": " in pair)
    hashes |= {name.translate(NOT_IN_NAMES): found for name in names if (found := _short_hash(name))}
    if hashes:
        p.extra_generation_params[HASHES] = ", ".join(f"{name}: {found}" for name, found in hashes.items())


def _entry(name: str) -> Any:
    extension = _extension()
    ambiguous = name.lower() in getattr(extension, "forbidden_network_aliases", ())
    known = getattr(extension, "available_networks" if ambiguous else "available_network_aliases", {})
    return known.get(name)


def _short_hash(name: str) -> str | None:
    entry = _entry(name)
    if hasattr(entry, "read_hash"):
        entry.read_hash()  # nothing, where it is known already
    return getattr(entry, "shorthash", None)
