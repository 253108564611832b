"""Flux.2: Klein 4B, Klein 9B and dev: Flux.1's blocks with gated MLPs, and one modulation for all blocks.

Names: black-forest-labs/flux2; diffusers' Flux2Transformer2DModel, as ComfyUI's ``flux_to_diffusers`` maps them. No
list of block weights is in use; these are in the manner of that for Flux.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lib_lora.models.dit import LANGUAGE_MODEL, DiTNames, Stack, dit_blocks, dit_kinds, dit_trained
from lib_lora.models.families.flux1 import ATTENTION, DOUBLE, EMBEDDERS, SINGLE
from lib_lora.models.family import Family, Latents, Marking

_DOUBLE: Mapping[str, Sequence[str]] = {
    **DOUBLE,
    "img_mlp.0": ("ff.linear_in",),
    "img_mlp.2": ("ff.linear_out",),
    "txt_mlp.0": ("ff_context.linear_in",),
    "txt_mlp.2": ("ff_context.linear_out",),
}
_SINGLE: Mapping[str, Sequence[str]] = {**SINGLE, "linear1": ("attn.to_qkv_mlp_proj",), "linear2": ("attn.to_out",)}
_MODULATION = {
    "double_stream_modulation_img.lin": ("double_stream_modulation_img.linear",),
    "double_stream_modulation_txt.lin": ("double_stream_modulation_txt.linear",),
    "single_stream_modulation.lin": ("single_stream_modulation.linear",),
}
_TIMES = {
    f"{ours}.{a}_layer": (f"time_guidance_embed.{theirs}_embedder.linear_{n}",)
    for ours, theirs in (("time_in", "timestep"), ("guidance_in", "guidance"))
    for n, a in ((1, "in"), (2, "out"))
}


def _flux2(size: str, order: int, width: int, double: int, single: int) -> Family:
    """Of a size's name, as ``"Klein 4B"``, the width of its layers, and how many blocks of each sort it has."""
    short = size if "Klein" in size else f"Flux.2 {size}"
    version, architecture = size.lower().replace(" ", "_"), size.lower().replace(" ", "-")
    stacks = (
        Stack("double_blocks", double, _DOUBLE, "D{n:02}", ("transformer_blocks",)),
        Stack("single_blocks", single, _SINGLE, "S{n:02}", ("single_transformer_blocks",)),
    )
    return Family(
        name=short.lower().replace(" ", "").replace(".", ""),
        label=f"Flux.2 {size}",
        short=short,
        order=order,
        names=DiTNames(stacks, {**EMBEDDERS, **_MODULATION, **_TIMES}),
        text_encoders={"lora_te_": (LANGUAGE_MODEL, "lora_te_"), "lora_te1_": (LANGUAGE_MODEL, "lora_te_")},
        blocks=dit_blocks(stacks, {"TE": "lora_te"}),
        kinds=dit_kinds(r"_attn_(?:qkv|proj)$", r"_mlp_[02]$", {"linear": r"_linear[12]$"}),
        trained=dit_trained(("double_blocks", "single_blocks"), "norm", ATTENTION),
        marks=(re.compile("_stream_modulation_|_ff(?:_context)?_linear_(?:in|out)$|_attn_to_qkv_mlp_proj$"),),
        widths={
            r"_(?:img|txt)_attn_qkv$": (3 * width, width),
            r"_(?:img|txt)_mlp_0$": (6 * width, width),
            r"_(?:img|txt)_mlp_2$": (width, 3 * width),
            r"_linear1$": (9 * width, width),
            r"_linear2$": (width, 4 * width),
        },
        shift=2.02,
        latents=Latents(channels=128, factor=16),
        bucket_step=16,
        preset="Flux.2 Klein",
        marking=Marking(
            f"flux_2_{version}",
            f"Flux.2-{architecture}",
            "https://github.com/black-forest-labs/flux2",
            architectures=(f"flux.2-{architecture}", f"flux-2-{architecture}"),
        ),
    )


KLEIN_4B = _flux2("Klein 4B", 32, 3072, 5, 20)
KLEIN_9B = _flux2("Klein 9B", 33, 4096, 8, 24)
FLUX2_DEV = replace(_flux2("dev", 34, 6144, 8, 48), programs=("ComfyUI",))
