"""One LoRA in every spelling that trainers write for SD1, SD2, SDXL and its smaller relatives: the same ΔW."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from lib_lora.adapters.algorithms import algorithms
from lib_lora.adapters.diffusers_names import module_path
from lib_lora.adapters.file import read_lora, to_delta
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.models.families import family
from lib_lora.models.unet import SD

Tensors = dict[str, Tensor]
RANK, ALPHA = 4, 2.0
ATTENTION = [f"transformer_blocks_0_{name}" for name in ("attn1_to_q", "attn2_to_out_0", "ff_net_0_proj")]
TEXT = ["self_attn_q_proj", "self_attn_out_proj", "mlp_fc1"]
# family -> (beginnings of its layers, shape of each layer) as far as they tell it from its relatives
SIZES = {"sd1": 768, "sd2": 1024}


def layers_of(name: str) -> dict[str, tuple[int, ...]]:
    """Layer key -> shape of its weight."""
    if name in SIZES:
        wide = SIZES[name]
        found = {f"lora_te_text_model_encoder_layers_11_{part}": (wide, wide) for part in TEXT}
        at, conv = (
            "lora_unet_down_blocks_0_attentions_0",
            ("down_blocks_0_resnets_0_conv1", "mid_block_resnets_0_conv2"),
        )
        found |= {f"{at}_{part}": (320, wide if "attn2" in part else 320) for part in ATTENTION}
        found[f"{at}_transformer_blocks_0_attn2_to_k"] = (320, wide)
        return found | {f"lora_unet_{part}": (32, 32, 3, 3) for part in conv} | {"lora_unet_conv_in": (320, 4, 3, 3)}
    depth = {"sdxl": 9, "ssd1b": 3, "vega": 1}[name]
    at = "lora_unet_input_blocks_7_1"
    found = {f"{at}_{part}": (1280, 1280) for part in ATTENTION}
    found |= {f"{at}_transformer_blocks_{n}_attn1_to_v": (1280, 1280) for n in range(1, depth + 1)}
    found |= {f"lora_te1_text_model_encoder_layers_0_{part}": (768, 768) for part in TEXT}
    found |= {f"lora_te2_text_model_encoder_layers_31_{part}": (1280, 1280) for part in TEXT}
    return found | {
        "lora_unet_input_blocks_1_0_in_layers_2": (32, 32, 3, 3),
        "lora_unet_output_blocks_5_2_conv": (32, 32, 3, 3),
        "lora_unet_label_emb_0_0": (1280, 2816),
        "lora_unet_time_embed_2": (1280, 1280),
        "lora_unet_middle_block_2_emb_layers_1": (1280, 1280),
    }


def lora(name: str) -> dict[str, Tensors]:
    g = torch.Generator().manual_seed(0)
    made = {}
    for key, (out, into, *kernel) in layers_of(name).items():
        ones = [1] * len(kernel)
        made[key] = {
            "lora_up.weight": torch.randn(out, RANK, *ones, generator=g),
            "lora_down.weight": torch.randn(RANK, into, *kernel, generator=g),
            "alpha": torch.tensor(ALPHA),
        }
    return made


# -- the spellings: modules, family -> tensors, metadata, adapter_config.json -----------------------------------------

Spelling = Callable[[Mapping[str, Tensors], str], tuple[Tensors, dict[str, str], dict]]
PEFT = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}


def flat(modules: Mapping[str, Tensors]) -> Tensors:
    return {f"{key}.{param}": tensor for key, params in modules.items() for param, tensor in params.items()}


def renamed(modules: Mapping[str, Tensors], key: Callable[[str], str], params: Mapping[str, str] = {}) -> Tensors:
    return {f"{key(k)}.{params.get(p, p)}": t for k, of in modules.items() for p, t in of.items()}


def kohya(modules, name):
    return flat(modules), {}, {}


def kohya_by_peft(modules, name):
    return renamed(modules, str, PEFT), {}, {}


def other_names_of_blocks(modules, name):
    """The original code's for SD1 and SD2, diffusers' for SDXL, as LCM-LoRAs have them."""

    def key(ours: str) -> str:
        if not ours.startswith("lora_unet_"):
            return ours
        path = module_path(ours, family(name)).removeprefix("unet.")
        return f"lora_unet_{(SD.to_ldm(path) if name in SIZES else path).replace('.', '_')}"

    return renamed(modules, key), {}, {}


def lycoris(modules, name):
    return (
        renamed({k: v for k, v in modules.items() if "_unet_" in k}, lambda k: k.replace("lora_unet_", "lycoris_")),
        {},
        {},
    )


def onetrainer(modules, name):
    """Kohya's keys, its own beginnings of text encoders, and embeddings that were trained along."""
    extras = {"bundle_emb.mira.string_to_param.*": torch.ones(2, 768)}
    return flat(modules) | extras, {"ot_branch": "master"}, {}


def te_for_te1(modules, name):
    """The first text encoder without its number, or with one where there is only one."""
    there, put = ("lora_te_", "lora_te1_") if name in SIZES else ("lora_te1_", "lora_te_")
    return renamed(modules, lambda key: key.replace(there, put)), {}, {}


def folded(modules: Mapping[str, Tensors]) -> dict[str, Tensors]:
    return {
        key: {"lora_up.weight": p["lora_up.weight"] * ALPHA / RANK, "lora_down.weight": p["lora_down.weight"]}
        for key, p in modules.items()
    }


