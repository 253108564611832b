"""What the tests of all web UIs share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import closing
from types import SimpleNamespace
from typing import Any

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


def drawing(webui: Any) -> Callable[..., bytes]:
    """Draws with tags of ours, as the web UI does: our script before the batch, ``p`` closed afterwards."""
    weights = webui.host.prompt_weights()

    def draw(prompt: str, extra: str = "", fail: bool = False) -> bytes:
        def begin(p: Any, **_: Any) -> None:
            weights.begin_batch(p, extra)
            if fail:
                raise RuntimeError("out of memory")

        processing, state = webui.modules.processing, webui.modules.shared.state
        p = processing.StableDiffusionProcessingTxt2Img(prompt=prompt, width=64, height=64, steps=4, seed=5)
        p.scripts = SimpleNamespace(before_process_batch=begin)
        with webui.modules.call_queue.queue_lock, closing(p):
            state.begin("task(1)")
            image = processing.process_images(p).images[0]
            state.end()
        return image.tobytes()

    return draw


def pixels(image: bytes) -> torch.Tensor:
    """To compare images by value."""
    return torch.frombuffer(bytearray(image), dtype=torch.uint8).int()
