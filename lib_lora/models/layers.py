"""Whole state dicts of Stable Diffusion's parts, between ldm checkpoints and diffusers; and the keys of modules.

Names: CompVis/stable-diffusion (ldm), huggingface/diffusers, kohya-ss/sd-scripts ``networks/lora.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lib_lora.models.unet import SD, UNetNames, block, translate

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "cond_stage_model.transformer."
KOHYA_PREFIX = {part: f"lora_{part}_" for part in ("unet", "te", "te1", "te2")}

_VAE_RESNET = {"nin_shortcut": "conv_shortcut"}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def _vae_table() -> dict[str, str]:
    table: dict[str, str] = {}
    for half in ("encoder", "decoder"):
        table |= block(f"{half}.mid.block_1", f"{half}.mid_block.resnets.0", _VAE_RESNET)
        table |= block(f"{half}.mid.attn_1", f"{half}.mid_block.attentions.0", _VAE_ATTENTION)
        table |= block(f"{half}.mid.block_2", f"{half}.mid_block.resnets.1", _VAE_RESNET)
        table[f"{half}.norm_out"] = f"{half}.conv_norm_out"
    for level in range(4):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{3 - level}"  # ldm counts up blocks backwards
        for layer in range(2):
            table |= block(f"encoder.down.{level}.block.{layer}", f"{down}.resnets.{layer}", _VAE_RESNET)
        for layer in range(3):
            table |= block(f"decoder.up.{level}.block.{layer}", f"{up}.resnets.{layer}", _VAE_RESNET)
        table[f"encoder.down.{level}.downsample"] = f"{down}.downsamplers.0"
        table[f"decoder.up.{level}.upsample"] = f"{up}.upsamplers.0"
    return table


_VAE = _vae_table()
_VAE_BACK = {b: a for a, b in _VAE.items()}


def kohya_key(part: str, module_path: str) -> str:
    """The LoRA file's name of a module.

    Args:
        part: ``"unet"`` or a text encoder, ``"te"``, or of SDXL's two ``"te1"`` or ``"te2"``.
        module_path: diffusers path of a U-Net module, or transformers path of a text-encoder module, with or without
            the leading ``text_model.`` that transformers 5 dropped.
    """
    if part != "unet" and not module_path.startswith("text_model."):
        module_path = f"text_model.{module_path}"
    return KOHYA_PREFIX[part] + module_path.replace(".", "_")


def unet_to_diffusers(ldm: Mapping[str, Tensor], names: UNetNames = SD) -> dict[str, Tensor]:
    """The U-Net of an ldm checkpoint, renamed; other keys of ``ldm`` are left out."""
    return {names.to_diffusers(key[len(UNET_PREFIX) :]): t for key, t in _under(ldm, UNET_PREFIX)}


def unet_to_ldm(state: Mapping[str, Tensor], names: UNetNames = SD) -> dict[str, Tensor]:
    """A diffusers U-Net under the names of an ldm checkpoint."""
    return {UNET_PREFIX + names.to_ldm(key): t for key, t in state.items()}


def vae_to_diffusers(ldm: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The VAE of an ldm checkpoint, renamed; the 1×1 convolutions of its attention become linear layers."""
    renamed = {translate(key[len(VAE_PREFIX) :], _VAE): t for key, t in _under(ldm, VAE_PREFIX)}
    return {key: t[:, :, 0, 0] if _is_vae_attention(key) and t.ndim == 4 else t for key, t in renamed.items()}


def vae_to_ldm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A diffusers VAE under the names and shapes of an ldm checkpoint."""
    shaped = {key: t[:, :, None, None] if _is_vae_attention(key) and t.ndim == 2 else t for key, t in state.items()}
    return {VAE_PREFIX + translate(key, _VAE_BACK): t for key, t in shaped.items()}


def clip_to_transformers(ldm: Mapping[str, Tensor], *, prefixed: bool) -> dict[str, Tensor]:
    """The text encoder of an ldm checkpoint.

    Args:
        ldm: a whole checkpoint, or any part of it.
        prefixed: whether names keep ``text_model.`` (transformers 4) or not (transformers 5).
    """
    prefix = CLIP_PREFIX if prefixed else f"{CLIP_PREFIX}text_model."
    return {key[len(prefix) :]: t for key, t in _under(ldm, f"{CLIP_PREFIX}text_model.")}


def clip_to_ldm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A transformers CLIP text model, of version 4 or 5, under the names of an ldm checkpoint."""
    return {f"{CLIP_PREFIX}text_model.{key.removeprefix('text_model.')}": t for key, t in state.items()}


def _under(state: Mapping[str, Tensor], prefix: str) -> list[tuple[str, Tensor]]:
    return [(key, t) for key, t in state.items() if key.startswith(prefix)]


def _is_vae_attention(key: str) -> bool:
    return ".mid_block.attentions.0.to_" in key and key.endswith(".weight")
