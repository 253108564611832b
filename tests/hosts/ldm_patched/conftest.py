"""Forge-Classic, fresh for each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.hosts.common import forget

DOUBLES = Path(__file__).parents[1] / "doubles"
OWN = {"modules", "networks", "ldm_double", "ldm_patched", "classic_double", "sgm_double"}
OUR_HOSTS = tuple(f"lib_lora.hosts.{name}" for name in ("ldm_patched", "forge_objects", "webui"))


@pytest.fixture
def host(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("a1111", "ldm_patched"):
        monkeypatch.syspath_prepend(str(DOUBLES / name))
    monkeypatch.setitem(sys.modules, "omegaconf", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "omegaconf.listconfig", SimpleNamespace(ListConfig=()))
    forget(OWN, OUR_HOSTS)
    try:
        import modules.paths
        import modules.sd_hijack
        import modules.sd_models
        import modules.shared

        modules.paths.data_path = modules.paths.models_path = str(tmp_path)
        modules.shared.cmd_opts.lora_dir = str(tmp_path)
        modules.sd_models.CheckpointInfo(tiny_checkpoint).register()
        monkeypatch.setattr("ldm.modules.diffusionmodules.openaimodel.th", modules.sd_hijack.TorchForUNet())
        from lib_lora.hosts.detect import web_ui_host

        yield web_ui_host()
    finally:
        forget(OWN, OUR_HOSTS)
