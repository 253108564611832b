"""The web UI's own extension that applies LoRA files, its module ``networks``; each web UI has another form of it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

LOG = logging.getLogger(__name__)


def _extension() -> Any:
    """None where the user has disabled it."""
    return sys.modules.get("networks")


def list_again() -> None:
    """Have the folders listed again. What goes wrong in there is logged, and nobody else's business."""
    relist = getattr(_extension(), "list_available_networks", None)
    if relist is None:
        return
    try:
        relist()
    except Exception:  # such as a file of the user's that it cannot read; a training must not end by that
        LOG.exception("The web UI could not list its LoRA files again; its refresh button may do it")


def forget_files() -> None:
    """Forget the tensors that were read; Forge keeps them by path, Neo and A1111 look at the file again."""
    clear = getattr(getattr(_extension(), "load_lora_state_dict", None), "cache_clear", None)
    if clear is not None:
        clear()


def file_named(name: str) -> Path | None:
    """The file that a tag with this name or alias means to the web UI; None where it does not know it (yet)."""
    extension = _extension()
    ambiguous = name.lower() in getattr(extension, "forbidden_network_aliases", ())
    known = getattr(extension, "available_networks" if ambiguous else "available_network_aliases", {})
    file = getattr(known.get(name), "filename", None)
    return Path(file) if file else None
