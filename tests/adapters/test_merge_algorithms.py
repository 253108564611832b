"""Merges of every ordered pair of algorithms against dense float64 sums."""

from __future__ import annotations

import itertools
import zlib

import pytest
import torch
from torch import Tensor, nn

from lib_lora.adapters import LoraFile, Network, NetworkSpec, blocks
from lib_lora.adapters.base_weights import LayerWeights
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.adapters.file import to_delta
from lib_lora.adapters.merge import combine
from lib_lora.adapters.merged import BIAS_WARNING
from lib_lora.errors import UserError

WEIGHTS = (-1.0, -0.5, 0.0, 0.3, 1.0, 2.0)
BLOCKS = BlockWeights.read([1.0, 0.5] + [-2.0] * 15)  # BASE, IN01, the rest
SPECS = {
    "lora": NetworkSpec("lora", 3, 1.5, conv_rank=2),
    "tucker": NetworkSpec("lora", 2, 4.0, conv_rank=3, tucker=True, rs_lora=True),
    "loha": NetworkSpec("loha", 2, 1.0, layers="attention+mlp+conv"),
    "lokr": NetworkSpec("lokr", 2, 3.0, layers="attention+mlp+conv", factor=2),
    "full lokr": NetworkSpec("lokr", 2, 3.0, full_matrix=True),
    "full": NetworkSpec("full", layers="attention+mlp+conv"),
    "norm": NetworkSpec("lora", 1, 1.0, layers="attn1|norm", train_norm=True),
    "ia3": NetworkSpec("ia3"),
    "glora": NetworkSpec("glora", 2, 3.0, layers="attention+mlp+conv"),
    "oft": NetworkSpec("oft", 4, layers="attention+mlp+conv"),
    "boft": NetworkSpec("boft", 6, layers="attention"),
    "dora": NetworkSpec("lora", 2, 3.0, layers="attention+mlp+conv", dora=True),
    "dora loha": NetworkSpec("loha", 2, 3.0, dora=True),
}


@pytest.fixture(scope="module")
def layers() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj": nn.Linear(6, 12),
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": nn.Linear(8, 8, bias=False),
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_norm1": nn.LayerNorm(8),
        "lora_unet_mid_block_resnets_0_conv1": nn.Conv2d(8, 12, 3, padding=1),
        "lora_unet_up_blocks_1_attentions_0_proj_in": nn.Conv2d(8, 8, 1),
    }


@pytest.fixture(scope="module")
def files(layers) -> dict[str, LoraFile]:
    result = {}
    for name, spec in SPECS.items():
        g = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        network = Network.create(layers, spec, 0)
        for parameter in network.parameters():
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=g)
        result[name] = LoraFile(None, {}, network.modules())
    return result


@pytest.fixture(scope="module")
def exact(files, layers) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """(file, layer) -> ΔW as a matrix and the change of the bias, float64."""
    result = {}
    for name, file in files.items():
        for key, params in file.modules.items():
            doubled = {n: t.double() for n, t in params.items()}
            delta = to_delta(doubled, layers[key].weight.detach().double())
            bias = torch.zeros(len(layers[key].weight)) if delta.bias is None else delta.bias
            result[name, key] = (delta.matrix().double(), bias.double())
    return result


def close(got: Tensor, terms: list[Tensor]) -> bool:
    """Within 1e-6 of the sum, relative to the terms: what cancels has lost its digits before the merge."""
    scale = max(term.norm() for term in terms)
    return bool((got.double() - sum(terms)).norm() <= 1e-6 * scale + 1e-30)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(SPECS, SPECS)))
def test_every_pair(files, layers, exact, first, second):
    base = LayerWeights(layers)
    pair = zlib.crc32(f"{first}{second}".encode())
    combinations = [(WEIGHTS[(pair + i) % 6], WEIGHTS[(pair // 6 + 5 * i + i // 2) % 6]) for i in range(3)]
    for wa, wb in {(1.0, -1.0), *combinations} - {(0.0, 0.0)}:
        merged = combine([(files[first], wa, BLOCKS), (files[second], wb, None)], base=base)
        for key in files[first].modules.keys() | files[second].modules.keys():
            parts = []
            for name, weight in ((first, wa * BLOCKS[blocks.block_of(key)]), (second, wb)):
                if weight and key in files[name].modules:
                    parts.append([weight * t for t in exact[name, key]])
            assert (key in merged.modules) == bool(parts)
            if parts:
                delta = to_delta(merged.modules[key])
                assert close(delta.matrix(), [p[0] for p in parts]), key
                bias = torch.zeros(1) if delta.bias is None else delta.bias
                assert close(bias + torch.zeros_like(parts[0][1]), [p[1] for p in parts]), key


def test_merged_layers_have_their_kernel(files, layers):
    merged = combine([(files["loha"], 1.0, None)])
    assert merged.modules["lora_unet_mid_block_resnets_0_conv1"]["lora_down.weight"].shape[1:] == (8, 3, 3)
    network = Network.from_file(merged.file())
    with network.attached_to(layers):
        assert len(network.adapters) == 4


@pytest.mark.parametrize("name", ["loha", "lokr", "full", "oft", "dora"])
@pytest.mark.parametrize("limits", [{"rank": 2}, {"energy": 0.9}, {"rank": 3, "energy": 0.8}])
def test_conversion_to_lora_is_optimal(files, layers, exact, name, limits):
    merged = combine([(files[name], 1.0, None)], base=LayerWeights(layers), **limits)
    for key, params in merged.modules.items():
        want = exact[name, key][0]
        values = torch.linalg.svdvals(want)
        kept = params["lora_down.weight"].shape[0]
        best = values[kept:].norm() / values.norm()
        error = (to_delta(params).matrix().double() - want).norm() / values.norm()
        assert error.item() == pytest.approx(best.item(), abs=1e-6)
        assert merged.report.per_layer[key] == pytest.approx(best.item(), abs=1e-6)
        assert kept <= limits.get("rank", kept)
        share = 1 - (values[kept:].norm() / values.norm()) ** 2
        if kept < limits.get("rank", 99) and "energy" in limits:
            before = 1 - (values[kept - 1 :].norm() / values.norm()) ** 2
            assert share >= limits["energy"] - 1e-9 > before - 1e-6


def test_what_needs_a_base_is_refused_by_name(files):
    for name in ("ia3", "glora", "oft", "boft", "dora"):
        with pytest.raises(UserError, match=r"depends on the checkpoint.*layer lora_"):
            combine([(files[name], 1.0, None)])
        with pytest.raises(UserError, match="Nothing is left"):
            combine([(files[name], 1.0, [0.0] * 17)])


def test_biases_beside_a_lora_are_told(files):
    merged = combine([(files["full"], 1.0, None)], rank=1)
    assert merged.report.warnings == [BIAS_WARNING]
    assert "diff_b" in merged.modules["lora_unet_mid_block_resnets_0_conv1"]


def test_wrong_limits_are_named(files):
    with pytest.raises(UserError, match="between 0 and 1"):
        combine([(files["lora"], 1.0, None)], energy=1.5)
