from __future__ import annotations

import pytest
import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from torch import nn

from lib_lora.adapters.algorithms import algorithms
from lib_lora.adapters.file import LoraFile, read_lora, to_delta, write_lora
from lib_lora.adapters.loaders import applied_by, kinds_of
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.errors import UserError
from lib_lora.tools.convert import PROGRAMS, convert, merge_for, precision_of
from lib_lora.tools.merge import Reduction

SPECS = {
    **{name: NetworkSpec(algorithm=name, rank=2, conv_rank=2) for name in algorithms() if name != "norm"},
    "dora": NetworkSpec(rank=2, conv_rank=2, dora=True),
    "tucker": NetworkSpec(rank=2, conv_rank=2, tucker=True),
}
PLACES = [
    *(f"down_blocks_{block}_{{}}_{layer}" for block in range(3) for layer in range(2)),
    *(f"up_blocks_{block}_{{}}_0" for block in range(1, 4)),
    "up_blocks_1_{}_1",
    "mid_block_{}_0",
]
NORM = "lora_unet_mid_block_attentions_0_norm"


@pytest.fixture
def mixed(tmp_path) -> tuple[LoraFile, dict[str, torch.Tensor]]:
    """A file with two layers of every kind, and the weights that they act on."""
    torch.manual_seed(0)
    modules, base = {}, {}
    for number, (place, spec) in enumerate(zip(PLACES, SPECS.values(), strict=True)):
        layers = {
            f"lora_unet_{place.format('attentions')}_transformer_blocks_0_attn1_to_k": nn.Linear(8, 8),
            f"lora_unet_{place.format('resnets')}_conv1": nn.Conv2d(8, 8, 3),
        }
        if spec.algorithm == "ia3":
            layers.popitem()  # it has no 3×3 convolutions
        network = Network.create(layers, spec, seed=number)
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
        modules |= network.modules()
        base |= {key: layer.weight.detach() for key, layer in layers.items()}
    modules[NORM] = {"w_norm": torch.ones(8), "b_norm": torch.ones(8)}
    path = write_lora(tmp_path / "mixed.safetensors", modules, {}, torch.float32)
    return read_lora(path), base


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_gets_what_it_applies_and_the_same_changes(mixed, tmp_path, program: str) -> None:
    file, base = mixed
    assert not file.remarks, "what alpha is to OFT is no scale"
    made = convert(file, program, base=lambda: base)
    saved = read_lora(made.save(tmp_path / "new.safetensors", precision_of(file)))
    applied = frozenset.intersection(*(applied_by(name) for name in PROGRAMS[program].loaders))
    assert kinds_of(saved.modules) <= applied < kinds_of(file.modules)
    assert set(file.modules) - set(saved.modules) == ({NORM} if program == "diffusers" else set())
    for key in set(saved.modules) - {NORM}:
        before, after = (to_delta(of.modules[key], base[key]).dense() for of in (file, saved))
        assert (before - after).norm() <= 1e-6 * before.norm(), key
        if program != "diffusers" and not kinds_of({key: file.modules[key]}) - applied:
            assert all(torch.equal(tensor, file.modules[key][name]) for name, tensor in saved.modules[key].items())
    assert made.report.total_error <= 1e-6 and "became LoRA" in made.report.remarks[0]
    if program == "diffusers":
        state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(str(tmp_path / "new.safetensors"))
        assert not alphas and len(state) == 2 * len(saved.modules)
        assert all(name.startswith("unet.") and ".lora_" in name for name in state)


def test_a_merge_for_a_program_keeps_what_it_lost_and_its_names(mixed, tmp_path) -> None:
    _, base = mixed
    options = {"base": lambda: base}
    for_comfy = merge_for("comfyui", "mixed:1", tmp_path, **options)
    assert "dora" in kinds_of(for_comfy.modules), "one file as it is keeps what the program applies"
    assert kinds_of(merge_for("", "mixed:1", tmp_path, **options).modules) == {"lora", "full", "norm"}
    half = merge_for("diffusers", "mixed:0.5", tmp_path, Reduction(rank=1), **options)
    plain = merge_for("", "mixed:0.5", tmp_path, Reduction(rank=1), **options)
    assert half.report.total_error == plain.report.total_error > 0.01
    saved = read_lora(half.save(tmp_path / "half.safetensors", torch.float32))
    assert kinds_of(saved.modules) == {"lora"} and NORM not in saved.modules
    with pytest.raises(UserError, match="cannot replace"):
        half.save(tmp_path / "mixed.safetensors", overwrite=True)


def test_a_smaller_rank_has_an_error_and_missing_weights_are_told(mixed) -> None:
    file, base = mixed
    assert 0.01 < convert(file, "diffusers", rank=1, base=lambda: base).report.total_error < 1
    with pytest.raises(UserError, match="depends on the checkpoint"):
        convert(file, "comfyui")
    with pytest.raises(UserError, match="Unknown program"):
        convert(file, "paint")
