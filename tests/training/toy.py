"""A network on three loose layers, and a few steps of training it, for tests of optimizers and schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.training.averaging import Averaging
from lib_lora.training.config import TrainConfig
from lib_lora.training.optim import build_optimizer, set_learning_rate
from lib_lora.training.state import Fingerprint, Position, StateSlots

UNET, OTHER = "lora_unet_down_blocks_0_attentions_0_proj_in", "lora_unet_up_blocks_1_attentions_0_proj_in"
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"
HERE = Fingerprint("config", "data", "model")


class Toy:
    """One run on four batches of random inputs, in turn, that are to be learned by heart.

    The U-Net's down projection has 4096 numbers, from which on bitsandbytes really uses 8 bits.
    """

    def __init__(self, config: TrainConfig):
        torch.manual_seed(0)
        self.config = config
        self.layers = {
            UNET: torch.nn.Linear(2048, 8),
            OTHER: torch.nn.Linear(8, 8),
            TEXT: torch.nn.Linear(16, 8),
        }
        self.network = Network.create(self.layers, NetworkSpec(rank=2, alpha=2.0), seed=1)
        self.network.attach(self.layers)
        self.optimizer = build_optimizer(self.network, config)
        self.averaging = Averaging(self.network, self.optimizer, config.ema_decay)

    def train(self, first: int, last: int, total: int) -> list[float]:
        """Steps ``first`` to ``last`` - 1 of ``total``; the rates."""
        rates = []
        for step in range(first, last):
            rates.append(set_learning_rate(self.optimizer, self.config, step, total))
            self.loss(step).backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.averaging.update(step + 1)
        return rates

    def loss(self, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step % 4)
        outputs = [layer(torch.randn(4, layer.in_features, generator=generator)) for layer in self.layers.values()]
        return sum((output - 1).square().mean() for output in outputs)

    def save(self, folder: Path, step: int) -> None:
        StateSlots(folder).save(Position(step, HERE), self.network, self.optimizer, self.averaging)

    def load(self, folder: Path) -> int:
        return load(folder, self.network, self.optimizer, HERE, self.averaging)

    def weights(self) -> dict[str, torch.Tensor]:
        """As they would be saved."""
        with self.averaging.shown():
            return self.network.state_tensors()


def load(folder: Path, network: Network, optimizer: torch.optim.Optimizer, *present: Any) -> int:
    """The steps that are done, after the newest state was put back; 0 without one."""
    saved = StateSlots(folder).newest()
    return saved.restore(network, optimizer, *present) if saved else 0
