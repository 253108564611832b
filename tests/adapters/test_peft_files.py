"""What PEFT and diffusers save, against their own ΔW: scales beside the file, adapters' names, other algorithms."""

from __future__ import annotations

import json
from copy import deepcopy

import peft
import pytest
import safetensors.torch
import torch
from torch import nn

from lib_lora.adapters import read_lora
from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.file import open_lora
from lib_lora.adapters.layers import outline
from lib_lora.errors import UserError

BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
QUERY, VALUE, CONV = f"{BLOCK}.attn1.to_q", f"{BLOCK}.attn1.to_v", "down_blocks.0.resnets.0.conv1"
SIZES = {QUERY: (24, 16), VALUE: (24, 16), CONV: (12, 8, 3, 3)}


def model() -> nn.Module:
    """Three layers at their places in a U-Net."""
    torch.manual_seed(0)
    root = nn.Module()
    for path, shape in SIZES.items():
        *parents, name = path.split(".")
        node = root
        for parent in parents:
            if not hasattr(node, parent):
                node.add_module(parent, nn.Module())
            node = getattr(node, parent)
        layer = nn.Linear(shape[1], shape[0]) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], 3)
        node.add_module(name, layer)
    return root


def randomised(config: peft.PeftConfig) -> tuple[peft.PeftModel, dict[str, torch.Tensor]]:
    """A model with a random adapter; and what each layer's weight changes by."""
    adapted = peft.get_peft_model(model(), config)
    for i, (name, parameter) in enumerate(adapted.named_parameters()):
        if "lora_" in name or "hada_" in name or "lokr_" in name:
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i))
            parameter.data = parameter.data + 0.3 * noise if "magnitude" in name else 0.3 * noise
    return adapted, changes(adapted)


def changes(adapted: peft.PeftModel) -> dict[str, torch.Tensor]:
    merged = deepcopy(adapted).merge_and_unload()
    return {name: weight_of(merged, name) - weight_of(model(), name) for name in SIZES}


def weight_of(root: nn.Module, name: str) -> torch.Tensor:
    return root.get_submodule(name).weight.detach()


def ours(path) -> dict[str, torch.Tensor]:
    file = read_lora(path)
    assert file.left_out == {} and file.unplaced == {}
    lazy = open_lora(path)
    found = {}
    for name, shape in SIZES.items():
        key = "lora_unet_" + name.replace(".", "_")
        if key in file.modules:
            assert {n: t.shape for n, t in outline(lazy.modules)[key].items()} == {
                n: t.shape for n, t in file.modules[key].items()
            }
            assert all(torch.equal(t, lazy.modules[key][n]) for n, t in file.modules[key].items())
            adapter = adapter_from(file.modules[key])
            adapter.fit(torch.Size(shape))
            found[name] = adapter.delta(weight_of(model(), name)).dense().float()
    return found


