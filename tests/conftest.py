"""Fixtures shared by all tests: a narrow SD1 checkpoint of random weights, and a host that has it loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lib_lora.demo.architecture import random_checkpoint
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors", seed=7)


@pytest.fixture
def tiny_host(tiny_checkpoint: Path, tmp_path: Path) -> StandaloneHost:
    paths = HostPaths(tmp_path / "loras", tiny_checkpoint.parent, tmp_path / "runs", tmp_path / "data")
    host = StandaloneHost(paths)
    host.load("tiny")
    return host
