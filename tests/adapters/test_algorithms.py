"""Every algorithm: starts at zero, acts as its ΔW says, survives its file, learns; and agrees with LyCORIS."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lib_lora.adapters import NetworkSpec
from lib_lora.adapters.algorithms.glora import GLoRA
from lib_lora.adapters.base import Adapter
from lib_lora.adapters.build import adapter_from, new_adapter
from lib_lora.adapters.dora import DoRA
from lib_lora.adapters.settle import settled
from lib_lora.errors import UserError

LAYERS = {
    "linear": nn.Linear(24, 32),
    "1x1": nn.Conv2d(24, 32, 1),
    "3x3": nn.Conv2d(24, 32, 3, stride=2, padding=1),
}
SPECS = {
    "lora": NetworkSpec("lora", 2, 3.0),
    "tucker lora": NetworkSpec("lora", 2, 3.0, tucker=True),
    "loha": NetworkSpec("loha", 2, 3.0),
    "wide loha": NetworkSpec("loha", 12, 3.0),
    "tucker loha": NetworkSpec("loha", 2, 3.0, tucker=True),
    "lokr": NetworkSpec("lokr", 2, 3.0),
    "low lokr": NetworkSpec("lokr", 1, 3.0, factor=4, decompose_both=True),
    "tucker lokr": NetworkSpec("lokr", 2, 3.0, tucker=True),
    "full lokr": NetworkSpec("lokr", 2, 3.0, full_matrix=True),
    "full": NetworkSpec("full"),
    "ia3": NetworkSpec("ia3"),
    "glora": NetworkSpec("glora", 2, 3.0),
    "oft": NetworkSpec("oft", 4),
    "bounded oft": NetworkSpec("oft", 4, constraint=0.01),
    "boft": NetworkSpec("boft", 8),
    "oft of the inputs": NetworkSpec("oft_inputs", 4),
}
DORAS = {f"dora {name}": replace(SPECS[name], dora=True) for name in ("lora", "tucker lora", "loha", "lokr")}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
every_spec = pytest.mark.parametrize("spec", {**SPECS, **DORAS}.values(), ids=[*SPECS, *DORAS])


def fresh(layer: nn.Module, spec: NetworkSpec) -> Adapter:
    return new_adapter("lora_te_layer", layer, spec, torch.Generator().manual_seed(0))


def trained(layer: nn.Module, spec: NetworkSpec, seed: int = 1) -> Adapter:
    adapter, g = fresh(layer, spec), torch.Generator().manual_seed(seed)
    for parameter in adapter.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=g)
    return adapter


def layer_input(layer: nn.Module) -> torch.Tensor:
    shape = (2, 5, 24) if layer.weight.ndim == 2 else (2, 24, 7, 7)
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def applied(layer: nn.Module, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    return F.conv2d(x, weight, bias, layer.stride, layer.padding)


class Casts(TorchDispatchMode):
    """Notes the shapes of all that is cast."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[torch.Size] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.shapes.append(args[0].shape)
        return func(*args, **(kwargs or {}))


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).norm() / want.norm()).item()


@every_layer
@every_spec
def test_starts_at_zero(layer, spec):
    x = layer_input(layer)
    out = layer(x)
    assert torch.equal(fresh(layer, spec).add_delta(out, x, layer, 1.0), out)


@every_layer
@every_spec
def test_acts_as_its_delta_says(layer, spec):
    adapter, x = trained(layer, spec), layer_input(layer)
    delta = adapter.delta(layer.weight)
    change = applied(layer, x, delta.dense(), delta.bias)
    assert relative(adapter.forward_delta(x, layer), change) < 5e-6
    weights = torch.tensor([0.5, -2.0])
    want = layer(x) + weights.view(-1, *[1] * (x.ndim - 1)) * change
    assert relative(adapter.add_delta(layer(x), x, layer, weights), want) < 5e-6


@every_layer
@every_spec
def test_acts_alike_under_autocast(layer, spec):
    adapter, x = trained(layer, spec), layer_input(layer)
    want = adapter.forward_delta(x, layer)
    half = deepcopy(layer).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        got = adapter.add_delta(torch.zeros_like(half(x)), x.bfloat16(), half, 1.0)
    assert got.dtype == torch.bfloat16
    assert relative(got.float(), want) < 0.03  # OFT changes little beside what it is taken from


@every_layer
@pytest.mark.parametrize("name", ["lora", "tucker lora", "loha", "lokr", "full"])
def test_autocast_is_left_to_cast(layer, name):
    """The input, large, is cast neither up nor down again; a linear LoRA costs no cast but of its two factors."""
    adapter, x, half = trained(layer, SPECS[name]), layer_input(layer).bfloat16(), deepcopy(layer).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad(), Casts() as casts:
        adapter.add_delta(half(x), x, half, 0.5)
    assert x.shape not in casts.shapes
    if name == "lora" and x.ndim == 3:
        assert casts.shapes == [adapter.down.shape, adapter.up.t().shape]