def same(found: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> None:
    assert found.keys() == want.keys()
    for name, change in want.items():
        assert ((found[name] - change).norm() <= 2e-6 * change.norm() + 1e-6).item(), name


TARGETS = {"target_modules": ["to_q", "to_v", "conv1"]}
CONFIGS = {
    "alpha": peft.LoraConfig(r=4, lora_alpha=6, **TARGETS),
    "rs-LoRA": peft.LoraConfig(r=4, lora_alpha=6, use_rslora=True, **TARGETS),
    "patterns": peft.LoraConfig(
        r=4, lora_alpha=6, alpha_pattern={"attn1.to_q": 1, r".*\.conv\d": 9}, rank_pattern={"to_v": 2}, **TARGETS
    ),
    "bias of the up projection": peft.LoraConfig(r=4, lora_alpha=6, lora_bias=True, **TARGETS),
    "DoRA": peft.LoraConfig(r=4, lora_alpha=6, use_dora=True, **TARGETS),
    "LoHa": peft.LoHaConfig(r=3, alpha=5, alpha_pattern={"to_v": 2}, **TARGETS),
    "LoHa with cores": peft.LoHaConfig(r=3, alpha=5, use_effective_conv2d=True, **TARGETS),
    "LoKr": peft.LoKrConfig(r=2, alpha=5, decompose_factor=4, **TARGETS),
    "LoKr of two low ranks": peft.LoKrConfig(r=1, alpha=5, decompose_both=True, decompose_factor=4, **TARGETS),
    "LoKr of full matrices": peft.LoKrConfig(r=64, alpha=16, alpha_pattern={"to_v": 32}, **TARGETS),
    "LoKr with cores": peft.LoKrConfig(r=2, alpha=5, use_effective_conv2d=True, decompose_factor=4, **TARGETS),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_folder_that_peft_saved(tmp_path, config):
    adapted, want = randomised(config)
    adapted.save_pretrained(tmp_path)
    same(ours(tmp_path), want)
    same(ours(tmp_path / "adapter_model.safetensors"), want)


@pytest.mark.parametrize("name", ["LoHa", "LoKr", "patterns", "DoRA"])
def test_the_adapters_name_in_the_middle(tmp_path, name):
    adapted, want = randomised(CONFIGS[name])
    tensors = {n: t for n, t in adapted.state_dict().items() if "base_layer" not in n and n.count(".") > 3}
    kept = {n: t.contiguous() for n, t in tensors.items() if any(p in n for p in ("lora_", "hada_", "lokr_"))}
    assert any(".default" in n for n in kept)
    safetensors.torch.save_file(kept, tmp_path / "adapter_model.safetensors")
    adapted.save_pretrained(tmp_path / "own")
    (tmp_path / "own" / "adapter_config.json").rename(tmp_path / "adapter_config.json")
    same(ours(tmp_path), want)


@pytest.mark.parametrize("name", ["alpha", "rs-LoRA", "patterns"])
def test_the_metadata_of_diffusers(tmp_path, name):
    from diffusers import StableDiffusionPipeline
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY

    adapted, want = randomised(CONFIGS[name])
    layers = {n.removeprefix("base_model.model."): t for n, t in peft.get_peft_model_state_dict(adapted).items()}
    settings = adapted.peft_config["default"].to_dict()
    StableDiffusionPipeline.save_lora_weights(tmp_path, layers, unet_lora_adapter_metadata=settings)
    path = tmp_path / "pytorch_lora_weights.safetensors"
    assert LORA_ADAPTER_METADATA_KEY in read_lora(path).metadata
    same(ours(tmp_path), want)


def folder_with(tmp_path, config: object, name: str = "adapter_model"):
    adapted, want = randomised(CONFIGS["alpha"])
    adapted.save_pretrained(tmp_path)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / f"{name}.safetensors")
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    (tmp_path / "adapter_config.json").write_bytes(text)
    return tmp_path / f"{name}.safetensors", want


BAD = {
    "cut off": (b'{"lora_alpha": 3', "cannot be read"),
    "a list": ([1], "not a table"),
    "no number": ({"lora_alpha": "much"}, "no number"),
    "too large": ({"lora_alpha": 10**400}, "no number"),
    "a slow pattern": ({"lora_alpha": 1, "alpha_pattern": {r"(\w+\s?)+$": 2}}, "cannot be used"),
    "no pattern": ({"lora_alpha": 1, "alpha_pattern": {"(": 2}}, "cannot be used"),
    "patterns in a list": ({"lora_alpha": 1, "alpha_pattern": ["a"]}, "not a table"),
    "a start that changes the checkpoint": ({"lora_alpha": 1, "init_lora_weights": "pissa_niter_4"}, "changes the"),
}


@pytest.mark.parametrize(("config", "complaint"), BAD.values(), ids=BAD.keys())
def test_settings_that_cannot_be_read_are_named(tmp_path, config, complaint):
    path, _ = folder_with(tmp_path, config)
    with pytest.raises(UserError, match=complaint) as error:
        read_lora(path)
    assert "adapter_config.json" in str(error.value.where)


def test_settings_apply_to_the_file_they_are_for(tmp_path):
    path, want = folder_with(tmp_path, {"lora_alpha": 6, "r": 4}, "renamed")
    same(ours(path), want)
    safetensors.torch.save_file({"x": torch.ones(1)}, tmp_path / "another.safetensors")
    same(ours(path), {name: change * 4 / 6 for name, change in want.items()})


def test_two_adapters_in_one_file_are_refused(tmp_path):
    tensors = {}
    for name in ("red", "blue"):
        tensors[f"base_model.model.{QUERY}.lora_A.{name}.weight"] = torch.ones(2, 16)
        tensors[f"base_model.model.{QUERY}.lora_B.{name}.weight"] = torch.ones(24, 2)
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"red.*blue.*several adapters|blue.*red.*several adapters"):
        read_lora(tmp_path / "a.safetensors")
