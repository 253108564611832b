"""What holds for SDXL in every web UI."""

from __future__ import annotations

from typing import Any

import torch

from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.dataset.batches import MicroBatch
from lib_lora.training.config import TrainConfig
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.noise import NoiseDraw

T = torch.tensor([500])


def check_sizes_are_pixels(model: Any) -> None:
    """They default to those of the picture itself."""
    x = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cond = model.encode_text(["a hat"])
        plain = model.predict(x, T, cond)
        own = model.predict(x, T, cond, torch.tensor([[64, 96, 0, 0, 64, 96]]))
        cropped = model.predict(x, T, cond, torch.tensor([[640, 960, 0, 16, 64, 96]]))
    assert torch.equal(plain, own)
    assert not torch.allclose(plain, cropped, atol=1e-5)


def check_training_tells_sizes(model: Any, monkeypatch: Any) -> None:
    told = []
    predict = model.predict
    monkeypatch.setattr(model, "predict", lambda x, t, cond, sizes: told.append(sizes) or predict(x, t, cond, sizes))
    sizes = torch.tensor([[640, 480, 8, 0, 64, 64]])
    x = torch.randn(1, 4, 8, 8)
    batch = MicroBatch(x, ["a hat"], [], torch.ones(1), sizes)
    with torch.no_grad():
        Denoiser(model, TrainConfig(name="a")).loss(batch, NoiseDraw(T, x, x))
    assert told == [sizes]


def check_gradients_reach_every_layer(model: Any) -> set[str]:
    """Returns the names on offer. The last layer of a text encoder is not used, so it has no gradient."""
    layers = model.layers()
    network = Network.create(layers, NetworkSpec(rank=2, alpha=2, conv_rank=2), seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2, generator=generator)
    assert {key.split("_")[1] for key in network.adapters} == {"unet", "te1", "te2"}
    with network.attached_to(layers):
        cond = model.encode_text(["a hat"])
        model.predict(torch.randn(1, 4, 8, 8), T, cond).square().mean().backward()
    dead = [
        key for key, a in network.adapters.items() if any(p.grad is None or not p.grad.any() for p in a.parameters())
    ]
    assert not [key for key in dead if not key.startswith("lora_te1") or "layers_1_" not in key]
    return set(layers)
