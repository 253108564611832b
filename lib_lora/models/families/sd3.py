"""Stable Diffusion 3.5 Medium (24 blocks) and Large (38); 3 Medium has Medium's blocks without the second attention.

Names: Stability-AI/sd3.5; diffusers' SD3Transformer2DModel splits q, k and v. Choice of layers: sd-scripts
``lora_sd3.py`` without modulation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lib_lora.models.dit import SWAPPED, T5, DiTNames, Stack, dit_blocks, dit_kinds, dit_trained
from lib_lora.models.family import Family, Latents, Marking
from lib_lora.models.unet import CLIP

_LAYERS: Mapping[str, Sequence[str]] = {
    "x_block.attn.qkv": ("attn.to_q attn.to_k attn.to_v",),
    "x_block.attn.proj": ("attn.to_out.0",),
    "x_block.attn2.qkv": ("attn2.to_q attn2.to_k attn2.to_v",),
    "x_block.attn2.proj": ("attn2.to_out.0",),
    "x_block.mlp.fc1": ("ff.net.0.proj",),
    "x_block.mlp.fc2": ("ff.net.2",),
    "x_block.adaLN_modulation.1": ("norm1.linear",),
    "context_block.attn.qkv": ("attn.add_q_proj attn.add_k_proj attn.add_v_proj",),
    "context_block.attn.proj": ("attn.to_add_out",),
    "context_block.mlp.fc1": ("ff_context.net.0.proj",),
    "context_block.mlp.fc2": ("ff_context.net.2",),
    "context_block.adaLN_modulation.1": ("norm1_context.linear",),
    **{f"{s}_block.{a}.ln_{n}": () for s in ("x", "context") for a in ("attn", "attn2") for n in "qk"},
}
_SINGLE = {
    "x_embedder.proj": ("pos_embed.proj",),
    "context_embedder": (),
    "t_embedder.mlp.0": ("time_text_embed.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("time_text_embed.timestep_embedder.linear_2",),
    "y_embedder.mlp.0": ("time_text_embed.text_embedder.linear_1",),
    "y_embedder.mlp.2": ("time_text_embed.text_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    SWAPPED: (),
}


def _sd35(size: str, order: int, width: int, count: int) -> Family:
    stacks = (Stack("joint_blocks", count, _LAYERS, "J{n:02}", ("transformer_blocks",)),)
    return Family(
        name=f"sd35_{size}",
        label=f"Stable Diffusion 3.5 {size.title()}",
        short=f"SD3.5 {size.title()}",
        order=order,
        names=DiTNames(stacks, _SINGLE),
        text_encoders={
            "lora_te_": (CLIP, "lora_te1_"),
            "lora_te1_": (CLIP, "lora_te1_"),
            "lora_te2_": (CLIP, "lora_te2_"),
            "lora_te3_": (T5, "lora_te3_"),
        },
        blocks=dit_blocks(stacks, {"CLIP": "lora_te[12]_", "T5": "lora_te3_"}),
        kinds=dit_kinds(r"_attn_(?:qkv|proj)$", r"_mlp_fc\d$", {"attn2": r"_attn2_(?:qkv|proj)$"}),
        trained=dit_trained(("joint_blocks",), "modulation|_ln_", r"_attn2?_(?:qkv|proj)$"),
        marks=(re.compile(r"_joint_blocks_|_pos_embed_proj$|_attn2_to_|^lora_te3_"),),
        widths={
            r"_attn2?_qkv$": (3 * width, width),
            r"_mlp_fc1$": (4 * width, width),
            r"_mlp_fc2$": (width, 4 * width),
        },
        shift=3.0,
        programs=("ComfyUI",),
        latents=Latents(channels=16, scale=1.5305, shift=0.0609),
        bucket_step=16,
        preset="Other transformers",
        marking=Marking(
            f"sd3.5-{size}",
            f"stable-diffusion-3-5-{size}",
            "https://github.com/Stability-AI/sd3.5",
            architectures=(f"stable-diffusion-3-5-{size}", f"stable-diffusion-3.5-{size}"),
        ),
    )


SD35_MEDIUM = _sd35("medium", 51, 1536, 24)
SD35_LARGE = _sd35("large", 52, 2432, 38)
