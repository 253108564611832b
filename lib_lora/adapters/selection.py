"""Which layers of a model get an adapter: kohya's choice, told by key and weight shape, never by class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from lib_lora.adapters.algorithms import wrappable
from lib_lora.adapters.blocks import block_of
from lib_lora.adapters.dropout import Dropout
from lib_lora.adapters.recognition import family_of
from lib_lora.errors import UserError
from lib_lora.models.families import families, family
from lib_lora.models.family import Family
from lib_lora.models.weights import weight_shape
from lib_lora.patterns import check, matching

THREE_BY_THREE = re.compile(
    r"_(?:conv1|conv2|conv_in|conv_out|in_layers_2|out_layers_3|op|blocks_\d+_[12]_conv"
    r"|unet_input_blocks_0_0|unet_out_2)$|samplers_0_conv$"
)

ATTENTION_PRESET, MLP_PRESET, CONV_PRESET = "attention", "attention+mlp", "attention+mlp+conv"
LAYER_PRESETS = (ATTENTION_PRESET, MLP_PRESET, CONV_PRESET)


@dataclass(frozen=True)
class NetworkSpec:
    """What to train, with kohya's and LyCORIS' meanings.

    Attributes:
        algorithm: name of a file in ``algorithms/``.
        rank, alpha: of linear layers and 1×1 convolutions; ΔW is scaled by alpha / rank. alpha 0 means alpha = rank.
            OFT and BOFT read the rank as the largest block.
        conv_rank, conv_alpha: of 3×3 convolutions. Above 0 (LoCon), the residual blocks and the down- and upsamplers
            are adapted too; their linear layers and 1×1 shortcuts use ``rank``.
        train_unet, train_text_encoder: which parts get adapters.
        layers: ``"attention"`` (q, k, v and out), ``"attention+mlp"`` (whole transformer blocks, kohya's choice),
            ``"attention+mlp+conv"`` (as with a conv_rank, which is then the rank), or a regular expression that is
            searched in the layers' keys.
        dora: around lora, loha or lokr; learns the length of the weights apart from their direction.
        rs_lora: scale by alpha / √rank (Kalajdzievski 2023); files carry alpha·√rank, so that any loader agrees.
        tucker: 3×3 kernels get a core between two 1×1 projections.
        factor, decompose_both, full_matrix: LoKr's, see :class:`LayerSpec`.
        constraint: OFT's and BOFT's.
        train_norm: adapt the normalisation layers too, where the model offers them.
        block_ranks, block_alphas: block name, one of the 26, -> rank; 0 leaves the block out. Alpha keeps its ratio to
            the rank in blocks that have none of their own.
        conv_block_ranks, conv_block_alphas: the same for 3×3 convolutions, which else go by ``block_ranks`` too.
        dropout: drawn per step by :meth:`Network.dropping`.
    """

    algorithm: str = "lora"
    rank: int = 16
    alpha: float = 8.0
    conv_rank: int = 0
    conv_alpha: float = 1.0
    train_unet: bool = True
    train_text_encoder: bool = True
    layers: str = MLP_PRESET
    dora: bool = False
    rs_lora: bool = False
    tucker: bool = False
    factor: int = -1
    decompose_both: bool = False
    full_matrix: bool = False
    constraint: float = 0.0
    train_norm: bool = False
    block_ranks: Mapping[str, int] = field(default_factory=dict)
    block_alphas: Mapping[str, float] = field(default_factory=dict)
    conv_block_ranks: Mapping[str, int] = field(default_factory=dict)
    conv_block_alphas: Mapping[str, float] = field(default_factory=dict)
    dropout: Dropout = field(default_factory=Dropout)

    def __post_init__(self) -> None:
        if self.rank < 1 or self.conv_rank < 0:
            raise UserError("The rank must be at least 1", where="rank", fix="Use 4 to 128; 16 is a good start.")
        if self.dora and self.algorithm not in wrappable():
            raise UserError(
                f"DoRA cannot be combined with {self.algorithm}", where="dora", fix=f"Use {', '.join(wrappable())}."
            )
        if self.dropout.orders and (self.algorithm != "lora" or self.dora):
            raise UserError(
                "Ranks can be trained unequally in LoRA alone",
                where="dropout",
                fix="Use the algorithm lora, without DoRA.",
            )
        named = {*self.block_ranks, *self.block_alphas, *self.conv_block_ranks, *self.conv_block_alphas}
        if not any(named <= set(one.blocks.names) for one in families().values()):
            unknown = ", ".join(sorted(named))
            names = ", ".join(family("sd1").blocks.names)
            raise UserError(f"No family has the blocks {unknown}", where="block ranks", fix=f"Of SD they are {names}.")
        check_layers(self.layers)


def part_of(key: str) -> str:
    """``"unet"`` or ``"te"``."""
    return "unet" if key.startswith("lora_unet_") else "te"


def kernel_of(key: str) -> int:
    """Side of the kernel of the layer called ``key``: 3 for convolutions of residual blocks and the like, else 1."""
    return 3 if THREE_BY_THREE.search(key) else 1


def selects(spec: NetworkSpec, key: str, of: Family, found: bool | None = None) -> bool:
    """Whether ``spec`` adapts the layer called ``key``. SD1.5 has 192 such layers in the U-Net and 72 in CLIP.

    Args:
        found: whether the regular expression that ``layers`` is occurs in the key; None: look.
    """
    if not (spec.train_text_encoder if part_of(key) == "te" else spec.train_unet):
        return False
    ranks, _ = _of_blocks(spec, kernel_of(key) > 1)
    if ranks and ranks.get(of.blocks.of(key) or "") == 0:
        return False
    if spec.layers not in LAYER_PRESETS:
        return found if found is not None else matching(spec.layers, [key], where="layers")[0]
    trained = of.trained
    if trained.convolutions is not None and trained.convolutions.match(key):
        return spec.conv_rank > 0 or spec.layers == CONV_PRESET
    if not trained.usual.match(key):
        return False
    return spec.layers != ATTENTION_PRESET or trained.attention.search(key) is not None


def select(layers: Mapping[str, nn.Module], spec: NetworkSpec) -> dict[str, nn.Module]:
    """The layers ``spec`` adapts, in the order given: linear layers, 2-d convolutions and, if asked, norms.

    Raises:
        UserError: when there are none.
    """
    kinds, of = (1, 2, 4) if spec.train_norm else (2, 4), family_of(layers)
    idle = of.trained.idle(layers)
    own = spec.layers not in LAYER_PRESETS  # a user's expression: all keys at once, where it can be stopped
    found = dict(zip(layers, matching(spec.layers, list(layers), where="layers"), strict=True)) if own else {}
    chosen = {
        key: layer
        for key, layer in layers.items()
        if layer.weight is not None
        and len(weight_shape(layer)) in kinds
        and key not in idle
        and selects(spec, key, of, found.get(key))
    }
    if not chosen:
        raise UserError(
            "There is nothing to train in this model with these settings",
            where="train_unet, train_text_encoder, layers",
            fix="Switch on the U-Net or the text encoder, and check that the checkpoint is a Stable Diffusion model.",
        )
    if spec.train_norm and all(len(weight_shape(layer)) > 1 for layer in chosen.values()):
        raise UserError(
            "No normalisation layer of this model can be trained with these settings",
            where="train_norm",
            fix="Switch it off, or choose layers that include norms.",
        )
    return chosen


def rank_and_alpha(spec: NetworkSpec, key: str, weight_shape: torch.Size) -> tuple[int, float]:
    """Rank and alpha of one layer, alpha as a file stores it."""
    kernel = weight_shape[2:].numel() > 1
    rank, alpha = (spec.conv_rank, spec.conv_alpha) if kernel and spec.conv_rank else (spec.rank, spec.alpha)
    ranks, alphas = _of_blocks(spec, kernel)
    if ranks:
        block = block_of(key)
        chosen = ranks.get(block, rank)
        rank, alpha = chosen, alphas.get(block, alpha * chosen / rank)
    alpha = alpha or float(rank)
    return rank, alpha * rank**0.5 if spec.rs_lora else alpha


def _of_blocks(spec: NetworkSpec, kernel: bool) -> tuple[Mapping[str, int], Mapping[str, float]]:
    """Ranks and alphas of single blocks, for 3×3 convolutions or for the other layers."""
    if kernel and spec.conv_block_ranks:
        return spec.conv_block_ranks, spec.conv_block_alphas
    return spec.block_ranks, spec.block_alphas


def check_layers(text: str) -> None:
    """Raise :class:`UserError` unless ``text`` is the name of a choice of layers, or a regular expression."""
    if text in LAYER_PRESETS:
        return
    try:
        check(text, where="layers")
    except UserError as error:
        fix = f"Use {', '.join(LAYER_PRESETS)}, or a regular expression such as attn2."
        raise UserError(f"{text[:60]!r} is no choice of layers ({error.what})", where="layers", fix=fix) from error
