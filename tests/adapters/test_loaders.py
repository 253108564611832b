from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from torch import nn

from lib_lora.adapters.algorithms import algorithms
from lib_lora.adapters.file import write_lora
from lib_lora.adapters.loaders import kinds, kinds_of, kinds_of_spec, limits, limits_elsewhere, limits_of
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec

LAYERS = {
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": nn.Linear(8, 8),
    "lora_unet_mid_block_resnets_0_conv1": nn.Conv2d(8, 8, 3),
}
SPECS = [NetworkSpec(algorithm=name, rank=2, conv_rank=2) for name in algorithms() if name != "norm"] + [
    NetworkSpec(rank=2, conv_rank=2, dora=True),
    NetworkSpec(rank=2, conv_rank=2, tucker=True),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "+".join(sorted(kinds_of_spec(spec))))
def test_settings_and_their_file_are_of_the_same_kinds(spec: NetworkSpec) -> None:
    assert kinds_of(Network.create(LAYERS, spec, seed=0).modules()) == kinds_of_spec(spec) <= kinds().keys()


def test_what_every_program_applies_needs_no_word() -> None:
    assert limits({"lora"}) == [] and limits_elsewhere({"lora"}) == ""
    assert set(algorithms()) <= kinds().keys()


def test_each_program_says_what_it_does_otherwise() -> None:
    programs = ("AUTOMATIC1111", "Forge", "ComfyUI")
    a1111, forge, comfy = (list(limits_of(program, {"glora", "ia3", "boft", "oft"})) for program in programs)
    assert [text.split()[3].rstrip(",") for text in a1111] == ["GLoRA", "the"]
    assert forge == ["Forge does not apply IA3, OFT, BOFT"]
    assert comfy[0] == "ComfyUI does not apply IA3" and len(comfy) == 3


def test_text_encoders_norms_find_no_place_in_some_programs() -> None:
    norm = {"w_norm": torch.zeros(8), "b_norm": torch.zeros(8)}
    of_unet = kinds_of({"lora_unet_mid_block_attentions_0_norm": norm})
    of_text = kinds_of({"lora_te_text_model_encoder_layers_0_layer_norm1": norm})
    assert list(limits_of("ComfyUI", of_unet)) == []
    assert limits(of_text) == [
        f"{program} does not apply the text encoders' normalisation layers" for program in ("Forge", "ComfyUI")
    ]
    trained = NetworkSpec(rank=2, train_norm=True)
    assert limits(kinds_of_spec(trained)) and not limits(kinds_of_spec(replace(trained, train_text_encoder=False)))


def test_what_only_other_programs_lack_is_told_apart() -> None:
    assert limits({"lokr", "lora", "dora"}) == []
    assert limits_elsewhere({"lora", "dora"}) == "sd-scripts and diffusers do not apply the magnitudes of DoRA"
    assert "do not apply LoHa, the magnitudes of DoRA; diffusers" in limits_elsewhere({"loha", "dora"})


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "+".join(sorted(kinds_of_spec(spec))))
def test_what_diffusers_refuses(tmp_path, spec: NetworkSpec) -> None:
    path = write_lora(tmp_path / "a.safetensors", Network.create(LAYERS, spec, 0).modules(), {})
    refuses = False
    try:
        StableDiffusionLoraLoaderMixin.lora_state_dict(str(path))
    except ValueError:
        refuses = True
    assert refuses == ("refuses the whole file" in limits_elsewhere(kinds_of_spec(spec)))
