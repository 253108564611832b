"""A session of the Dataset tab without a page."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lib_lora.models.base import HostPaths
from lib_lora.ui.dataset.session import Session
from lib_lora.workbench import Workbench


class FakeGpu:
    """The lock of a host without a model."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


@pytest.fixture
def session(tmp_path: Path) -> Session:
    paths = HostPaths(tmp_path / "loras", tmp_path / "checkpoints", tmp_path / "runs", tmp_path / "data")
    host = SimpleNamespace(paths=paths, gpu_lock=FakeGpu(), waiting=lambda: False, upscalers=lambda: ["Lanczos"],
                           checkpoints=list)  # fmt: skip
    return Session(Workbench(host))
