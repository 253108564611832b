"""Our factors in peft's layers, against our network on the same model."""

from __future__ import annotations

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer

from lib_lora.adapters.file import read_lora, to_delta
from lib_lora.models.layers import kohya_key


def test_peft_gives_the_same_outputs(case):
    modules = read_lora(case.path).modules
    filled = 0
    for part, root in (("unet", case.model.unet), ("te", case.model.text_encoder)):
        filled += inject(root, part, modules)
    assert filled == len(modules)
    errors = case.errors()
    assert errors["unet"] <= 1e-5
    assert errors["te"] <= 1e-5


def inject(root, part, modules):
    """Put peft's LoRA layers where our file has layers, with our factors in them; returns how many there are."""
    paths = {path: kohya_key(part, path) for path, _ in root.named_modules() if path}
    paths = {path: key for path, key in paths.items() if key in modules}
    ranks = {path: len(modules[key]["lora_down.weight"]) for path, key in paths.items()}
    alphas = {path: float(modules[key].get("alpha", ranks[path])) for path, key in paths.items()}
    config = LoraConfig(target_modules=list(paths), rank_pattern=ranks, alpha_pattern=alphas)
    inject_adapter_in_model(config, root)
    for path, key in paths.items():
        layer = root.get_submodule(path)
        assert isinstance(layer, LoraLayer)
        load(layer, modules[key])
    return len(paths)


@torch.no_grad()
def load(layer, tensors):
    for factor, name in ((layer.lora_A, "lora_down.weight"), (layer.lora_B, "lora_up.weight")):
        weight = factor["default"].weight
        weight.copy_(tensors[name].reshape(weight.shape))
    ours = to_delta(tensors).dense().reshape(layer.weight.shape)
    assert torch.allclose(layer.get_delta_weight("default"), ours, atol=1e-6)
