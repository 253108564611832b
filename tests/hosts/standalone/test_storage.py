from __future__ import annotations

import pytest
import torch
from torch import nn

from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.hosts.standalone.checkpoint import load_checkpoint
from lib_lora.hosts.standalone.storage import FP8, PACKINGS, stored
from lib_lora.models.borrowed import FetchedForward
from lib_lora.models.weights import fetch_weight, how_stored

CPU = torch.device("cpu")
NOISY, T = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)), torch.tensor([400, 700])
ATTACHED = {
    "locon": NetworkSpec(rank=2, conv_rank=2),
    "dora": NetworkSpec(rank=2, dora=True),
    "norm": NetworkSpec(rank=2, train_norm=True),
    **{name: NetworkSpec(algorithm=name, rank=4) for name in ("glora", "ia3", "oft")},
}  # fmt: skip


@pytest.fixture
def model(tiny_checkpoint):
    torch.set_num_threads(1)
    model = load_checkpoint(tiny_checkpoint)
    model.unet.requires_grad_(False)
    return model


def weights(model) -> list[nn.Parameter]:
    return [layer.weight for layer in model.layers("unet").values() if layer.weight.ndim > 1]


def loss_and_gradients(model, spec: NetworkSpec) -> tuple[float, torch.Tensor]:
    cond = model.encode_text(["a", "b"]).detach()
    network = Network.create(model.layers("unet"), spec, seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    with network.attached_to(model.layers("unet")):
        loss = model.predict(NOISY, T, cond).square().mean()
        loss.backward()
    found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    return loss.item(), torch.cat(found)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", ATTACHED)
def test_every_kind_of_adapter_learns_as_on_the_rounded_weights(model, name, packing):
    with model.stored(packing):
        loss, gradients = loss_and_gradients(model, ATTACHED[name])
        rounded = {key: fetch_weight(layer, torch.float32, CPU) for key, layer in model.layers("unet").items()}
    for key, layer in model.layers("unet").items():
        layer.weight.data = rounded[key].clone()
    wanted, theirs = loss_and_gradients(model, ATTACHED[name])
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert (gradients - theirs).norm() <= 1e-4 * theirs.norm()


def test_half_of_the_memory_of_half_precision(tiny_checkpoint):
    half = load_checkpoint(tiny_checkpoint, dtype=torch.float16)

    def stored() -> int:
        return sum(w.untyped_storage().nbytes() for w in weights(half))

    before = stored()
    with half.stored("fp8"):
        assert {w.dtype for w in weights(half)} == {FP8} and half.dtype == torch.float16
        assert stored() == before / 2
    assert stored() == before


@pytest.mark.parametrize("how", [("fp8", 0), ("nf4", 0.3), ("", 1)])
def test_the_weights_come_back_bit_by_bit_even_after_a_failure(model, how):
    before = {name: p.clone() for name, p in model.unet.named_parameters()}
    parameters = list(model.unet.parameters())
    plain = model.predict(NOISY, T, model.encode_text(["a", "b"])).detach()
    with pytest.raises(RuntimeError, match="boom"), model.stored(*how):
        assert bool(how[0]) != torch.equal(model.predict(NOISY, T, model.encode_text(["a", "b"])), plain)
        raise RuntimeError("boom")
    assert all(a is b for a, b in zip(model.unet.parameters(), parameters, strict=True))
    assert all(torch.equal(p, before[name]) and p.dtype == torch.float32 for name, p in model.unet.named_parameters())
    assert not any("forward" in vars(m) for m in model.unet.modules())
    assert torch.equal(model.predict(NOISY, T, model.encode_text(["a", "b"])), plain)


@pytest.mark.parametrize(
    "layer", [nn.Linear(6, 5), nn.Conv2d(6, 5, 3, stride=2, padding=1), nn.Conv2d(6, 5, 1, bias=False)]
)
def test_gradients_are_those_of_the_rounded_weight(layer):
    layer.requires_grad_(False)
    shape = (4, 6) if layer.weight.ndim == 2 else (4, 6, 7, 7)
    x = torch.randn(shape, dtype=torch.float64).float().requires_grad_()
    with stored([layer], CPU, "fp8"):
        y = layer(x)
        (found,) = torch.autograd.grad(y.square().sum(), x)
    layer.weight.data = layer.weight.data.to(FP8).float()
    torch.testing.assert_close(y, layer(x))
    (wanted,) = torch.autograd.grad(layer(x).square().sum(), x)
    torch.testing.assert_close(found, wanted)


def test_nothing_wide_is_kept_for_the_backward_pass():
    kept: list[torch.dtype] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.dtype)
        return tensor

    x = torch.randn(1, 8, requires_grad=True)
    layer = nn.Linear(8, 8).requires_grad_(False)
    with stored([layer], CPU, "fp8"), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    assert kept == []


def test_what_fp8_cannot_hold_stays_as_it_is():
    layer = nn.Linear(2, 2)
    layer.weight.data[0, 0] = 500
    with stored([layer, nn.LayerNorm(2)], CPU, "fp8"):
        assert layer.weight.dtype == torch.float32


def test_the_largest_layers_wait_in_main_memory_and_change_nothing(model):
    plain = loss_and_gradients(model, ATTACHED["locon"])
    sizes = sorted((w.numel() for w in weights(model)), reverse=True)
    for share in (0.4, 1.0):
        with model.stored(away=share):
            away = [w for w in weights(model) if isinstance(vars_of(model, w), FetchedForward)]
            assert sum(w.numel() for w in away) >= share * sum(sizes)
            assert sorted((w.numel() for w in away), reverse=True) == sizes[: len(away)]
            loss, gradients = loss_and_gradients(model, ATTACHED["locon"])
        assert loss == plain[0] and torch.equal(gradients, plain[1])


def test_how_the_base_is_held_is_said_in_a_sentence(model):
    layers = model.layers("unet")
    assert how_stored(layers.values()) == ""
    with model.stored("nf4"):
        assert how_stored(layers.values()) == "The base model is packed as nf4"


def vars_of(model, weight):
    """The ``forward`` that stands before the layer of ``weight``."""
    return next(vars(layer).get("forward") for layer in model.layers("unet").values() if layer.weight is weight)
