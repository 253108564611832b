"""``<lora:…>`` in a prompt acts without a web UI too, as an attached network of that weight does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib_lora.adapters.file import write_lora
from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest

HAT = GenerationRequest("1girl, red hat ", "blurry", width=64, height=64, steps=4, seed=5)


@pytest.fixture
def network(tiny_host) -> Network:
    """A LoRA in the host's folder, called mira, and attached by hand."""
    with tiny_host.training_session() as model:
        network = Network.create(model.layers(), NetworkSpec(rank=2, alpha=2.0), seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2, generator=generator)
    tiny_host.paths.loras.mkdir(parents=True, exist_ok=True)
    write_lora(tiny_host.paths.loras / "mira.safetensors", network.modules(), {}, dtype=torch.float32)
    return network


def pixels(images):
    return [np.asarray(image).astype(int) for image in images]


def test_a_tag_is_the_attached_network(tiny_host, network):
    (by_hand,) = pixels(tiny_host.generate([replace(HAT, weights=(0.8,))], [network]))
    prompts = ["1girl, red hat <lora:mira:0.8>", HAT.prompt, "1girl, red hat <lora:mira:te=0.8:unet=0.8@0,0.8@1>",
               "1girl, red hat <lora:mira:0.8:stop=0>", "1girl, red hat <lora:mira:0>"]  # fmt: skip
    images = tiny_host.generate([replace(HAT, prompt=prompt) for prompt in prompts])
    plain, tagged, scheduled, stopped, zero = (pixels(images)[i] for i in (1, 0, 2, 3, 4))
    assert np.abs(by_hand - plain).mean() > 1
    assert np.abs(tagged - by_hand).max() <= 1 and np.abs(scheduled - by_hand).max() <= 1
    assert np.abs(zero - plain).max() <= 1 and np.abs(stopped - by_hand).mean() > 1
    assert "<lora:mira:0.8>" in images[0].info["parameters"]
    with tiny_host.training_session() as model:
        assert not any(layer._forward_hooks for layer in model.layers().values()) and not model.unet._forward_pre_hooks


@pytest.mark.parametrize(("tag", "said"), [("<lora:none:1>", "no LoRA called"), ("<lora:mira:y@z>", "cannot be read")])
def test_what_cannot_be_applied_is_refused_and_named(tiny_host, network, tag, said):
    with pytest.raises(UserError, match=said):
        tiny_host.generate([replace(HAT, prompt=f"a {tag}")])