@every_layer
@every_spec
def test_survives_its_file(layer, spec):
    adapter = trained(layer, spec)
    again = adapter_from(adapter.tensors())
    again.fit(layer.weight.shape)
    assert type(again) is type(adapter)
    assert relative(again.delta(layer.weight).dense(), adapter.delta(layer.weight).dense()) < 2e-6
    assert {k: v.shape for k, v in again.tensors().items()} == {k: v.shape for k, v in adapter.tensors().items()}


@every_layer
@every_spec
def test_every_parameter_learns(layer, spec):
    adapter, x = trained(layer, spec), layer_input(layer)
    adapter.add_delta(layer(x), x, layer, 1.0).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in adapter.parameters())


def lycoris_modules():
    from lycoris.modules.boft import ButterflyOFTModule
    from lycoris.modules.diag_oft import DiagOFTModule
    from lycoris.modules.full import FullModule
    from lycoris.modules.glora import GLoRAModule
    from lycoris.modules.ia3 import IA3Module
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule

    scaled = {"lora_dim": 2, "alpha": 3.0}
    return {
        "lora": (LoConModule, scaled),
        "tucker lora": (LoConModule, {**scaled, "use_tucker": True}),
        "dora lora": (LoConModule, {**scaled, "weight_decompose": True, "wd_on_out": False}),
        "dora lora out": (LoConModule, {**scaled, "weight_decompose": True, "wd_on_out": True}),
        "rs lora": (LoConModule, {**scaled, "rs_lora": True}),
        "loha": (LohaModule, scaled),
        "tucker loha": (LohaModule, {**scaled, "use_tucker": True}),
        "dora loha": (LohaModule, {**scaled, "weight_decompose": True, "wd_on_out": False}),
        "lokr": (LokrModule, scaled),
        "low lokr": (LokrModule, {"lora_dim": 1, "alpha": 3.0, "decompose_both": True, "factor": 4}),
        "tucker lokr": (LokrModule, {**scaled, "use_tucker": True}),
        "full lokr": (LokrModule, {**scaled, "full_matrix": True}),
        "dora lokr out": (LokrModule, {**scaled, "weight_decompose": True, "wd_on_out": True}),
        "full": (FullModule, {}),
        "ia3": (IA3Module, {}),
        "ia3 on input": (IA3Module, {"train_on_input": True}),
        "glora": (GLoRAModule, scaled),
        "oft": (DiagOFTModule, {"lora_dim": 4}),
        "bounded oft": (DiagOFTModule, {"lora_dim": 4, "constraint": 0.01, "rescaled": True}),
        "boft": (ButterflyOFTModule, {"lora_dim": 8, "rescaled": True}),
    }


@every_layer
@pytest.mark.parametrize("name", lycoris_modules())
def test_agrees_with_lycoris(layer, name):
    kind, options = lycoris_modules()[name]
    torch.manual_seed(0)
    oracle = kind("x", layer, 1.0, **options)
    for parameter in oracle.parameters():
        if parameter is not layer.weight and parameter is not layer.bias:
            parameter.data += 0.3 * torch.randn_like(parameter)
    x = layer_input(layer)
    # Its forward pass, not get_diff_weight: that one applies LoHa's scale twice and leaves DoRA out
    if name == "full":
        weight, bias = oracle.weight.detach(), oracle.bias.detach()
        tensors, want = {"diff": weight, "diff_b": bias}, layer(x) + applied(layer, x, weight, bias)
    else:
        oracle.org_forward = layer.forward
        tensors, want = oracle.custom_state_dict() or oracle.state_dict(), oracle(x)
        tensors = {k: torch.as_tensor(v).detach() for k, v in tensors.items()}
    adapter = adapter_from(tensors, layer.weight.shape)
    got = adapter.add_delta(layer(x), x, layer, 1.0)
    assert relative(got - layer(x), want - layer(x)) < 2e-5
    assert relative(applied(layer, x, *dense(adapter, layer)), want - layer(x)) < 2e-5


