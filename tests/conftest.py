"""Fixtures shared by all tests: a narrow SD1 checkpoint of random weights, and a host that has it loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib_lora.models.base import HostPaths

if TYPE_CHECKING:
    from lib_lora.hosts.standalone.host import StandaloneHost
    from tests.lent import Lender

os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")  # bitsandbytes would compile for half a minute; results are alike

# diffusers takes seconds to import, so only the tests that use these fixtures pay for it


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lib_lora.demo.architecture import random_checkpoint

    return random_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors", seed=7)


@pytest.fixture(scope="session")
def lender(tiny_checkpoint: Path) -> Lender:
    from tests.lent import Lender

    return Lender(tiny_checkpoint)


@pytest.fixture
def tiny_host(lender: Lender, tmp_path: Path) -> Iterator[StandaloneHost]:
    """The model is as it was loaded, whatever earlier tests did; afterwards the host has none."""
    paths = HostPaths(tmp_path / "loras", lender.checkpoint.parent, tmp_path / "runs", tmp_path / "data")
    host = lender.host(paths)
    yield host
    lender.give_back(host)
