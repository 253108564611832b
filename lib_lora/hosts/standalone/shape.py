"""The widths of a Stable Diffusion 1.x model, and its three modules built in those widths.

The topology is always SD1's (four levels, two layers each); only widths and depths of the text encoder vary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SPECIAL_TOKENS = {
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}  # OpenAI's: the end is the largest id
CLIP_HEAD_WIDTH = 64  # of OpenAI's CLIP; a narrower text encoder states its heads in the side-car


@dataclass(frozen=True)
class Shape:
    """Everything that distinguishes one SD1-shaped model from another. Defaults are Stable Diffusion 1.5.

    Args:
        unet_channels: channels of the four U-Net levels, multiples of 32 (GroupNorm).
        unet_heads: attention heads of every U-Net level.
        vae_channels: channels of the four VAE levels, multiples of 32.
        text_width: width of the text encoder, which is also the U-Net's cross-attention width.
        text_mlp: width of the text encoder's MLP.
        text_layers: transformer layers of the text encoder.
        text_heads: its attention heads.
        vocab: rows of the token embedding.
        positions: rows of the position embedding.
    """

    unet_channels: tuple[int, int, int, int] = (320, 640, 1280, 1280)
    unet_heads: int = 8
    vae_channels: tuple[int, int, int, int] = (128, 256, 512, 512)
    text_width: int = 768
    text_mlp: int = 3072
    text_layers: int = 12
    text_heads: int = 12
    vocab: int = 49408
    positions: int = 77


def build_unet(shape: Shape) -> UNet2DConditionModel:
    """A U-Net with fresh weights: 686 tensors, latents ``[B, 4, h, w]`` in and out."""
    return UNet2DConditionModel(
        sample_size=64,
        block_out_channels=shape.unet_channels,
        layers_per_block=2,
        cross_attention_dim=shape.text_width,
        attention_head_dim=shape.unet_heads,  # diffusers' name for the number of heads of SD1 models
    )


def build_vae(channels: Sequence[int]) -> AutoencoderKL:
    """A KL-VAE with fresh weights: 248 tensors, eight pixels to a latent."""
    return AutoencoderKL(
        block_out_channels=tuple(channels),
        layers_per_block=2,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=512,
    )


def build_text_encoder(shape: Shape) -> CLIPTextModel:
    """A CLIP text model with fresh weights, quick-gelu as OpenAI trained it."""
    config = CLIPTextConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.text_width,
        intermediate_size=shape.text_mlp,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        max_position_embeddings=shape.positions,
        hidden_act="quick_gelu",
        **SPECIAL_TOKENS,
    )
    return CLIPTextModel(config)