def dotted(name: str) -> Callable[[str], str]:
    return lambda key: module_path(key, family(name))


def diffusers(modules, name):
    return renamed(folded(modules), dotted(name), PEFT), {}, {}


def diffusers_2023(modules, name):
    """Attention processors, and linear layers of the text encoder."""
    found = {}
    for path, tensor in renamed(folded(modules), dotted(name)).items():
        path = re.sub(r"\.(attn[12])\.(to_[qkv]|to_out)(?:\.0)?\.lora_(up|down)", r".\1.processor.\2_lora.\3", path)
        path = re.sub(
            r"\.lora_(up|down)\.", r".lora_linear_layer.\1." if "text_encoder" in path else r".lora.\1.", path
        )
        found[path] = tensor
    return found, {}, {}


def diffusers_with_metadata(modules, name):
    parts = {module_path(key, family(name)).split(".")[0] for key in modules}
    settings = {f"{part}.{key}": value for part in parts for key, value in (("r", RANK), ("lora_alpha", ALPHA))}
    bare = {key: {n: t for n, t in p.items() if n != "alpha"} for key, p in modules.items()}
    return renamed(bare, dotted(name), PEFT), {"lora_adapter_metadata": json.dumps(settings)}, {}


def newer_transformers(modules, name):
    """CLIP without its ``text_model``."""
    tensors, metadata, config = diffusers(modules, name)
    return {path.replace("text_model.", ""): tensor for path, tensor in tensors.items()}, metadata, config


def peft(adapter: str = "", **config) -> Spelling:
    """PEFT's own, with the alpha in a file beside it; one of the parts of a model."""

    def spell(modules, name):
        bare = {k: {n: t for n, t in p.items() if n != "alpha"} for k, p in modules.items() if "_unet_" in k}
        params = {ours: theirs.replace(".weight", f"{adapter}.weight") for ours, theirs in PEFT.items()}
        return (
            renamed(
                bare, lambda key: f"base_model.model.{module_path(key, family(name)).removeprefix('unet.')}", params
            ),
            {},
            {"r": RANK, "lora_alpha": ALPHA, "peft_type": "LORA", **config},
        )

    return spell


def wrapped(modules, name):
    """As torch.compile and data-parallel training call modules."""
    tensors, metadata, config = diffusers(modules, name)
    return {f"module.{path.replace('.', '._orig_mod.', 1)}": t for path, t in tensors.items()}, metadata, config


SPELLINGS: dict[str, Spelling] = {
    "kohya": kohya,
    "kohya, lora_A and lora_B": kohya_by_peft,
    "other names of blocks": other_names_of_blocks,
    "LyCORIS": lycoris,
    "OneTrainer": onetrainer,
    "te and te1": te_for_te1,
    "diffusers": diffusers,
    "diffusers 2023": diffusers_2023,
    "diffusers with metadata": diffusers_with_metadata,
    "newer transformers": newer_transformers,
    "wrapped modules": wrapped,
    "PEFT": peft(),
    "PEFT, named adapter": peft(".mira-v1"),
    "PEFT, rsLoRA": peft(".default", use_rslora=True, lora_alpha=ALPHA / math.sqrt(RANK)),
    "PEFT, patterns": peft(lora_alpha=99, alpha_pattern={r".*": ALPHA}, rank_pattern={"to_q": RANK}),
}


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl", "ssd1b", "vega"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_same_change_of_the_weights(tmp_path: Path, name: str, spelling: str) -> None:
    modules = lora(name)
    tensors, metadata, config = SPELLINGS[spelling](modules, name)
    safetensors.torch.save_file(tensors, tmp_path / "adapter_model.safetensors", metadata)
    if config:
        (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    read = read_lora(tmp_path / "adapter_model.safetensors")
    only_unet = spelling == "LyCORIS" or spelling.startswith("PEFT")
    expected = {key: p for key, p in modules.items() if not only_unet or "_unet_" in key}
    assert read.family is family(name) and not read.unplaced and not read.left_out
    assert set(read.modules) == set(expected)
    for key, params in expected.items():
        ours, theirs = to_delta(params).dense(), to_delta(read.modules[key]).dense()
        assert (ours - theirs).norm() <= 1e-6 * ours.norm(), key


@pytest.mark.parametrize(
    ("prefix", "algorithm"),
    [
        (prefix, name)
        for prefix in ("lora_unet_", "lycoris_", "unet.", "base_model.model.")
        for name in algorithms()
        if name != "norm" and (prefix, name) != ("base_model.model.", "ia3")  # PEFT's own IA3 is another
    ],
)
def test_lycoris_kinds_under_other_names(tmp_path: Path, algorithm: str, prefix: str) -> None:
    keys = {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": nn.Linear(8, 8)}
    network = Network.create(keys, NetworkSpec(algorithm=algorithm, rank=2), seed=0)
    g = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data += torch.randn(parameter.shape, generator=g) * 0.1
    ((key, params),) = network.modules().items()
    dotted_path = module_path(key, family("sd1")).removeprefix("unet.")
    path = dotted_path if "." in prefix else key.removeprefix("lora_unet_")
    safetensors.torch.save_file({f"{prefix}{path}.{n}": t for n, t in params.items()}, tmp_path / "a.safetensors")
    base = keys[key].weight.detach()
    read = read_lora(tmp_path / "a.safetensors").modules[key]
    ours, theirs = to_delta(params, base).dense(), to_delta(read, base).dense()
    assert (ours - theirs).norm() <= 1e-6 * ours.norm()
