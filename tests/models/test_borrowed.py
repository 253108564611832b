from __future__ import annotations

import copy

import bitsandbytes
import pytest
import torch
from bitsandbytes.functional import quantize_4bit
from torch import nn

from lib_lora.models.borrowed import borrowed, borrowing
from lib_lora.models.weights import fetch_weight, storage_of, weight_shape

LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (4, 3, 6)),
    "without bias": (lambda: nn.Linear(6, 5, bias=False), (4, 6)),
    "conv": (lambda: nn.Conv2d(6, 5, 3, stride=2, padding=1), (2, 6, 7, 9)),
    "dilated": (lambda: nn.Conv2d(6, 4, 3, dilation=2, padding=2, groups=2), (2, 6, 8, 8)),
    "1x1": (lambda: nn.Conv2d(6, 5, 1), (2, 6, 4, 4)),
    "layer norm": (lambda: nn.LayerNorm(6), (4, 6)),
    "group norm": (lambda: nn.GroupNorm(3, 6), (2, 6, 4, 4)),
}  # fmt: skip


def made(name: str, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(seed)
    make, shape = LAYERS[name]
    layer = make().requires_grad_(False)
    for parameter in layer.parameters():
        parameter.normal_()
    return layer, torch.randn(shape)


def output_and_gradient(layer: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    (found,) = torch.autograd.grad(y.square().sum(), x)
    return y.detach(), found


def kept(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        found.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x.clone().requires_grad_())
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_output_and_gradient_are_autograds_own_to_the_bit(name):
    layer, x = made(name)
    wanted = output_and_gradient(layer, x)
    with borrowing([layer], always=True):
        found = output_and_gradient(layer, x)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("name", LAYERS)
def test_weights_made_in_inference_mode_need_no_copy(name):
    layer, x = made(name)
    wanted = output_and_gradient(layer, x)
    with torch.inference_mode():
        theirs = copy.deepcopy(layer)
        for parameter in theirs.parameters():
            parameter.data = parameter.data.clone()
        for where in theirs._parameters:
            if theirs._parameters[where] is not None:
                theirs._parameters[where] = nn.Parameter(theirs._parameters[where].clone(), requires_grad=False)
    before = dict(theirs._parameters)
    with borrowing([theirs]):
        found = output_and_gradient(theirs, x)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert all(theirs._parameters[name] is parameter for name, parameter in before.items())


@pytest.mark.parametrize("name", ["linear", "conv"])
def test_autograd_keeps_no_base_weight(name):
    layer, x = made(name)
    assert any(t.numel() == layer.weight.numel() for t in kept(layer, x))
    with borrowing([layer], always=True):
        assert kept(layer, x) == []


def test_a_weight_that_costs_nothing_to_keep_is_left_to_autograd():
    layer, x = made("linear")
    with borrowing([layer]):
        assert any(t.data_ptr() == layer.weight.data_ptr() for t in kept(layer, x))


def test_a_wide_copy_of_a_narrow_weight_is_not_kept():
    layer, x = made("linear")
    own = type("Linear", (nn.Linear,), {"forward": lambda self, x: nn.functional.linear(
        x, self.weight.to(x.dtype), self.bias.to(x.dtype))})  # fmt: skip
    layer.half().__class__ = own
    assert any(t.numel() == layer.weight.numel() for t in kept(layer, x))
    with borrowing([layer]):
        assert kept(layer, x) == []


@pytest.mark.parametrize("name", ["linear", "conv", "layer norm"])
def test_under_autocast_types_are_those_of_autograd(name):
    layer, x = made(name)
    with torch.autocast("cpu", torch.bfloat16):
        wanted = output_and_gradient(layer, x)
        with borrowing([layer], always=True):
            found = output_and_gradient(layer, x)
    assert [t.dtype for t in found] == [t.dtype for t in wanted]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)


# how weights may be stored, as the web UIs have them


class Gguf(nn.Parameter):
    """What Forge's ``ParameterGGUF`` is to others: packed data, and a class that unpacks it."""

    def __new__(cls, data, shape, unpack):
        self = super().__new__(cls, data, requires_grad=False)
        self._shape, self.gguf_cls = shape, type("Quant", (), {"dequantize_pytorch": staticmethod(unpack)})
        return self

    shape = property(lambda self: self._shape)

    def to(self, *args, **kwargs):
        return Gguf(self.data.to(*args, **kwargs), self._shape, self.gguf_cls.dequantize_pytorch)


def as_gguf(layer):
    scale = layer.weight.abs().amax() / 127
    data = (layer.weight / scale).round().to(torch.int8).flatten().view(torch.uint8)
    shape = layer.weight.shape
    unpacked = lambda p: p.data.view(torch.int8).float().view(shape) * scale  # noqa: E731
    layer._parameters["weight"] = Gguf(data, shape, unpacked)
    return unpacked(layer.weight)


def as_4bit(layer, kind="nf4"):
    data, state = quantize_4bit(layer.weight.data, quant_type=kind, blocksize=64)
    parameter = bitsandbytes.nn.Params4bit(data, requires_grad=False, quant_state=state, bnb_quantized=True)
    layer._parameters["weight"] = parameter
    return bitsandbytes.functional.dequantize_4bit(data, state)


def as_fp8(layer):
    layer.weight.data = layer.weight.data.to(torch.float8_e4m3fn)
    return layer.weight.float()


def as_scaled_fp8(layer):
    layer.scale_weight = torch.tensor(0.25)
    layer.weight.data = (layer.weight.data * 4).to(torch.float8_e4m3fn)
    return layer.weight.float() * 0.25


class Quantized(torch.Tensor):
    """Reports the type it had, as comfy_kitchen's ``QuantizedTensor``."""

    @staticmethod
    def __new__(cls, codes, scale):
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32, requires_grad=False)

    def __init__(self, codes, scale):
        self._qdata, self.scale = codes, scale

    def dequantize(self):
        return self._qdata.float() * self.scale

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        if operation in (torch.ops.aten.detach.default, torch.ops.aten._to_copy.default):
            return cls(args[0]._qdata, args[0].scale)
        raise RuntimeError(f"{operation} on a packed weight")


