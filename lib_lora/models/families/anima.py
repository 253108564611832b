"""Anima: 28 blocks (2B), or 40 of the same width (2.9B and 3.8B).

Names: circlestone-labs/Anima as in Forge Neo's ``backend/nn/anima.py``; diffusers' CosmosTransformer3DModel. Choice of
layers: sd-scripts ``lora_anima.py`` (no modulation, norms, embedders, final layer). The blocks of the larger model are
said to be made of those of the smaller in the order of ``FROM_28``; it was not found in a loader's source. The adapter
of the language model's output is a part of the transformer in sd-scripts, diffusion-pipe and ComfyUI, and of the text
encoder in Forge Neo, which renames its layers when it loads a LoRA; so files have it as the former call it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from typing_extensions import override

from lib_lora.models.dit import LANGUAGE_MODEL, WAN_VAE, DiTNames, Stack, dit_blocks, dit_kinds, dit_trained
from lib_lora.models.family import UNET, Family, Marking, Place

FROM_28 = (
    0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9, 10, 11, 11, 12, 13,
    14, 14, 15, 16, 16, 17, 18, 18, 19, 20, 20, 21, 22, 22, 23, 24, 24, 25, 26, 27,
)  # fmt: skip
_ATTENTIONS = ((1, "self"), (2, "cross"))
_LAYERS: Mapping[str, Sequence[str]] = {
    **{f"{part}_attn.{x}_proj": (f"attn{n}.to_{x}",) for n, part in _ATTENTIONS for x in "qkv"},
    **{f"{part}_attn.output_proj": (f"attn{n}.to_out.0",) for n, part in _ATTENTIONS},
    **{f"{part}_attn.{x}_norm": (f"attn{n}.norm_{x}",) for n, part in _ATTENTIONS for x in "qk"},
    **{f"{part}_attn.v_norm": () for _, part in _ATTENTIONS},
    "mlp.layer1": ("ff.net.0.proj",),
    "mlp.layer2": ("ff.net.2",),
    **{
        f"adaln_modulation_{part}.{n}": (f"norm{place}.linear_{n}",)
        for place, part in enumerate(("self_attn", "cross_attn", "mlp"), start=1)
        for n in (1, 2)
    },
}
_SINGLE: Mapping[str, Sequence[str]] = {
    "x_embedder.proj.1": ("patch_embed.proj",),
    "t_embedder.1.linear_1": ("time_embed.t_embedder.linear_1",),
    "t_embedder.1.linear_2": ("time_embed.t_embedder.linear_2",),
    "t_embedding_norm": ("time_embed.norm",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaln_modulation.1": ("norm_out.linear_1",),
    "final_layer.adaln_modulation.2": ("norm_out.linear_2",),
}


ADAPTER = re.compile(r"llm_adapter_\w+")


class AnimaNames(DiTNames):
    """With the adapter between the language model and the transformer, for which all spellings are one."""

    @override
    def place(self, path: str) -> Place | None:
        return Place(UNET + path) if ADAPTER.fullmatch(path) else super().place(path)


def _anima(count: int) -> tuple[DiTNames, tuple[Stack, ...]]:
    stacks = (Stack("blocks", count, _LAYERS, "B{n:02}", ("transformer_blocks",)),)
    return AnimaNames(stacks, _SINGLE), stacks


_NAMES, _STACKS = _anima(28)
_NAMES_40, _STACKS_40 = _anima(40)
_TEXT = {"TE": f"lora_te|{UNET}llm_adapter_"}

ANIMA = Family(
    name="anima",
    label="Anima",
    short="Anima",
    order=45,
    names=_NAMES,
    text_encoders={
        "lora_te_llm_adapter_": ("", f"{UNET}llm_adapter_"),
        "lora_te_": (LANGUAGE_MODEL, "lora_te_"),
        "lora_te1_": (LANGUAGE_MODEL, "lora_te_"),
    },
    blocks=dit_blocks(_STACKS, _TEXT),
    kinds=dit_kinds("_self_attn_", "_mlp_layer[12]$", {"attn2": "_cross_attn_"}),
    trained=dit_trained(("blocks",), "modulation|_norm", "_(?:self|cross)_attn_"),
    widths={r"_self_attn_": (2048, 2048)},
    shift=3.0,
    latents=WAN_VAE,
    bucket_step=16,
    preset="Character · Anima",
    marking=Marking(
        "anima", "anima-preview", "https://huggingface.co/circlestone-labs/Anima", architectures=("anima",)
    ),
)

ANIMA_40 = replace(
    ANIMA,
    name="anima40",
    label="Anima (40 blocks)",
    short="Anima 40",
    order=46,
    names=_NAMES_40,
    blocks=dit_blocks(_STACKS_40, _TEXT),
    marks=(re.compile(r"lora_unet_(?:transformer_)?blocks_(?:2[89]|3\d)_"),),
    adopts={"anima": FROM_28},
)
