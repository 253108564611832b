from __future__ import annotations

import pytest
import torch

from lib_lora.adapters.file import read_lora, write_lora
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.errors import UserError
from lib_lora.training.warm_start import start_file, start_from

UNET, TEXT = "lora_unet_mid_block_attentions_0_proj_in", "lora_te_text_model_encoder_layers_0_mlp_fc1"
LAYERS = {UNET: torch.nn.Linear(6, 8), TEXT: torch.nn.Linear(3, 5)}


def saved(tmp_path, spec, layers=LAYERS):
    """A file of random weights."""
    network = Network.create(layers, spec, seed=1)
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            generator = torch.Generator().manual_seed(number)
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network, write_lora(tmp_path / "before.safetensors", network.modules(), {}, dtype=torch.float32)


def change_of(network, key):
    layer, x = LAYERS[key], torch.randn(4, LAYERS[key].in_features, generator=torch.Generator().manual_seed(3))
    before = layer(x)
    with network.attached_to(LAYERS), torch.no_grad():
        return layer(x) - before


@pytest.mark.parametrize("spec", [
    NetworkSpec(rank=2, alpha=2.0), NetworkSpec("loha", rank=2, alpha=1.0), NetworkSpec("lokr", rank=1, alpha=1.0),
    NetworkSpec("glora", rank=2, alpha=2.0), NetworkSpec(rank=2, alpha=1.0, dora=True), NetworkSpec("full"),
], ids=lambda s: s.algorithm + ("-dora" if s.dora else ""))  # fmt: skip
def test_it_starts_where_the_file_ends(tmp_path, spec):
    before, path = saved(tmp_path, spec)
    network = Network.create(LAYERS, spec, seed=2)
    assert start_from(network, path) == []
    for key in LAYERS:
        assert torch.allclose(change_of(network, key), change_of(before, key), atol=1e-5)
    assert all(p.requires_grad for p in network.parameters())


def test_another_alpha_keeps_the_change(tmp_path):
    before, path = saved(tmp_path, NetworkSpec(rank=2, alpha=2.0))
    network = Network.create(LAYERS, NetworkSpec(rank=2, alpha=0.5), seed=2)
    start_from(network, path)
    assert torch.allclose(change_of(network, UNET), change_of(before, UNET), atol=1e-5)
    assert float(network.modules()[UNET]["alpha"]) == 0.5


def test_what_does_not_fit_is_named(tmp_path):
    _, path = saved(tmp_path, NetworkSpec(rank=2))
    fresh = Network.create(LAYERS, NetworkSpec(rank=3), seed=2)
    unchanged = fresh.state_tensors()
    with pytest.raises(UserError, match="lora of rank 2, the settings ask for lora of rank 3"):
        start_from(fresh, path)
    assert all(torch.equal(unchanged[name], t) for name, t in fresh.state_tensors().items())
    only_text = Network.create({TEXT: LAYERS[TEXT]}, NetworkSpec(rank=2), seed=2)
    assert start_from(only_text, path) == ["1 layers of before.safetensors are not trained here, and are left out"]
    assert start_file("before", tmp_path) == start_file(str(path), tmp_path) == path
    with pytest.raises(UserError, match="no LoRA called"):
        start_file("nobody", tmp_path)
    assert read_lora(path).modules.keys() == LAYERS.keys()
