"""The U-Nets of Stable Diffusion 1, 2 and XL: the names of their layers in ldm and diffusers, their blocks and kinds.

A name is translated by its longest known beginning, so the same small table serves blocks, modules and parameters, in
both directions, with dots or with underscores. Names: CompVis/stable-diffusion (ldm), Stability-AI/generative-models
(sgm), huggingface/diffusers. Blocks: hako-mikan/sd-webui-lora-block-weight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lib_lora.models.family import UNET, Blocks, Kinds, Place, Trained

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_LAYER = re.compile(
    r"(?:down|up)_blocks_\d+_(?:attentions|resnets|downsamplers|upsamplers)_\d+_|mid_block_(?:attentions|resnets)_\d_"
    r"|(?:in|out)put_blocks_\d+_\d(?:_|$)|middle_block_\d_|conv_in$|conv_out$|conv_norm_out$|out_[02]$"
    r"|time_embed(?:ding)?_|(?:add|class)_embedding_|label_emb_"
)

_SLOT = re.compile(r"(?P<side>in|out)put_blocks_(?P<n>\d+)_(?P<slot>\d)_?(?P<rest>.*)")
_DEPTH = re.compile(r"transformer_blocks_(\d+)")


class UNetNames:
    """The names of one U-Net's layers.

    Args:
        depths: transformer blocks in each attention of a level, from the outside; the innermost attention is that deep
            too. 0 is a level without attention.
        sgm: whether files are written with the names of the original code, as for SDXL, or with those of diffusers.
    """

    def __init__(self, depths: Sequence[int], sgm: bool = False):
        self.depths, self.sgm = tuple(depths), sgm
        self._to_diffusers = _table([depth > 0 for depth in depths])
        self._to_ldm = {b: a for a, b in self._to_diffusers.items()}
        self._flat_to_diffusers = _flat(self._to_diffusers)
        self._embeddings = {f"label_emb_0_{2 * n - 2}": f"add_embedding_linear_{n}" for n in (1, 2)}  # of SDXL
        self._flat_to_ldm = _flat(self._to_ldm) | {b: a for a, b in self._embeddings.items()}

    def to_diffusers(self, path: str) -> str:
        """``input_blocks.1.1.proj_in`` -> ``down_blocks.0.attentions.0.proj_in``: a module or parameter path."""
        return translate(path, self._to_diffusers)

    def to_ldm(self, path: str) -> str:
        """The inverse of :meth:`to_diffusers`."""
        return translate(path, self._to_ldm)

    def diffusers_name(self, name: str) -> str:
        """What diffusers calls the layer ``name``, a key without its beginning, with underscores in either spelling."""
        return translate(name, self._flat_to_diffusers | self._embeddings, "_") if self.sgm else name

    def place(self, path: str) -> Place | None:
        """Where ``path``, in either spelling, lies; None if this U-Net has no such layer."""
        ldm = translate(path, self._flat_to_ldm, "_")
        if not _LAYER.match(path) or not self._has(ldm):
            return None
        return Place(UNET + translate(path, self._flat_to_ldm if self.sgm else self._flat_to_diffusers, "_"))

    def _has(self, ldm: str) -> bool:
        """Whether this U-Net has the place: no attention where a level has none, no block behind the last."""
        match = _SLOT.match(ldm)
        if match is None:
            return not ldm.startswith(("down_blocks_", "up_blocks_")) and self._depth(ldm) < max(self.depths)
        number, attends = int(match["n"]), match["slot"] == "1" and not match["rest"].startswith("conv")
        level, levels = (
            (number - 1) // 3 if match["side"] == "in" else len(self.depths) - 1 - number // 3,
            len(self.depths),
        )
        if not 0 <= number < 3 * levels:
            return False
        return not attends or self._depth(ldm) < self.depths[max(level, 0)]

    def _depth(self, ldm: str) -> int:
        match = _DEPTH.search(ldm)
        return int(match[1]) if match else 0

    def shares(self, key: str) -> tuple[int, ...]:
        """(1,): nobody splits a layer of a U-Net."""
        return (1,)


def translate(path: str, table: Mapping[str, str], separator: str = ".") -> str:
    """Replace the longest beginning of ``path`` that ``table`` knows; names that it does not know stay."""
    head = path
    while head:
        if head in table:
            return table[head] + path[len(head) :]
        head = head.rpartition(separator)[0]
    return path


def block(ldm: str, diffusers: str, leaves: Mapping[str, str] | None = None) -> dict[str, str]:
    """The entries of a module and of those of its leaves that have two names."""
    inner = {f"{ldm}.{a}": f"{diffusers}.{b}" for a, b in (leaves or {}).items()}
    return {ldm: diffusers, **inner}


def _flat(table: Mapping[str, str]) -> dict[str, str]:
    return {a.replace(".", "_"): b.replace(".", "_") for a, b in table.items()}


def _table(attention: Sequence[bool]) -> dict[str, str]:
    table = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "label_emb.0.0": "class_embedding.linear_1",
        "label_emb.0.2": "class_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
        **block("middle_block.0", "mid_block.resnets.0", RESNET),
        **block("middle_block.1", "mid_block.attentions.0"),
        **block("middle_block.2", "mid_block.resnets.1", RESNET),
    }
    last = len(attention) - 1
    for level, attends in enumerate(attention):
        for layer in range(2):
            ldm, ours = f"input_blocks.{1 + 3 * level + layer}", f"down_blocks.{level}"
            table |= block(f"{ldm}.0", f"{ours}.resnets.{layer}", RESNET)
            if attends:
                table |= block(f"{ldm}.1", f"{ours}.attentions.{layer}")
        if level < last:
            table[f"input_blocks.{3 * level + 3}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
    for level, attends in enumerate(reversed(attention)):  # up blocks are counted from the inside
        for layer in range(3):
            ldm, ours = f"output_blocks.{3 * level + layer}", f"up_blocks.{level}"
            table |= block(f"{ldm}.0", f"{ours}.resnets.{layer}", RESNET)
            if attends:
                table |= block(f"{ldm}.1", f"{ours}.attentions.{layer}")
        if level < last:
            table[f"output_blocks.{3 * level + 2}.{2 if attends else 1}.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
    return table


SD = UNetNames((1, 1, 1, 0))
XL = UNetNames((0, 2, 10), sgm=True)

# What the lists of the Block Weight extension leave open: the text encoders and the embeddings of time and size belong
# to BASE, for they condition every block and lie in none; conv_in opens IN00, conv_out closes the last OUT. Weights of
# SDXL are kept under the names of all 26 too.
BLOCKS_26 = ("BASE", *(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12)))
BLOCKS_20 = ("BASE", *(f"IN{i:02}" for i in range(9)), "M00", *(f"OUT{i:02}" for i in range(9)))
BLOCKS_17 = ("BASE", "IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(3, 12)))
BLOCKS_12 = ("BASE", "IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(6)))


def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    patterns = {r"lora_te[12]?_": "BASE", r"lora_unet_(?:time_embed|label_emb)": "BASE"}
    for level in range(4):
        down, up = rf"lora_unet_down_blocks_{level}_", rf"lora_unet_up_blocks_{level}_"
        for n in range(3):
            patterns[rf"{down}(?:attentions|resnets)_{n}_"] = f"IN{3 * level + 1 + n:02}"
            patterns[rf"{up}(?:attentions|resnets)_{n}_"] = f"OUT{3 * level + n:02}"
        patterns[rf"{down}downsamplers_"] = f"IN{3 * level + 3:02}"
        patterns[rf"{up}upsamplers_"] = f"OUT{3 * level + 2:02}"
    patterns |= {
        r"lora_unet_input_blocks_(?P<n>\d+)_": "IN{n:02}",
        r"lora_unet_output_blocks_(?P<n>\d+)_": "OUT{n:02}",
        r"lora_unet_mid": "M00",
        r"lora_unet_conv_in": "IN00",
        r"lora_unet_conv_(?:norm_)?out": "OUT11",
        r"lora_unet_out_\d": "OUT08",
    }
    return tuple((re.compile(pattern), name) for pattern, name in patterns.items())


_TITLES = {"BASE": "Text encoder", "IN": "IN: layout", "M": "Middle", "OUT": "OUT: details, colour"}
BLOCKS = Blocks(BLOCKS_26, (BLOCKS_17, BLOCKS_26), _patterns(), also=(BLOCKS_12, BLOCKS_20), titles=_TITLES)
XL_BLOCKS = Blocks(BLOCKS_26, (BLOCKS_12, BLOCKS_20), _patterns(), also=(BLOCKS_17, BLOCKS_26), titles=_TITLES)

# What people call them: self- and cross-attention, and both; the perceptron (also ff, as in the layers' own names); the
# projections into and out of a transformer; norms; and convolutions: residual blocks with all that belongs to them, and
# the way down, up, in and out.
KINDS = Kinds(
    {
        "norm": re.compile(r"_norm\d?$|_(?:in|out)_layers_0$|_conv_norm_out$|_unet_out_0$"),
        "attn1": re.compile(r"_attn1_|_self_attn_"),
        "attn2": re.compile(r"_attn2_"),
        "mlp": re.compile(r"_ff_net_|_mlp_"),
        "proj": re.compile(r"_proj_(?:in|out)$"),
    },
    "conv",
    {"attn": ("attn1", "attn2"), "ff": ("mlp",)},
)

_DIFFUSERS = r"(?:down_blocks_\d+|mid_block|up_blocks_\d+)"
_SGM = r"(?:input_blocks_\d+|middle_block|output_blocks_\d+)"
TRAINED = Trained(
    re.compile(
        rf"lora_unet_(?:{_DIFFUSERS}_attentions_\d+_|{_SGM}_\d+_(?:proj_in|proj_out|transformer_blocks|norm$))"
        r"|lora_te\d?_text_model_encoder_layers_\d+_(?:self_attn|mlp|layer_norm)"
    ),
    re.compile(r"_attn[12]_|_self_attn_"),
    re.compile(
        rf"lora_unet_(?:{_DIFFUSERS}_(?:resnets|downsamplers|upsamplers)_\d+_"
        rf"|{_SGM}_\d+_(?:in_layers|out_layers|emb_layers|skip_connection|op$|conv$))"
    ),
)

CLIP = r"(?!encoder_block_|layers_|model_layers_|llm_adapter_)"  # no T5, no language model
