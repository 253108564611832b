"""LoRA and LoCon: initialisation, ΔW, forward path and file view, against dense algebra and LyCORIS."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib_lora.adapters.algorithms import algorithm, algorithm_for
from lib_lora.adapters.algorithms.lora import LoRA
from lib_lora.adapters.base import LayerSpec
from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.selection import NetworkSpec, rank_and_alpha
from lib_lora.errors import UserError

LAYERS = {
    "linear": nn.Linear(6, 10),
    "no bias": nn.Linear(6, 10, bias=False),
    "1x1": nn.Conv2d(6, 10, 1),
    "3x3": nn.Conv2d(6, 10, 3, padding=1),
    "stride": nn.Conv2d(6, 10, 3, stride=2, padding=1),
    "dilation": nn.Conv2d(6, 10, 3, dilation=2),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


def trained(layer: nn.Module, rank: int = 4, alpha: float = 3.0, seed: int = 0) -> LoRA:
    g = torch.Generator().manual_seed(seed)
    adapter = LoRA.create(layer.weight.shape, LayerSpec(rank, alpha), generator=g)
    nn.init.normal_(adapter.up, generator=g)
    return adapter


def layer_input(layer: nn.Module) -> torch.Tensor:
    g = torch.Generator().manual_seed(5)
    return torch.randn(*((2, 7, 6) if layer.weight.ndim == 2 else (2, 6, 8, 8)), generator=g)


@every_layer
def test_delta_is_the_formula(layer):
    adapter = trained(layer)
    product = adapter.up.double().flatten(1) @ adapter.down.double().flatten(1)
    want = (3.0 / 4) * product.reshape(layer.weight.shape)
    assert torch.allclose(adapter.delta().dense().double(), want, rtol=1e-6, atol=1e-6)


@every_layer
@pytest.mark.parametrize("weight", [1.0, -0.5, torch.tensor([0.25, -2.0])], ids=["one", "half off", "per sample"])
def test_forward_is_delta_times_input(layer, weight):
    adapter, x = trained(layer), layer_input(layer)
    out = layer(x)
    with_delta = nn.utils.stateless.functional_call(layer, {"weight": adapter.delta().dense()}, x)
    plain = with_delta - (0 if layer.bias is None else layer.bias.view(-1, *[1] * (layer.weight.ndim - 2)))
    per_sample = weight.view(-1, *[1] * (out.ndim - 1)) if isinstance(weight, torch.Tensor) else weight
    assert torch.allclose(adapter.forward_delta(x, layer), plain, atol=1e-5)
    assert torch.allclose(adapter.add_delta(out, x, layer, weight), out + per_sample * plain, atol=2e-5)


def test_gradients_of_the_fused_path():
    layer = LAYERS["linear"]
    adapter, x = trained(layer), layer_input(layer).requires_grad_()
    inputs = (x, adapter.up, adapter.down)
    fused = torch.autograd.grad(adapter.add_delta(layer(x), x, layer, 0.7).square().sum(), inputs)
    slow = layer(x) + 0.7 * F.linear(F.linear(x, adapter.down), adapter.up) * 0.75
    for got, want in zip(fused, torch.autograd.grad(slow.square().sum(), inputs), strict=True):
        assert torch.allclose(got, want, rtol=1e-4, atol=1e-4)


def test_half_precision_layers_keep_their_dtype():
    layer = nn.Linear(6, 10).to(torch.bfloat16)
    adapter, x = trained(layer), layer_input(layer).to(torch.bfloat16)
    out = layer(x)
    got = adapter.add_delta(out, x, layer, 1.0)
    assert got.dtype == torch.bfloat16
    assert torch.allclose(got.float(), out.float() + adapter.forward_delta(x.float(), layer), atol=0.1)


@every_layer
def test_fresh_adapters_change_nothing(layer):
    adapter = LoRA.create(layer.weight.shape, LayerSpec(2, 1.0))
    out = layer(layer_input(layer))
    assert torch.equal(adapter.add_delta(out, layer_input(layer), layer, 1.0), out)
    bound = 1 / math.sqrt(layer.weight[0].numel())
    assert adapter.down.abs().max() <= bound
    assert adapter.down.std() > 0


def test_initial_values_follow_kaiming():
    down = LoRA.create(torch.Size((4, 400)), LayerSpec(64, 1.0)).down
    reference = nn.init.kaiming_uniform_(torch.empty_like(down), a=math.sqrt(5))
    assert down.std().item() == pytest.approx(reference.std().item(), rel=0.02)
    assert down.abs().max().item() == pytest.approx(reference.abs().max().item(), rel=0.02)


def test_only_larger_kernels_use_the_convolution_rank():
    spec = NetworkSpec(rank=4, alpha=2.0, conv_rank=3, conv_alpha=1.5)
    assert rank_and_alpha(spec, "lora_te_x", torch.Size((8, 8, 1, 1))) == (4, 2.0)
    assert rank_and_alpha(spec, "lora_te_x", torch.Size((8, 8, 3, 3))) == (3, 1.5)


@every_layer
def test_file_view_round_trip(layer):
    adapter = trained(layer)
    tensors = adapter.tensors()
    assert algorithm_for(tensors) is LoRA
    again = LoRA.from_tensors(tensors)
    assert again.weight_shape == layer.weight.shape
    assert again.alpha == 3.0
    assert torch.equal(again.up, adapter.up)
    assert torch.equal(again.down, adapter.down)
    tensors["lora_up.weight"].zero_()
    assert adapter.up.any(), "the file view is a copy"


@every_layer
@pytest.mark.parametrize("tucker", [False, True])
def test_delta_and_forward_agree_with_lycoris(layer, tucker):
    from lycoris.modules.locon import LoConModule

    torch.manual_seed(1)
    oracle = LoConModule("x", layer, 1.0, 4, 3.0, use_tucker=tucker)
    for parameter in oracle.parameters():
        if parameter is not layer.weight and parameter is not layer.bias:
            nn.init.normal_(parameter)
    state = {k: v for k, v in oracle.state_dict().items() if k == "alpha" or k.startswith("lora_")}
    adapter = adapter_from(state, layer.weight.shape)
    want = oracle.get_diff_weight(1.0)[0].detach().reshape(layer.weight.shape)
    assert torch.allclose(adapter.delta().dense(), want, rtol=1e-4, atol=1e-5)
    x = layer_input(layer)
    got = adapter.add_delta(layer(x), x, layer, 1.0)
    assert torch.allclose(got, oracle(x), rtol=1e-4, atol=1e-4)


def test_alpha_defaults_to_the_rank_and_zero_is_zero():
    tensors = trained(LAYERS["linear"]).tensors()
    assert LoRA.from_tensors({k: v for k, v in tensors.items() if k != "alpha"}).scale == 1.0
    assert LoRA.from_tensors({**tensors, "alpha": torch.tensor(0.0)}).scale == 0.0
    fresh = LoRA.create(torch.Size((10, 6)), LayerSpec(rank=4, alpha=0.0))
    assert fresh.scale == 1.0 and fresh.tensors()["alpha"].item() == 4.0


@every_layer
@pytest.mark.parametrize("alpha", [3.0, 0.0, None])
def test_what_is_stored_times_the_scale_is_delta(layer, alpha):
    tensors = trained(layer).tensors(torch.float16)
    del tensors["alpha"]
    if alpha is not None:
        tensors["alpha"] = torch.tensor(alpha)
    stored, scale = LoRA.as_stored(tensors)
    want = LoRA.from_tensors(tensors).delta()
    assert stored.shape == want.shape and stored.up.data_ptr() == tensors["lora_up.weight"].data_ptr()
    assert torch.equal(scale * stored.up.float(), want.up) and torch.equal(stored.down.float(), want.down)


def test_matrix_and_1x1_convolution_are_interchangeable():
    adapter = trained(LAYERS["linear"])
    before = adapter.delta().dense()
    adapter.fit(torch.Size((10, 6, 1, 1)))
    assert torch.equal(adapter.delta().dense().flatten(1), before)
    x = layer_input(LAYERS["1x1"])
    assert adapter.forward_delta(x, LAYERS["1x1"]).shape == (2, 10, 8, 8)
    with pytest.raises(UserError, match=r"\[10, 6, 1, 1\], the model has \[10, 7\]"):
        adapter.fit(torch.Size((10, 7)))
    with pytest.raises(UserError):
        trained(LAYERS["3x3"]).fit(torch.Size((10, 54)))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"lora_up.weight": None}, "lora_up.weight is missing"),
        ({"lora_up.weight": torch.zeros(10, 5)}, "do not fit together"),
        ({"lora_down.weight": torch.zeros(4, 6, 3, 3)}, "do not fit together"),
        ({"lora_down.weight": torch.zeros(())}, "do not fit together"),
        ({"lora_down.weight": torch.zeros(0, 6), "lora_up.weight": torch.zeros(10, 0)}, "do not fit together"),
        ({"lora_mid.weight": torch.zeros(4, 5, 3, 3)}, "lora_mid"),
        ({"alpha": torch.zeros(2)}, "alpha should be one number"),
    ],
)
def test_tensors_that_do_not_fit(change, complaint):
    tensors = {**trained(LAYERS["linear"]).tensors(), **change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(UserError, match=complaint):
        LoRA.from_tensors(tensors)
    assert LoRA.as_stored(tensors) is None


def test_unknown_parameters_are_named():
    with pytest.raises(UserError, match=r"Unknown adapter parameters strange\.weight"):
        algorithm_for({"strange.weight": torch.zeros(2)})


def test_algorithms_by_name():
    assert algorithm("lora") is LoRA
    with pytest.raises(UserError, match="Unknown algorithm 'lokr2'"):
        algorithm("lokr2")
