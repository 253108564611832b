"""OpenCLIP's attention calls no layers: adapters act on it as if it did, and leave it as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lib_lora.adapters.network import Network, NetworkSpec

ATTENTION = "lora_te2_text_model_encoder_layers_{}_self_attn_{}_proj"
NAMES = ("q", "k", "v", "out")


@pytest.fixture
def layers_of(webui):
    """The layers of a model, as a fresh call to ``layers`` makes them."""
    from lib_lora.hosts.a1111.open_clip import open_clip_layers

    return lambda model: open_clip_layers("te2", model)


@pytest.fixture
def model(webui):
    import sgm_double

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = sgm_double.OpenCLIP(64).requires_grad_(False)
        for block in model.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_bias)
    return model


def outputs(model):
    x = torch.randn(7, 2, 64, generator=torch.Generator().manual_seed(1))
    mask = torch.full((7, 7), float("-inf")).triu(1)
    for block in model.transformer.resblocks:
        x = block(x, attn_mask=mask)
    return x


def network_for(layers, seed=0):
    network = Network.create(layers, NetworkSpec(rank=2, alpha=2, layers="attention"), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.2, generator=generator)
    return network


def test_an_adapter_without_effect_changes_nothing_but_rounding(model, layers_of):
    before = outputs(model)
    layers = layers_of(model)
    fresh = Network.create(layers, NetworkSpec(rank=2), seed=0)
    assert torch.equal(outputs(model), before)
    with fresh.attached_to(layers):
        assert all("forward" in vars(block.attn) for block in model.transformer.resblocks)
        torch.testing.assert_close(outputs(model), before, rtol=1e-5, atol=1e-5)
    assert not any("forward" in vars(m) for m in model.modules()) and torch.equal(outputs(model), before)


def test_adapters_act_as_if_they_were_merged(model, layers_of):
    layers = layers_of(model)
    network = network_for(layers)
    assert set(network.adapters) == {ATTENTION.format(i, name) for i in (0, 1) for name in NAMES}
    with network.attached_to(layers):
        attached = outputs(model)
    with torch.no_grad():
        for i, block in enumerate(model.transformer.resblocks):
            deltas = [network.adapters[ATTENTION.format(i, name)].delta().matrix() for name in NAMES]
            block.attn.in_proj_weight += torch.cat(deltas[:3])
            block.attn.out_proj.weight += deltas[3]
    torch.testing.assert_close(attached, outputs(model), rtol=1e-4, atol=1e-4)


def test_two_networks_add_up_whoever_asked_for_the_layers(model, layers_of):
    one, other = network_for(layers_of(model)), network_for(layers_of(model), seed=1)
    first, second = layers_of(model), layers_of(model)
    with one.attached_to(first), other.attached_to(second):
        both = outputs(model)
        one.detach()
        alone = outputs(model)
    with other.attached_to(first):
        assert torch.equal(outputs(model), alone)
        with one.attached_to(second):
            torch.testing.assert_close(outputs(model), both, rtol=1e-5, atol=1e-5)
    assert not any("forward" in vars(m) for m in model.modules())


def test_gradients_reach_the_adapters_with_checkpointing_too(model, layers_of):
    from lib_lora.hosts.checkpointing import BlockCheckpointing

    layers, checkpointing, found, calls = layers_of(model), BlockCheckpointing([model]), [], []
    network = network_for(layers)
    model.transformer.resblocks[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    for on in (False, True):
        checkpointing.set(on)
        with network.attached_to(layers):
            outputs(model).square().mean().backward()
        found.append([p.grad.clone() for p in network.parameters()])
        for parameter in network.parameters():
            parameter.grad = None
    checkpointing.set(False)
    assert len(calls) == 3  # forward; forward, and again in the backward pass
    assert all(g.any() for g in found[0])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_the_web_ui_still_merges_its_own_networks_into_it(model, layers_of, monkeypatch):
    import networks

    seen = []
    monkeypatch.setattr(networks, "network_apply_weights", seen.append)
    layers = layers_of(model)
    with network_for(layers).attached_to(layers):
        outputs(model)
    assert [block.attn for block in model.transformer.resblocks] == seen
