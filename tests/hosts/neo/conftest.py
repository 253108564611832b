"""Forge Neo, fresh for each test; its files lie in two LoRA folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.forge.conftest import WebUI, lora, network, running

__all__ = ["lora", "network"]


@pytest.fixture
def webui(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebUI]:
    second = tmp_path / "second"
    second.mkdir()
    options = {"ckpt_dirs": [str(tiny_checkpoint.parent)], "lora_dirs": [str(second)]}
    with running(("a1111", "forge", "neo"), tiny_checkpoint, tmp_path, monkeypatch, options) as web_ui:
        yield web_ui


@pytest.fixture
def second(webui: WebUI) -> Path:
    """The folder of ``--lora-dirs``."""
    return webui.host.paths.more_loras[0]
