"""Qwen-Image and Qwen-Image-Edit.

Names: diffusers' QwenImageTransformer2DModel, which is the original code too. Choice of layers: musubi-tuner
``lora_qwen_image.py`` (no modulation).
"""

from __future__ import annotations

import re

from lib_lora.models.dit import LANGUAGE_MODEL, WAN_VAE, DiTNames, Stack, dit_blocks, dit_kinds, dit_trained
from lib_lora.models.family import Family, Marking

_LAYERS = {
    **{f"attn.to_{n}": () for n in ("q", "k", "v", "out.0", "add_out")},
    **{f"attn.add_{n}_proj": () for n in "qkv"},
    **{f"attn.norm_{n}": () for n in ("q", "k", "added_q", "added_k")},
    **{f"{stream}_mlp.net.{n}": () for stream in ("img", "txt") for n in ("0.proj", "2")},
    **{f"{stream}_mod.1": () for stream in ("img", "txt")},
}
_STACKS = (Stack("transformer_blocks", 60, _LAYERS, "D{n:02}"),)
_SINGLE = {
    "img_in": (),
    "txt_in": (),
    "txt_norm": (),
    "time_text_embed.timestep_embedder.linear_1": (),
    "time_text_embed.timestep_embedder.linear_2": (),
    "norm_out.linear": (),
    "proj_out": (),
}

QWEN_IMAGE = Family(
    name="qwen_image",
    label="Qwen-Image",
    short="Qwen-Image",
    order=48,
    names=DiTNames(_STACKS, _SINGLE),
    text_encoders={"lora_te_": (LANGUAGE_MODEL, "lora_te_")},
    blocks=dit_blocks(_STACKS, {"TE": "lora_te"}),
    kinds=dit_kinds(r"_attn_(?:to_\w+|add_[qkv]_proj)$", r"_mlp_net_"),
    trained=dit_trained(
        ("transformer_blocks",),
        "_mod_|norm",
        r"_attn_(?:to_\w+|add_[qkv]_proj)$",
        last="attn_add_q_proj|attn_to_add_out|txt_mlp_",  # its words are not read any more
    ),
    marks=(re.compile(r"_transformer_blocks_\d+_(?:img|txt)_(?:mlp|mod)_"),),
    shift=1.15,
    latents=WAN_VAE,
    bucket_step=16,
    preset="Other transformers",
    marking=Marking("qwen_image", "Qwen-Image", "https://github.com/QwenLM/Qwen-Image"),
)
