"""A LoRA's layers as diffusers saves them itself, which its loader reads without guessing.

``unet.down_blocks.0.….to_q.lora_A.weight``, with the scale built in: beside such names its loader reads no alpha. Names
with underscores it translates by replacing parts of words; what it does not recognise, it refuses or passes over.
Source: huggingface/diffusers, ``loaders/lora_conversion_utils.py`` and ``loaders/lora_pipeline.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

from lib_lora.adapters.algorithms.lora import DOWN, UP
from lib_lora.adapters.base import alpha_of, at_least_float32
from lib_lora.adapters.layers import Layers, Params, outline
from lib_lora.errors import UserError
from lib_lora.models.family import UNET, Family
from lib_lora.models.unet import UNetNames

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
    """Where diffusers' pipeline of ``family`` has the layer ``key``: ``unet.mid_block.attentions.0.proj_in``.

    Raises:
        UserError: a family whose names in diffusers are not known here.
    """
    if not isinstance(family.names, UNetNames):
        fix = "Use it in " + ", ".join(family.programs) + "."
        raise UserError(f"The names of {family.label} in diffusers are not known here", where=key, fix=fix)
    if key.startswith(UNET):
        return f"unet.{_dotted(family.names.diffusers_name(key.removeprefix(UNET)))}"
    start = next(start for start in ENCODERS if key.startswith(start))
    return ENCODERS[start] + _dotted(key.removeprefix(start))


def for_diffusers(modules: Mapping[str, Params], family: Family) -> Layers:
    """LoRA layers under diffusers' names, to be written; each is made when it is asked for."""
    paths = {module_path(key, family): key for key in modules}
    shapes = outline(modules)
    named = {path: _spelled(shapes[key]) for path, key in paths.items()}
    return Layers(named, lambda path: _spelled(modules[paths[path]]))


def _spelled(params: Params) -> dict[str, Tensor]:
    """The two factors with alpha / rank in them, shared out by a power of two so that both fit half precision alike."""
    up, down = params[UP], params[DOWN]
    scale = alpha_of(params, len(down)) / len(down)
    if scale == 1:
        return {A: down, B: up}
    up, down = map(at_least_float32, (up, down))
    share = 1.0
    if not up.is_meta and up.any() and down.any():
        sizes = abs(scale) * float(up.abs().max()) / float(down.abs().max())
        share = 2.0 ** round(math.log2(sizes) / 2) if 0 < sizes < math.inf else 1.0
    return {A: down * share, B: up * (scale / share)}


def _dotted(name: str) -> str:
    return ".".join(_WORDS.findall(name))