def as_quantized(layer):
    scale = layer.weight.abs().amax() / 127
    layer._parameters["weight"] = nn.Parameter(
        Quantized((layer.weight / scale).round().to(torch.int8), scale), requires_grad=False
    )
    return layer.weight.dequantize()


def as_int8(layer):
    scales = layer.weight.abs().amax(dim=1)
    layer.weight.data = (layer.weight / scales[:, None] * 127).round()
    wide = layer.weight * scales[:, None] / 127
    layer._parameters["weight"] = nn.Parameter(layer.weight.to(torch.int8), requires_grad=False)
    layer.weight.CB, layer.weight.SCB = layer.weight.data, scales
    return wide


class Unknown(nn.Linear):
    """Stores its weight backwards, as nobody else does."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight.view(torch.float32).flip(0), self.bias)


def as_unknown(layer):
    wide = layer.weight.data.clone()
    layer._parameters["weight"] = nn.Parameter(wide.flip(0).view(torch.int32), requires_grad=False)
    layer.__class__ = Unknown
    return wide


STORED = {"GGUF": as_gguf, "nf4": as_4bit, "fp4": lambda layer: as_4bit(layer, "fp4"), "fp8": as_fp8,
          "scaled fp8": as_scaled_fp8, "quantized": as_quantized, "int8": as_int8, "unknown": as_unknown}  # fmt: skip


@pytest.mark.parametrize("how", STORED)
def test_gradients_through_packed_weights_are_those_of_the_unpacked_ones(how):
    torch.manual_seed(1)
    layer, x = nn.Linear(64, 32).requires_grad_(False), torch.randn(3, 64)
    wide = STORED[how](layer)
    plain = nn.Linear(64, 32).requires_grad_(False)
    plain.weight.data, plain.bias.data = wide.clone(), layer.bias.data
    if how != "unknown":  # a host's own forward, which keeps nothing of what it unpacks
        layer.__class__ = type("Linear", (nn.Linear,), {"forward": lambda self, x: nn.functional.linear(
            x, fetch_weight(self, x.dtype, x.device), self.bias)})  # fmt: skip
    assert weight_shape(layer) == (32, 64) and storage_of(layer) != "plain"
    wanted = output_and_gradient(plain, x)
    with borrowing([layer]):
        found = output_and_gradient(layer, x)
        assert kept(layer, x) == []
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_fetched_twice_and_never_in_between():
    layer, x = made("linear")
    fetched: list[torch.dtype] = []

    def fetch(dtype, device):
        fetched.append(dtype)
        return layer.weight.to(device, dtype)

    x.requires_grad_()
    y = borrowed(x, fetch, bias=layer.bias)
    assert len(fetched) == 1 and torch.equal(y, layer(x))
    y.sum().backward()
    assert len(fetched) == 2
