"""LoRA files for the tests of the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lib_lora.adapters import Network, NetworkSpec, write_lora

if TYPE_CHECKING:
    from lib_lora.workbench import Workbench


def random_lora(workbench: Workbench, name: str, seed: int, **spec: object) -> Path:
    """A LoRA of random weights for the loaded model's middle block."""
    with workbench.host.training_session() as model:
        layers = {key: layer for key, layer in model.layers().items() if "mid_block" in key}
        network = Network.create(layers, NetworkSpec(rank=4, alpha=4, **spec), seed)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
    return write_lora(workbench.host.paths.loras / f"{name}.safetensors", network.modules(), {})
