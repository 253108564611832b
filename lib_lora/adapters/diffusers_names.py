"""A LoRA's layers as diffusers saves them itself, which its loader reads without guessing.

``unet.down_blocks.0.….to_q.lora_A.weight``, or ``transformer.…`` with q, k and v apart where diffusers has them so;
with the scale built in: beside such names its loader reads no alpha. Names with underscores it translates by replacing
parts of words, for some families; what it does not recognise, it refuses or passes over.
Source: huggingface/diffusers, ``loaders/lora_conversion_utils.py`` and ``loaders/lora_pipeline.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from lib_lora.adapters.algorithms.lora import DOWN, UP
from lib_lora.adapters.base import alpha_of, at_least_float32
from lib_lora.adapters.layers import Layers, Params, outline
from lib_lora.errors import UserError
from lib_lora.models.dit import DiTNames
from lib_lora.models.family import UNET, Family
from lib_lora.models.unet import CLIP, UNetNames

A, B = "lora_A.weight", "lora_B.weight"
ENCODERS = {"lora_te_": "text_encoder.", "lora_te1_": "text_encoder.", "lora_te2_": "text_encoder_2."}
# Modules that have an underscore in their own name; between all others it stands for a dot
_WORDS = re.compile(
    r"(?:down|up)_blocks|mid_block|transformer_blocks|to_(?:q|k|v|out)|proj_(?:in|out)|conv_shortcut|time_emb_proj"
    r"|(?:time|add|class)_embedding|linear_\d|conv_(?:norm_out|in|out)"
    r"|text_model|self_attn|(?:[qkv]|out)_proj|final_layer_norm|layer_norm\d|(?:token|position)_embedding"
    r"|text_projection|[^_]+"
)


def module_path(key: str, family: Family) -> str:
    """Where diffusers' pipeline of a U-Net has the layer ``key``: ``unet.mid_block.attentions.0.proj_in``.

    Raises:
        UserError: it has none, or the layer in several parts.
    """
    paths = module_paths(key, family)
    if len(paths) != 1:
        fix = "Use it in " + ", ".join(family.programs) + "."
        raise UserError(f"{family.label} has no such layer in diffusers", where=key, fix=fix)
    return paths[0]


def module_paths(key: str, family: Family) -> tuple[str, ...]:
    """Where diffusers' pipeline of ``family`` has the layer ``key``.

    Returns:
        One path for each part, as ``transformer.transformer_blocks.0.attn.to_q`` for q, k and v in one; none where
        diffusers has no such layer, or reads no LoRA for it.
    """
    names = family.names
    if isinstance(names, UNetNames) and key.startswith(UNET):
        return (f"unet.{_dotted(names.diffusers_name(key.removeprefix(UNET)))}",)
    if isinstance(names, DiTNames) and key.startswith(UNET):
        return tuple(f"transformer.{path}" for path in names.in_diffusers(key))
    start = next((start for start in ENCODERS if key.startswith(start)), None)
    if start is None or family.text_encoders.get(start, ("",))[0] != CLIP:
        return ()
    return (ENCODERS[start] + _dotted(key.removeprefix(start)),)


def for_diffusers(modules: Mapping[str, Params], family: Family) -> Layers:
    """LoRA layers under diffusers' names, to be written; each is made when it is asked for.

    A layer that diffusers splits becomes several LoRAs of one lower factor. Layers that it lacks are left out.
    """
    places = {path: (key, part) for key in modules for part, path in enumerate(module_paths(key, family))}
    shapes = outline(modules)

    def spelled(params: Params, key: str, part: int) -> dict[str, Tensor]:
        shares = family.names.shares(key) if len(module_paths(key, family)) > 1 else (1,)
        if len(params[UP]) % sum(shares) or (len(shares) > 1 and params[DOWN].shape[2:].numel() > 1):
            what = f"Layer {key} cannot be shared out to the parts that diffusers has of it"
            raise UserError(what, fix="The file was made for another model, or it is damaged.")
        rows = [len(params[UP]) * share // sum(shares) for share in shares]
        return _spelled({**params, UP: torch.split(params[UP], rows)[part]})

    named = {path: spelled(shapes[key], key, part) for path, (key, part) in places.items()}
    return Layers(named, lambda path: spelled(modules[places[path][0]], *places[path]))


def _spelled(params: Params) -> dict[str, Tensor]:
    """The two factors with alpha / rank in them, shared out by a power of two so that both fit half precision alike."""
    up, down = params[UP], params[DOWN]
    scale = alpha_of(params, len(down)) / len(down)
    if scale == 1:
        return {A: down, B: up}
    up, down = map(at_least_float32, (up, down))
    share = 1.0
    if not (up.is_meta or down.is_meta) and up.any() and down.any():
        sizes = abs(scale) * float(up.abs().max()) / float(down.abs().max())
        share = 2.0 ** round(math.log2(sizes) / 2) if 0 < sizes < math.inf else 1.0
    return {A: down * share, B: up * (scale / share)}


def _dotted(name: str) -> str:
    return ".".join(_WORDS.findall(name))
