"""Stable Diffusion 2.x: SD1's U-Net with the text encoder of OpenCLIP."""

from __future__ import annotations

from dataclasses import replace

from lib_lora.models.families.sd1 import SD1
from lib_lora.models.family import Marking

SD2 = replace(
    SD1,
    name="sd2",
    label="Stable Diffusion 2.x",
    short="SD2",
    order=11,
    widths={r"_attn2_to_[kv]$": (0, 1024), r"^lora_te_.*_self_attn_": (1024, 1024)},
    clip_skip=False,
    programs=("AUTOMATIC1111", "Forge", "ComfyUI"),
    predictions=("epsilon", "v"),
    marking=Marking("sd_v2", "stable-diffusion-v2-512", "diffusers", v2=True, architectures=("stable-diffusion-v2",)),
    markings={"v": Marking("sd_v2_v", "stable-diffusion-v2-768-v", "diffusers", v2=True)},
)
