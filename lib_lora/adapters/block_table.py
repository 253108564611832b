"""The one table of blocks, and of the kinds of layers in them.

SD1 and SD2 have 26 blocks, SDXL has 20 of them. The names are those of the LoRA Block Weight extension: 17 (SD) and 12
(SDXL) for LoRAs, which are the blocks with attention; 26 and 20 for LoCons, which are all. What the tables leave open:
the text encoders and the embeddings of time and size belong to BASE, for they condition every block and lie in none;
conv_in opens IN00, conv_out closes the last OUT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lib_lora.adapters.spelling import family_of
from lib_lora.errors import UserError

BLOCKS_26 = ("BASE", *(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12)))
BLOCKS_20 = ("BASE", *(f"IN{i:02}" for i in range(9)), "M00", *(f"OUT{i:02}" for i in range(9)))
BLOCKS_17 = (
    *("BASE", "IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00"),
    *(f"OUT{i:02}" for i in range(3, 12)),
)
BLOCKS_12 = ("BASE", "IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(6)))
LAYOUTS = {12: BLOCKS_12, 17: BLOCKS_17, 20: BLOCKS_20, 26: BLOCKS_26}
FAMILY_LAYOUTS = {"sd": (BLOCKS_17, BLOCKS_26), "sdxl": (BLOCKS_12, BLOCKS_20)}

# Kinds of layers in a block, by the ends of their names; the first that fits counts.
REST = "conv"  # residual blocks with all that belongs to them, and the way down, up, in and out
_KINDS = {
    "norm": re.compile(r"_norm\d?$|_(?:in|out)_layers_0$|_conv_norm_out$|_unet_out_0$"),
    "attn1": re.compile(r"_attn1_|_self_attn_"),
    "attn2": re.compile(r"_attn2_"),
    "mlp": re.compile(r"_ff_net_|_mlp_"),
    "proj": re.compile(r"_proj_(?:in|out)$"),
}
KINDS = (*_KINDS, REST)
# What people call them: self- and cross-attention, and both; the perceptron (also ff, as in the layers' own names); the
# projections into and out of a transformer; convolutions; norms.
ELEMENTS = {"attn": ("attn1", "attn2"), "ff": ("mlp",), **{kind: (kind,) for kind in KINDS}}

_UNET = re.compile(
    r"lora_unet_(?:"
    r"(?P<side>down|up)_blocks_(?P<level>\d)_(?P<kind>attentions|resnets|downsamplers|upsamplers)_(?P<index>\d)_"
    r"|(?P<sgm>in|out)put_blocks_(?P<number>\d+)_"
    r"|(?P<other>mid_block|middle_block|conv_in|conv_norm_out|conv_out|time_embedding|time_embed|label_emb|out_\d))"
)
_OTHER = {
    **dict.fromkeys(("mid_block", "middle_block"), "M00"),
    **dict.fromkeys(("time_embedding", "time_embed", "label_emb"), "BASE"),
    "conv_in": "IN00",
    **dict.fromkeys(("conv_norm_out", "conv_out"), "OUT11"),
    **dict.fromkeys(("out_0", "out_2"), "OUT08"),
}


def block_of(key: str) -> str:
    """The block, one of 26, that the layer called ``key`` lies in; names as in :mod:`spelling`.

    Raises:
        UserError: for a layer that neither SD nor SDXL has.
    """
    if re.match(r"lora_te[12]?_", key):
        return "BASE"
    match = _UNET.match(key)
    block = match and _unet_block(match)
    if block not in BLOCKS_26:
        raise UserError(
            "Block weights are known for Stable Diffusion 1, 2 and XL, and this layer is part of none",
            where=key,
            fix="Use the LoRA without block weights.",
        )
    return block


def _unet_block(match: re.Match[str]) -> str:
    if match["other"]:
        return _OTHER.get(match["other"], "")
    if match["sgm"]:
        return f"{match['sgm'].upper()}{int(match['number']):02}"
    level, index = int(match["level"]), int(match["index"])
    if match["side"] == "down":
        return f"IN{3 * level + (3 if match['kind'] == 'downsamplers' else 1 + index):02}"
    return f"OUT{3 * level + (2 if match['kind'] == 'upsamplers' else index):02}"


def layout_for(keys: Iterable[str]) -> tuple[str, ...]:
    """The shortest layout of the layers' family that names every block of theirs: for a LoRA, or for a LoCon."""
    keys = list(keys)
    used = {block_of(key) for key in keys}
    short, full = FAMILY_LAYOUTS[family_of(keys)]
    return short if used <= set(short) else full


def element_of(key: str) -> str:
    """The kind of the layer called ``key``, one of ``KINDS``; names as in :mod:`spelling`."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(key)), REST)
