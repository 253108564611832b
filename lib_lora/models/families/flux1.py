"""Flux.1 (dev, schnell, Krea, Kontext), and Chroma, which is Flux.1 schnell without modulation layers of its own.

Names: black-forest-labs/flux; diffusers' FluxTransformer2DModel; XLabs-AI's processors; sd-scripts ``lora_flux.py``,
whose choice of layers is ours. Blocks: LoRA Block Weight's list of 61. Loaders: ComfyUI and Forge Neo ``lora.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lib_lora.models.dit import FLUX_VAE, SWAPPED, T5, DiTNames, Stack, dit_blocks, dit_kinds, dit_trained
from lib_lora.models.family import Family, Marking
from lib_lora.models.unet import CLIP

DOUBLE: Mapping[str, Sequence[str]] = {
    "img_attn.qkv": ("attn.to_q attn.to_k attn.to_v", "processor.qkv_lora1"),
    "img_attn.proj": ("attn.to_out.0", "processor.proj_lora1"),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_attn.qkv": ("attn.add_q_proj attn.add_k_proj attn.add_v_proj", "processor.qkv_lora2"),
    "txt_attn.proj": ("attn.to_add_out", "processor.proj_lora2"),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "img_attn.norm.query_norm": ("attn.norm_q",),
    "img_attn.norm.key_norm": ("attn.norm_k",),
    "txt_attn.norm.query_norm": ("attn.norm_added_q",),
    "txt_attn.norm.key_norm": ("attn.norm_added_k",),
}
SINGLE: Mapping[str, Sequence[str]] = {
    "linear1": ("attn.to_q attn.to_k attn.to_v proj_mlp",),
    "linear2": ("proj_out",),
    "norm.query_norm": ("attn.norm_q",),
    "norm.key_norm": ("attn.norm_k",),
}
MODULATION = {"img_mod.lin": ("norm1.linear",), "txt_mod.lin": ("norm1_context.linear",)}
EMBEDDERS: Mapping[str, Sequence[str]] = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "final_layer.linear": ("proj_out",),
    SWAPPED: (),
}
TIMES = {
    f"{ours}.{a}_layer": (f"time_text_embed.{theirs}_embedder.linear_{n}",)
    for ours, theirs in (("time_in", "timestep"), ("vector_in", "text"), ("guidance_in", "guidance"))
    for n, a in ((1, "in"), (2, "out"))
}
SHARES = {"linear1": (1, 1, 1, 4)}


def _stacks(double: Mapping[str, Sequence[str]], single: Mapping[str, Sequence[str]]) -> tuple[Stack, Stack]:
    return (
        Stack("double_blocks", 19, double, "D{n:02}", ("transformer_blocks",)),
        Stack("single_blocks", 38, single, "S{n:02}", ("single_transformer_blocks",), SHARES),
    )


_STACKS = _stacks({**DOUBLE, **MODULATION}, {**SINGLE, "modulation.lin": ("norm.linear",)})
ATTENTION = r"_attn_(?:qkv|proj)$|_linear[12]$"

FLUX1 = Family(
    name="flux1",
    label="Flux.1",
    short="Flux.1",
    order=30,
    names=DiTNames(_STACKS, {**EMBEDDERS, **TIMES}),
    text_encoders={
        "lora_te_": (CLIP, "lora_te1_"),
        "lora_te1_": (CLIP, "lora_te1_"),
        "lora_te2_": (T5, "lora_te3_"),
        "lora_te3_": (T5, "lora_te3_"),
    },
    blocks=dit_blocks(_STACKS, {"CLIP": "lora_te1?_", "T5": "lora_te3_"}),
    kinds=dit_kinds(r"_attn_(?:qkv|proj)$", r"_mlp_[02]$", {"linear": r"_linear[12]$"}),
    trained=dit_trained(("double_blocks", "single_blocks"), r"mod_lin|modulation|norm", ATTENTION),
    marks=(
        re.compile(
            r"_mod_lin$|single_blocks_\d+_modulation_lin|_guidance_in_|_vector_in_|_norm1?_?(?:context)?_linear$"
        ),
    ),
    widths={
        r"_(?:img|txt)_attn_qkv$": (9216, 3072),
        r"_(?:img|txt)_mlp_0$": (12288, 3072),
        r"_(?:img|txt)_mlp_2$": (3072, 12288),
        r"_linear1$": (21504, 3072),
        r"_linear2$": (3072, 15360),
    },
    shift=3.0,
    programs=("Forge", "Forge Neo", "ComfyUI"),
    latents=FLUX_VAE,
    bucket_step=16,
    preset="Flux.1",
    marking=Marking(
        "flux1",
        "flux-1-dev",
        "https://github.com/black-forest-labs/flux",
        versions=("flux1", "flux_1", "flux_kontext"),
        architectures=("flux-1", "flux.1"),
    ),
)

_CHROMA = _stacks(DOUBLE, SINGLE)
_APPROXIMATOR = {
    f"distilled_guidance_layer.layers.{n}.{a}_layer": (f"distilled_guidance_layer.layers.{n}.linear_{i}",)
    for n in range(5)
    for i, a in ((1, "in"), (2, "out"))
}

CHROMA = replace(
    FLUX1,
    name="chroma",
    label="Chroma",
    short="Chroma",
    order=31,
    names=DiTNames(
        _CHROMA,
        {**EMBEDDERS, **_APPROXIMATOR, "distilled_guidance_layer.in_proj": (), "distilled_guidance_layer.out_proj": ()},
    ),
    text_encoders={"lora_te_": (T5, "lora_te3_"), "lora_te1_": (T5, "lora_te3_"), "lora_te3_": (T5, "lora_te3_")},
    marks=(re.compile("_distilled_guidance_layer_"),),
    shift=1.0,
    programs=("Forge Neo", "ComfyUI"),
    marking=Marking("chroma", "chroma", "https://huggingface.co/lodestones/Chroma"),
)
