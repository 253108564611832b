"""Stable Diffusion 1.x."""

from __future__ import annotations

import re

from lib_lora.models.family import Family, Latents, Marking
from lib_lora.models.unet import BLOCKS, CLIP, KINDS, SD, TRAINED

SD1 = Family(
    name="sd1",
    label="Stable Diffusion 1.x",
    short="SD1",
    order=10,
    names=SD,
    text_encoders={"lora_te_": (CLIP, "lora_te_"), "lora_te1_": (CLIP, "lora_te_")},
    blocks=BLOCKS,
    kinds=KINDS,
    trained=TRAINED,
    marks=(
        re.compile(
            r"lora_te_|lora_unet_(?:down_blocks_0_attentions_|down_blocks_3_|up_blocks_3_|input_blocks_[12]_1_"
            r"|input_blocks_9_|(?:in|out)put_blocks_1[01]_|output_blocks_9_)"
        ),
    ),
    widths={r"_attn2_to_[kv]$": (0, 768), r"^lora_te_.*_self_attn_": (768, 768)},
    predictions=("epsilon",),
    latents=Latents(scale=0.18215),
    text_is_trained=True,
    clip_skip=True,
    chunks=True,
    marking=Marking("sd_v1", "stable-diffusion-v1", "diffusers"),
    programs=("AUTOMATIC1111", "Forge", "Forge Neo", "ComfyUI"),
    preset="Character · SD1.5",
    guide=True,
)
