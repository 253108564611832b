"""LoRA files that fit the tiny checkpoint and visibly change its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from lib_lora.adapters import Network, NetworkSpec, write_lora
from lib_lora.models.base import GenerationRequest

if TYPE_CHECKING:
    from lib_lora.hosts.standalone.host import StandaloneHost

SMALL = GenerationRequest("1girl", width=64, height=64, steps=2, cfg=3.0)


@pytest.fixture
def small() -> GenerationRequest:
    return SMALL


@pytest.fixture
def make_lora(tiny_host: StandaloneHost) -> Callable[..., Path]:
    """``make_lora(name, seed=0)``: a random LoRA of rank 2 in the host's folder."""

    def make(name: str, seed: int = 0, **spec: int) -> Path:
        with tiny_host.training_session() as model:
            network = Network.create(model.layers(), NetworkSpec(rank=2, alpha=2, **spec), seed)
        generator = torch.Generator().manual_seed(seed)
        for parameter in network.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
        path = tiny_host.paths.loras / f"{name}.safetensors"
        return write_lora(path, network.modules(), {"ss_base_model_version": "sd_v1"}, torch.float32)

    return make
