"""Stable Diffusion XL, and the two models that were made by taking transformer blocks out of it.

Depths of SSD-1B and Segmind-Vega: Gupta et al., "Progressive Knowledge Distillation of Stable Diffusion XL Using Layer
Level Loss", 2024, and their configurations. Nobody can tell their LoRAs from SDXL's by a layer that SDXL lacks, so it
is the last block of each shortened transformer, with none behind it, that tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from typing_extensions import override

from lib_lora.models.family import Family, Latents, Marking, Place
from lib_lora.models.unet import CLIP, KINDS, TRAINED, XL, XL_BLOCKS, UNetNames

_DEPTH = re.compile(
    r"lora_unet_(?P<where>(?:input|output)_blocks_\d+|middle_block)_1_(?:transformer_blocks_(?P<n>\d+)|proj_|norm$)"
)


class ShortenedNames(UNetNames):
    """SDXL's names, of the layers that were kept.

    Args:
        depths: place of an attention -> how many transformer blocks it has; places that are not named have none.
    """

    def __init__(self, depths: Mapping[str, int]):
        super().__init__(XL.depths, sgm=True)
        self._depths = depths

    @override
    def place(self, path: str) -> Place | None:
        place = super().place(path)
        match = _DEPTH.match(place.key) if place else None
        if match and int(match["n"] or 0) >= self._depths.get(match["where"], 0):
            return None
        return place


def _depths(down: tuple[int, int, int, int], up: tuple[int, ...]) -> dict[str, int]:
    places = [*(f"input_blocks_{n}" for n in (4, 5, 7, 8)), *(f"output_blocks_{n}" for n in range(6))]
    return dict(zip(places, down + up, strict=True))


SDXL = Family(
    name="sdxl",
    label="Stable Diffusion XL",
    short="SDXL",
    order=20,
    names=XL,
    text_encoders={
        "lora_te_": (CLIP, "lora_te1_"),
        "lora_te1_": (CLIP, "lora_te1_"),
        "lora_te2_": (CLIP, "lora_te2_"),
    },
    blocks=XL_BLOCKS,
    kinds=KINDS,
    trained=TRAINED,
    marks=(
        re.compile(
            r"lora_te[12]_|lora_unet_(?:up_blocks_0_attentions_|output_blocks_[0-2]_1_(?!conv))"
            r"|transformer_blocks_[1-9]_"
        ),
    ),
    written=re.compile(r"lora_unet_(?:input|output|middle)_block"),
    widths={r"_attn2_to_[kv]$": (0, 2048)},
    predictions=("epsilon", "v", "flow"),
    latents=Latents(scale=0.13025),
    sizes=True,
    text_is_trained=True,
    chunks=True,
    marking=Marking(
        "sdxl_base_v1-0",
        "stable-diffusion-xl-v1-base",
        "https://github.com/Stability-AI/generative-models",
        versions=("sdxl",),
        architectures=("stable-diffusion-xl",),
    ),
    programs=("AUTOMATIC1111", "Forge", "Forge Neo", "ComfyUI"),
    preset="Character · Illustrious",
)

SSD1B = replace(
    SDXL,
    name="ssd1b",
    label="SSD-1B",
    short="SSD-1B",
    order=22,
    names=ShortenedNames(_depths((2, 2, 4, 4), (4, 4, 10, 2, 1, 1))),
    marks=(
        *SDXL.marks,
        re.compile(
            r"(?:input_blocks_[78]|output_blocks_[01])_1_transformer_blocks_3_"
            r"|(?:down_blocks_2|up_blocks_0)_attentions_[01]_transformer_blocks_3_"
        ),
    ),
)

VEGA = replace(
    SDXL,
    name="vega",
    label="Segmind-Vega",
    short="Vega",
    order=23,
    names=ShortenedNames(_depths((1, 1, 2, 2), (2, 2, 2, 1, 1, 1))),
    marks=(
        *SDXL.marks,
        re.compile(
            r"(?:input_blocks_[78]|output_blocks_[012])_1_transformer_blocks_1_"
            r"|(?:down_blocks_2|up_blocks_0)_attentions_[012]_transformer_blocks_1_"
        ),
    ),
)
