"""Fixtures shared by all tests: a narrow SD1 checkpoint of random weights, and a host that has it loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib_lora.models.base import HostPaths

if TYPE_CHECKING:
    from lib_lora.hosts.standalone.host import StandaloneHost

# diffusers takes seconds to import, so only the tests that use these fixtures pay for it


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lib_lora.demo.architecture import random_checkpoint

    return random_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors", seed=7)


@pytest.fixture
def tiny_host(tiny_checkpoint: Path, tmp_path: Path) -> StandaloneHost:
    from lib_lora.hosts.standalone.host import StandaloneHost

    paths = HostPaths(tmp_path / "loras", tiny_checkpoint.parent, tmp_path / "runs", tmp_path / "data")
    host = StandaloneHost(paths)
    host.load("tiny")
    return host
