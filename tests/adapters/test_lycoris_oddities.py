"""Where LyCORIS disagrees with itself, or with the web UIs; docs/lycoris.md says what we do instead."""

from __future__ import annotations

import torch
from torch import nn

from lib_lora.adapters.build import adapter_from

LAYER = nn.Linear(24, 32)
X = torch.randn(3, 24, generator=torch.Generator().manual_seed(2))
SCALED = {"lora_dim": 2, "alpha": 3.0}


def lycoris(kind, multiplier=1.0, **options):
    """A LyCORIS module with random values, and our adapter of its file."""
    torch.manual_seed(0)
    module = kind("x", LAYER, multiplier, **options)
    for parameter in module.parameters():
        if parameter is not LAYER.weight and parameter is not LAYER.bias:
            parameter.data += 0.3 * torch.randn_like(parameter)
    module.org_forward = LAYER.forward
    tensors = module.custom_state_dict() or module.state_dict()
    return module, adapter_from({k: torch.as_tensor(v).detach() for k, v in tensors.items()}, LAYER.weight.shape)


def difference(module) -> torch.Tensor:
    return module.get_diff_weight(1.0)[0].detach()


def change(module) -> torch.Tensor:
    return (module(X) - LAYER(X)).detach()


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return ((a - b).norm() <= 1e-4 * b.norm()).item()


def test_difference_of_loha_and_lokr_is_scaled_twice():
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule

    for kind in (LohaModule, LokrModule):
        module, ours = lycoris(kind, **SCALED)
        true = ours.delta().dense()
        assert close(change(module), X @ true.T)
        assert close(difference(module), 1.5 * true)


def test_difference_of_dora_leaves_dora_out():
    from lycoris.modules.locon import LoConModule

    module, ours = lycoris(LoConModule, weight_decompose=True, wd_on_out=False, **SCALED)
    assert close(change(module), X @ ours.delta(LAYER.weight.detach()).dense().T)
    assert close(difference(module), ours.inner.delta().dense())


def test_multiplier_of_dora_and_boft_is_not_linear():
    from lycoris.modules.boft import ButterflyOFTModule
    from lycoris.modules.locon import LoConModule

    dora = (LoConModule, {"weight_decompose": True, "wd_on_out": False, **SCALED})
    for kind, options in (dora, (ButterflyOFTModule, {"lora_dim": 8})):
        whole, half = (change(lycoris(kind, weight, **options)[0]) for weight in (1.0, 0.5))
        assert not close(half, 0.5 * whole)
        ours = lycoris(kind, **options)[1]
        assert close((ours.add_delta(LAYER(X), X, LAYER, 0.5) - LAYER(X)).detach(), 0.5 * whole)


def test_alpha_of_a_full_lokr_means_nothing():
    from lycoris.modules.lokr import LokrModule

    module, ours = lycoris(LokrModule, full_matrix=True, **SCALED)
    tensors = ours.tensors()
    for alpha in (0.5, 2.0, 7.0):
        again = adapter_from({**tensors, "alpha": torch.tensor(alpha)}, LAYER.weight.shape)
        assert close(X @ again.delta().dense().T, change(module))
