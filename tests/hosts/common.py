"""What the tests of all web UIs share."""

from __future__ import annotations

import sys
from collections.abc import Collection

import torch

from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.models.base import Host


def forget(packages: Collection[str], ours: tuple[str, ...]) -> None:
    """Import the web UI's ``packages`` and the hosts that import them afresh next time."""
    for name in list(sys.modules):
        if name.split(".")[0] in packages or name.startswith(ours):
            del sys.modules[name]


def visible_network(host: Host) -> Network:
    """A LoRA that visibly changes both the U-Net and the text encoder."""
    with host.training_session() as model:
        network = Network.create(model.layers(), NetworkSpec(rank=2, alpha=2, conv_rank=2), seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2, generator=generator)
    network.name = "hat"
    return network
