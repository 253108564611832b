"""A host without a model, for pages that are built and looked at only."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lib_lora.models.base import HostPaths


def bare_host(folder: Path) -> Any:
    """Its folders are below ``folder``; it lists one sampler and one upscaler."""
    paths = HostPaths(*(folder / name for name in ("loras", "models", "runs", "data")))
    lists = {"checkpoints": [], "taggers": [], "upscalers": ["Lanczos"], "samplers": ["Euler"]}
    answers = {name: (lambda v=v: v) for name, v in lists.items()}
    return SimpleNamespace(name="bare", paths=paths, info=lambda: None, shows_checkpoints=False, **answers)
