"""Networks on live modules: selection, exactness, switches, traces."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lib_lora.adapters import LoraFile, Network, NetworkSpec
from lib_lora.adapters.blocks import BLOCKS_17
from lib_lora.adapters.dropout import Dropout
from lib_lora.adapters.selection import part_of, select
from lib_lora.errors import UserError

LOCON = NetworkSpec(rank=3, alpha=1.5, conv_rank=2, conv_alpha=1.0)
QUERY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"


def trained(layers, spec=LOCON, seed=1) -> Network:
    network = Network.create(layers, spec, seed)
    for i, parameter in enumerate(network.parameters()):
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(seed * 1000 + i))
    return network


def sample(layer: nn.Module, batch: int = 3) -> torch.Tensor:
    shape = (batch, 7, layer.weight.shape[1]) if layer.weight.ndim == 2 else (batch, layer.weight.shape[1], 8, 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def outputs(layers) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {key: layer(sample(layer)) for key, layer in layers.items()}


def equal(a, b) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


def test_selection_counts_of_sd15(sd15_layers):
    plain = select(sd15_layers, NetworkSpec())
    assert sum(part_of(k) == "unet" for k in plain) == 192
    assert sum(part_of(k) == "te" for k in plain) == 72
    # 22 residual blocks with conv1, conv2 and time_emb_proj, 14 shortcuts, 3 down- and 3 upsamplers
    locon = select(sd15_layers, NetworkSpec(conv_rank=4, train_text_encoder=False))
    assert len(locon) == 192 + 22 * 3 + 14 + 6
    assert not any("conv_in" in k or "conv_out" in k or "time_embedding" in k for k in locon)
    assert len(select(sd15_layers, NetworkSpec(train_unet=False))) == 72


def test_selection_agrees_with_lycoris(sd15_layers):
    from diffusers import UNet2DConditionModel
    from lycoris.kohya import LycorisNetworkKohya

    LycorisNetworkKohya.apply_preset({"unet_target_module": ["Transformer2DModel"], "unet_target_name": []})
    small = UNet2DConditionModel(block_out_channels=(8, 8, 8, 8), norm_num_groups=4, cross_attention_dim=8)
    oracle = LycorisNetworkKohya([], small, lora_dim=2, conv_lora_dim=0)
    ours = {k for k in select(sd15_layers, NetworkSpec()) if part_of(k) == "unet"}
    assert {lora.lora_name.replace("lycoris_", "lora_unet_") for lora in oracle.unet_loras} == ours


def test_ranks(layers):
    network = Network.create(layers, LOCON, 0)
    assert {k: a.rank for k, a in network.adapters.items() if a.rank == 2}.keys() == {
        "lora_unet_down_blocks_0_resnets_0_conv1",
        "lora_unet_down_blocks_0_downsamplers_0_conv",
    }
    assert set(network.adapters) == set(layers) - {"lora_unet_conv_in", "lora_unet_time_embedding_linear_1"}


def test_initial_values_depend_on_seed_and_key_only(layers):
    few = {k: v for k, v in layers.items() if k == QUERY}
    a, b = Network.create(layers, LOCON, 4).adapters[QUERY], Network.create(few, LOCON, 4).adapters[QUERY]
    assert torch.equal(a.down, b.down)
    assert not torch.equal(a.down, Network.create(few, LOCON, 5).adapters[QUERY].down)


def test_nothing_selected(layers):
    with pytest.raises(UserError, match="nothing to train"):
        Network.create(layers, NetworkSpec(train_unet=False, train_text_encoder=False), 0)
    with pytest.raises(UserError, match="at least 1"):
        NetworkSpec(rank=0)


def test_attached_outputs_are_base_plus_delta(layers):
    base, network = outputs(layers), trained(layers)
    with network.attached_to(layers) as report:
        got = outputs(layers)
    assert set(report.matched) == set(network.adapters)
    assert set(report.unused) == set(layers) - set(network.adapters)
    assert report.missing == []
    for key, adapter in network.adapters.items():
        change = adapter.forward_delta(sample(layers[key]), layers[key]).detach()
        assert torch.allclose(got[key], base[key] + change, atol=1e-5), key


def test_detaching_leaves_no_trace(layers):
    attributes = {key: {n: repr(v) for n, v in layer.__dict__.items()} for key, layer in layers.items()}
    weights = {key: layer.weight.clone() for key, layer in layers.items()}
    base, network = outputs(layers), trained(layers)
    with pytest.raises(ZeroDivisionError), network.attached_to(layers):
        assert not equal(outputs(layers), base)
        raise ZeroDivisionError
    network.detach()
    assert equal(outputs(layers), base)
    for key, layer in layers.items():
        assert {n: repr(v) for n, v in layer.__dict__.items()} == attributes[key]
        assert torch.equal(layer.weight, weights[key])


@pytest.mark.parametrize("error", [torch.OutOfMemoryError if hasattr(torch, "OutOfMemoryError") else RuntimeError,
                                   UserError, KeyboardInterrupt, AttributeError])  # fmt: skip
@pytest.mark.parametrize("method", ["fit", "to"])
def test_attaching_is_all_or_nothing(layers, monkeypatch, error, method):
    base, network = outputs(layers), trained(layers)
    *_, last = network.adapters.values()
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(last, method, lambda *_: (_ for _ in ()).throw(error("half-way")))
        network.attach(layers)
    assert equal(outputs(layers), base) and not any(layer._forward_hooks for layer in layers.values())
    with network.attached_to(layers):  # and it can be attached later
        assert not equal(outputs(layers), base)


def test_what_was_moved_before_attaching_failed_moves_back(layers, monkeypatch):
    network, elsewhere = trained(layers), torch.device("meta")
    first, *_, last = network.adapters
    monkeypatch.setattr(network.adapters[last], "fit", lambda shape: None)
    live = {**layers, first: layers[first].to(elsewhere), last: nn.Module()}  # the last one cannot be hooked
    live[last].weight = layers[last].weight
    monkeypatch.setattr(live[last], "register_forward_hook", lambda hook: 1 / 0)
    homes = []
    monkeypatch.setattr(network.adapters[first], "to", homes.append)
    with pytest.raises(ZeroDivisionError):
        network.attach(live)
    assert homes == [elsewhere, torch.device("cpu")]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_file_acts_on_a_float32_layer_without_losing_its_precision(layers, dtype):
    halves = Network.from_modules(trained(layers).modules(dtype))
    wide = Network.from_modules(halves.modules(torch.float32))
    with wide.attached_to(layers):
        want = outputs(layers)
    with halves.attached_to(layers):
        assert equal(outputs(layers), want)


def test_off_is_exactly_off(layers):
    base, network = outputs(layers), trained(layers)
    with network.attached_to(layers):
        network.enabled = False
        assert equal(outputs(layers), base)
        network.enabled, network.multiplier = True, 0.0
        assert equal(outputs(layers), base)
        network.multiplier = torch.zeros(3)
        assert equal(outputs(layers), base)
        network.multiplier = 1.0
        network.set_block_weights([0.0] * 17)
        assert equal(outputs(layers), base)
        network.set_block_weights(None)
        assert not equal(outputs(layers), base)


def test_each_sample_has_its_own_weight(layers):
    network, weights = trained(layers), [0.0, 0.5, -2.0]
    with network.attached_to(layers):
        network.multiplier = torch.tensor(weights)
        together = outputs(layers)
        for i, weight in enumerate(weights):
            network.multiplier = weight
            alone = outputs(layers)
            assert all(torch.allclose(together[k][i], alone[k][i], atol=1e-5) for k in layers)
        network.multiplier = torch.ones(2)
        with pytest.raises(ValueError, match="weights for a batch of 3"):
            outputs(layers)


def test_block_weights_scale_their_blocks(layers):
    base, network = outputs(layers), trained(layers)
    weights = {name: 0.0 for name in BLOCKS_17} | {"BASE": -1.0, "IN01": 0.5}
    network.set_block_weights(weights)
    assert (network.layer_scale(TEXT), network.layer_scale(QUERY)) == (-1.0, 0.5)
    network.multiplier = 2.0
    with network.attached_to(layers):
        got = outputs(layers)
    for key, scale in ((TEXT, -2.0), (QUERY, 1.0)):
        change = network.adapters[key].forward_delta(sample(layers[key]), layers[key]).detach()
        assert torch.allclose(got[key], base[key] + scale * change, atol=1e-5)
    downsampler = "lora_unet_down_blocks_0_downsamplers_0_conv"  # IN03, which follows IN02
    assert torch.equal(got[downsampler], base[downsampler])


def test_several_networks_add_up(layers):
    base, a, b = outputs(layers), trained(layers, seed=1), trained(layers, seed=2)
    with a.attached_to(layers), b.attached_to(layers):
        got = outputs(layers)
    changes = []
    for network in (a, b):
        with network.attached_to(layers):
            changes.append(outputs(layers))
    for key in layers:
        want = changes[0][key] + changes[1][key] - base[key]
        assert torch.allclose(got[key], want, atol=1e-5)


def test_gradients_under_checkpointing(layers):
    network, x = trained(layers), sample(layers[QUERY])
    gradients = []
    with network.attached_to(layers):
        for run in (layers[QUERY], lambda x: checkpoint(layers[QUERY], x, use_reentrant=False)):
            for parameter in network.parameters():
                parameter.grad = None
            run(x).square().sum().backward()
            gradients.append(network.adapters[QUERY].down.grad.clone())
    assert torch.equal(*gradients)
    assert gradients[0].any()
    assert all(p.grad is None for layer in layers.values() for p in layer.parameters())


def test_layer_presets(layers):
    def keys(**options) -> set[str]:
        return set(select(layers, NetworkSpec(**options)))

    assert keys(layers="attention") == {QUERY, TEXT.replace("mlp_fc1", "self_attn_q_proj")}
    assert keys(layers="attention+mlp+conv") == keys(conv_rank=2) > keys()
    assert keys(layers=r"resnets_\d_conv1|mlp") == {TEXT, "lora_unet_down_blocks_0_resnets_0_conv1"}
    with pytest.raises(UserError, match="no choice of layers"):
        NetworkSpec(layers="(")


def test_norms_that_are_not_there_are_named(layers):
    with pytest.raises(UserError, match="No normalisation layer"):
        select(layers, NetworkSpec(train_norm=True))
    norm = "lora_unet_down_blocks_0_resnets_0_norm1"
    more = {**layers, norm: nn.GroupNorm(4, 8)}
    assert norm in select(more, NetworkSpec(train_norm=True, conv_rank=2))
    assert norm not in select(more, NetworkSpec(conv_rank=2))


def test_ranks_per_block(layers):
    network = Network.create(layers, NetworkSpec(rank=4, alpha=2.0, block_ranks={"BASE": 0, "IN01": 2}), 0)
    assert {a.rank for a in network.adapters.values()} == {2}
    assert {a.scale for a in network.adapters.values()} == {0.5}
    assert not any(part_of(key) == "te" for key in network.adapters)
    with pytest.raises(UserError, match="IN99"):
        NetworkSpec(block_ranks={"IN99": 1})


@pytest.mark.parametrize("algorithm", ["lora", "loha"])
@pytest.mark.parametrize("rates", [{"neuron": 0.5}, {"rank": 0.5}, {"module": 0.5}])
def test_dropout_depends_on_seed_and_step(layers, algorithm, rates):
    spec = NetworkSpec(algorithm, 4, conv_rank=4, dropout=Dropout(**rates))
    network = trained(layers, spec)
    with network.attached_to(layers):
        whole = outputs(layers)
        with network.dropping(1, 5):
            first, again = outputs(layers), outputs(layers)
        with network.dropping(1, 6):
            other = outputs(layers)
        assert equal(first, again)
        assert not equal(first, other)
        assert not equal(first, whole)
        assert equal(outputs(layers), whole)


def test_nested_ranks_train_the_first_ones(layers):
    network = trained(layers, NetworkSpec(rank=4, conv_rank=4, dropout=Dropout(nested=True)))
    adapter, layer, x = network.adapters[QUERY], layers[QUERY], sample(layers[QUERY])
    cuts = {}
    for kept in range(1, 5):
        scale = adapter.scale * (4 / kept) ** 0.5
        cuts[kept] = scale * x @ adapter.down[:kept].T @ adapter.up[:, :kept].T
    seen = set()
    with network.attached_to({QUERY: layer}):
        for step in range(40):
            with network.dropping(3, step):
                change = layer(x) - torch.nn.functional.linear(x, layer.weight, layer.bias)
            fits = [kept for kept, want in cuts.items() if torch.allclose(change, want, atol=1e-5)]
            assert len(fits) == 1
            seen |= set(fits)
    assert seen == {1, 2, 3, 4}
    for wrong in ({"algorithm": "loha"}, {"dora": True}):
        with pytest.raises(UserError, match="LoRA alone"):
            NetworkSpec(dropout=Dropout(nested=True), **wrong)


def test_noisy_samples_train_the_first_ranks_only(layers):
    network = trained(layers, NetworkSpec(rank=8, conv_rank=8, dropout=Dropout(least_rank=2)))
    adapter, layer = network.adapters[QUERY], layers[QUERY]
    x = sample(layer)[:1].repeat(4, 1, 1)
    with network.attached_to(layers):
        whole = outputs(layers)
        with network.dropping(3, 0, torch.tensor([0.0, 0.5, 0.9, 1.0])):
            change = layer(x) - torch.nn.functional.linear(x, layer.weight, layer.bias)
            twice = layer(x.repeat(2, 1, 1)) - torch.nn.functional.linear(x.repeat(2, 1, 1), layer.weight, layer.bias)
        for one, kept in zip(change, (8, 5, 2, 2), strict=True):
            want = adapter.scale * x[0] @ adapter.down[:kept].T @ adapter.up[:, :kept].T
            assert torch.allclose(one, want, atol=1e-5)
        assert torch.allclose(twice, change.repeat(2, 1, 1))
        with network.dropping(3, 0, torch.ones(3)):
            masked = outputs(layers)
        text = [key for key in layers if part_of(key) == "te"]
        assert all(torch.equal(masked[key], whole[key]) for key in text)  # which has no noise
        assert not torch.equal(masked[QUERY], whole[QUERY])
        assert equal(outputs(layers), whole)
    for wrong in ({"algorithm": "loha"}, {"dora": True}):
        with pytest.raises(UserError, match="LoRA alone"):
            NetworkSpec(dropout=Dropout(least_rank=1), **wrong)


def test_dropout_keeps_the_mean(layers):
    network = trained(layers, NetworkSpec(rank=8, dropout=Dropout(neuron=0.3, rank=0.3)))
    layer, x = layers[QUERY], sample(layers[QUERY])
    with network.attached_to({QUERY: layer}), torch.no_grad():
        whole, total = layer(x), 0
        for step in range(400):
            with network.dropping(0, step):
                total = total + layer(x)
    change = (whole - torch.nn.functional.linear(x, layer.weight)).norm()
    assert (total / 400 - whole).norm() < 0.2 * change


def test_parts(layers):
    network = Network.create(layers, LOCON, 0)
    assert len(network.parameters("te")) == 4
    assert len(network.parameters()) == len(network.parameters("te")) + len(network.parameters("unet"))


def test_from_tensors_acts_alike(layers):
    network = trained(layers)
    again = Network.from_file(LoraFile(None, {}, network.modules()))
    with network.attached_to(layers):
        want = outputs(layers)
    with again.attached_to(layers):
        assert equal(outputs(layers), want)
    assert set(network.state_tensors()) == {f"{k}.{p}" for k, a in network.modules().items() for p in a}


def test_a_lora_for_another_model_attaches_nothing(layers):
    network = trained(layers)
    wider = {**layers, TEXT: nn.Linear(7, 10)}
    with pytest.raises(UserError, match=r"\[10, 6\], the model has \[10, 7\]"):
        network.attach(wider)
    assert not any(layer._forward_hooks for layer in wider.values())
    with pytest.raises(UserError, match="None of the LoRA's layers"):
        network.attach({"lora_unet_elsewhere": nn.Linear(2, 2)})
    report = network.attach({QUERY: layers[QUERY]})
    assert report.matched == [QUERY]
    assert len(report.missing) == len(network.adapters) - 1
    with pytest.raises(RuntimeError, match="attached already"):
        network.attach(layers)
    network.detach()
