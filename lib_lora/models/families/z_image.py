"""Z-Image, base and Turbo.

Names: the original code fuses q, k and v; diffusers' ZImageTransformer2DModel, ai-toolkit and musubi-tuner split them.
Choice of layers: musubi-tuner ``lora_zimage.py`` (no modulation, no refiners). Blocks: TrainTrain's list of 33.
"""

from __future__ import annotations

import re

from lib_lora.models.dit import FLUX_VAE, LANGUAGE_MODEL, DiTNames, Stack, dit_blocks, dit_kinds, dit_trained
from lib_lora.models.family import Family, Marking

_ATTENTION = {
    "attention.qkv": ("attention.to_q attention.to_k attention.to_v",),
    "attention.out": ("attention.to_out.0",),
    "attention.q_norm": ("attention.norm_q",),
    "attention.k_norm": ("attention.norm_k",),
    **{name: () for name in ("attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2")},
    **{f"feed_forward.w{n}": () for n in (1, 2, 3)},
}
_LAYERS = {**_ATTENTION, "adaLN_modulation.0": ()}
_STACKS = (
    Stack("layers", 30, _LAYERS, "S{n:02}"),
    Stack("noise_refiner", 2, _LAYERS, "IN"),
    Stack("context_refiner", 2, _ATTENTION, "IN"),
)
_SINGLE = {
    "x_embedder": ("all_x_embedder.2-1",),
    "cap_embedder.0": (),
    "cap_embedder.1": (),
    "t_embedder.mlp.0": (),
    "t_embedder.mlp.2": (),
    "final_layer.linear": ("all_final_layer.2-1.linear",),
    "final_layer.adaLN_modulation.1": ("all_final_layer.2-1.adaLN_modulation.1",),
}

Z_IMAGE = Family(
    name="z_image",
    label="Z-Image",
    short="Z-Image",
    order=40,
    names=DiTNames(_STACKS, _SINGLE),
    text_encoders={"lora_te_": (LANGUAGE_MODEL, "lora_te_"), "lora_te1_": (LANGUAGE_MODEL, "lora_te_")},
    blocks=dit_blocks(_STACKS, {"QWEN3": "lora_te"}),
    kinds=dit_kinds(r"_attention_(?:qkv|out)$", r"_feed_forward_w\d$"),
    trained=dit_trained(("layers",), "modulation|norm", r"_attention_(?:qkv|out)$"),
    marks=(re.compile(r"_adaLN_modulation_0$|_attention_to_(?:[qkv]|out_0)$"),),
    widths={
        r"_attention_qkv$": (11520, 3840),
        r"_feed_forward_w[13]$": (10240, 3840),
        r"_attention_out$": (3840, 3840),
    },
    shift=3.0,
    latents=FLUX_VAE,
    bucket_step=16,
    preset="Z-Image",
    marking=Marking(
        "z_image", "Z-Image", "https://github.com/Tongyi-MAI/Z-Image", versions=("z_image", "zimage", "z-image")
    ),
)