def dense(adapter: Adapter, layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    delta = adapter.delta(layer.weight)
    return delta.dense(), delta.bias


def test_both_layouts_of_glora():
    layer = LAYERS["linear"]
    tensors = trained(layer, SPECS["glora"]).tensors()
    swapped = {"a1.weight": "a2.weight", "a2.weight": "a1.weight", "b1.weight": "b2.weight", "b2.weight": "b1.weight"}
    old = {swapped.get(name, name): tensor for name, tensor in tensors.items()}
    adapter = adapter_from(old)
    assert isinstance(adapter, GLoRA)
    assert torch.equal(adapter.delta(layer.weight).dense(), adapter_from(tensors).delta(layer.weight).dense())
    assert adapter.tensors()["a1.weight"].shape == (24, 2)


def test_dora_is_written_in_the_portable_form():
    layer = LAYERS["3x3"]
    tensors = trained(layer, DORAS["dora lora"]).tensors()
    assert tensors["alpha"].item() == 2.0
    assert tensors["dora_scale"].shape == (1, 24, 1, 1)
    outputs = {**tensors, "dora_scale": torch.ones(32, 1, 1, 1)}
    assert adapter_from(outputs).axis == 0
    with pytest.raises(UserError, match="dora_scale"):
        adapter_from({**tensors, "dora_scale": torch.ones(7)})
    with pytest.raises(UserError, match="DoRA around full"):
        adapter_from({"diff": torch.zeros(2, 2), "dora_scale": torch.ones(2, 1)})


def test_rs_lora_is_stored_for_any_loader():
    tensors = fresh(LAYERS["linear"], replace(SPECS["lora"], rank=4, rs_lora=True)).tensors()
    assert tensors["alpha"].item() == 3.0 * 4**0.5


@pytest.mark.parametrize("shared", [False, True])
def test_oft_of_the_inputs_agrees_with_peft(shared):
    """On linear layers; PEFT's convolutions turn overlapping patches of the picture, which is no change of a weight."""
    from peft import OFTConfig, get_peft_model

    layer = LAYERS["linear"]
    config = OFTConfig(r=0, oft_block_size=4, block_share=shared, target_modules=["0"])
    model = get_peft_model(nn.Sequential(deepcopy(layer)), config).eval()
    (triangles,) = [p for name, p in model.named_parameters() if "oft_R" in name]
    triangles.data = 0.2 * torch.randn(triangles.shape, generator=torch.Generator().manual_seed(3))
    x = layer_input(layer)
    adapter = adapter_from({"oft_R.weight": triangles.detach()}, layer.weight.shape)
    with torch.no_grad():
        want = model(x) - layer(x)
        assert relative(adapter.forward_delta(x, layer), want) < 2e-5
        assert relative(applied(layer, x, *dense(adapter, layer)), want) < 2e-5


def test_oft_of_the_inputs_of_a_convolution():
    """OneTrainer turns the weight's rows, which run over channel, row and column of the kernel; Forge Neo the same."""
    layer, triangles = LAYERS["3x3"], torch.tensor([[0.3], [-0.2]]).repeat(54, 1)
    rows = layer.weight.detach().double().flatten(1)
    want = rows.clone()
    for n, angle in enumerate(triangles.flatten().tolist()):
        q = torch.tensor([[0.0, angle], [-angle, 0.0]], dtype=torch.float64)
        block = sum((2.0 * torch.matrix_power(q, k) for k in (1, 2, 3)), torch.eye(2) + torch.matrix_power(q, 4))
        want[:, 2 * n : 2 * n + 2] = rows[:, 2 * n : 2 * n + 2] @ block
    adapter = adapter_from({"oft_R.weight": triangles}, layer.weight.shape)
    assert relative(adapter.delta(layer.weight).matrix(), want - rows) < 1e-5


def test_scaled_oft_of_onetrainer_is_written_without_the_mark():
    layer, triangles = LAYERS["linear"], torch.full((6, 6), 0.1)
    marked = {"oft_R.weight": triangles * 2 * 3**0.5, "oft_R.scaled_oft": torch.tensor(True)}
    params = settled(marked)
    assert list(params) == ["oft_R.weight"] and torch.allclose(params["oft_R.weight"], triangles)
    with pytest.raises(UserError, match="made for a layer"):
        adapter_from(params, torch.Size((32, 26)))
    with pytest.raises(UserError, match="do not fit together"):
        adapter_from({"oft_R.weight": torch.zeros(3, 5)})
    assert adapter_from(params, layer.weight.shape).weight_shape == layer.weight.shape


@pytest.mark.parametrize("name", ["ia3", "glora", "oft", "boft", "dora lora", "oft of the inputs"])
def test_a_missing_base_is_named(name):
    adapter = trained(LAYERS["linear"], {**SPECS, **DORAS}[name])
    with pytest.raises(UserError, match="depends on the checkpoint"):
        adapter.delta()


def test_norms():
    for layer, x in ((nn.GroupNorm(4, 8), torch.randn(2, 8, 3, 3)), (nn.LayerNorm(8), torch.randn(2, 5, 8))):
        adapter = trained(layer, NetworkSpec())
        want = type(layer).forward(layer, x)
        with torch.no_grad():
            changed = nn.utils.stateless.functional_call(
                layer, {"weight": layer.weight + adapter.weight, "bias": layer.bias + adapter.bias}, x
            )
        assert torch.allclose(adapter.add_delta(want, x, layer, 1.0), changed, atol=1e-5)
        again = adapter_from(adapter.tensors())
        assert torch.equal(again.delta().dense(), adapter.weight)
        assert torch.equal(again.delta().bias, adapter.bias)


def test_boft_needs_a_power_of_two():
    with pytest.raises(UserError, match="power of two"):
        fresh(nn.Linear(4, 27), NetworkSpec("boft", 8))


def test_dora_only_wraps_factored_algorithms():
    with pytest.raises(UserError, match="cannot be combined"):
        NetworkSpec("oft", dora=True)
    assert isinstance(fresh(LAYERS["linear"], DORAS["dora loha"]), DoRA)
