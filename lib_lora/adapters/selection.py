"""Which layers of a model get an adapter: kohya's choice, told by key and weight shape, never by class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from lib_lora.errors import UserError

_BLOCK = r"lora_unet_(?:down_blocks_\d+|mid_block|up_blocks_\d+)"
ATTENTION = re.compile(rf"{_BLOCK}_attentions_\d+_")
CONVOLUTION = re.compile(rf"{_BLOCK}_(?:resnets|downsamplers|upsamplers)_\d+_")
TEXT_ENCODER = re.compile(r"lora_te\d?_text_model_encoder_layers_\d+_(?:self_attn|mlp)_")


@dataclass(frozen=True)
class NetworkSpec:
    """What to train, with kohya's meanings.

    Attributes:
        algorithm: name of a file in ``algorithms/``.
        rank, alpha: of linear layers and 1×1 convolutions; ΔW is scaled by alpha / rank. alpha 0 means alpha = rank.
        conv_rank, conv_alpha: of 3×3 convolutions. Above 0 (LoCon), the residual blocks and the down- and upsamplers
            are adapted too; their linear layers and 1×1 shortcuts use ``rank``.
        train_unet, train_text_encoder: which parts get adapters.
    """

    algorithm: str = "lora"
    rank: int = 16
    alpha: float = 8.0
    conv_rank: int = 0
    conv_alpha: float = 1.0
    train_unet: bool = True
    train_text_encoder: bool = True

    def __post_init__(self) -> None:
        if self.rank < 1 or self.conv_rank < 0:
            raise UserError("The rank must be at least 1", where="rank", fix="Use 4 to 128; 16 is a good start.")


def part_of(key: str) -> str:
    """``"unet"`` or ``"te"``."""
    return "unet" if key.startswith("lora_unet_") else "te"


def selects(spec: NetworkSpec, key: str) -> bool:
    """Whether ``spec`` adapts the layer called ``key``. SD1.5 has 192 such layers in the U-Net and 72 in CLIP."""
    if part_of(key) == "te":
        return spec.train_text_encoder and TEXT_ENCODER.match(key) is not None
    if not spec.train_unet:
        return False
    return ATTENTION.match(key) is not None or (spec.conv_rank > 0 and CONVOLUTION.match(key) is not None)


def select(layers: Mapping[str, nn.Module], spec: NetworkSpec) -> dict[str, nn.Module]:
    """The layers ``spec`` adapts: linear layers and 2-d convolutions, in the order given.

    Raises:
        UserError: when there are none.
    """
    chosen = {key: layer for key, layer in layers.items() if selects(spec, key) and layer.weight.ndim in (2, 4)}
    if not chosen:
        raise UserError(
            "There is nothing to train in this model with these settings",
            where="train_unet, train_text_encoder",
            fix="Switch on the U-Net or the text encoder, and check that the checkpoint is a Stable Diffusion 1 model.",
        )
    return chosen
