"""The names of SD1's and SDXL's layers: ldm checkpoints, diffusers modules and kohya LoRA files.

A name is translated by its longest known prefix, so the same small tables serve blocks, modules and parameters, in both
directions. Names: CompVis/stable-diffusion (ldm), huggingface/diffusers, kohya-ss/sd-scripts ``networks/lora.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "cond_stage_model.transformer."
ATTENTION_LEVELS = {"sd1": (True, True, True, False), "sdxl": (False, True, True)}  # of the U-Net, from the outside
KOHYA_PREFIX = {part: f"lora_{part}_" for part in ("unet", "te", "te1", "te2")}

_UNET_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_VAE_RESNET = {"nin_shortcut": "conv_shortcut"}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def _block(ldm: str, diffusers: str, leaves: Mapping[str, str] | None = None) -> dict[str, str]:
    inner = {f"{ldm}.{a}": f"{diffusers}.{b}" for a, b in (leaves or {}).items()}
    return {ldm: diffusers, **inner}


def _unet_table(attention: Sequence[bool]) -> dict[str, str]:
    """For a U-Net with or without attention at each level."""
    table = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "label_emb.0.0": "class_embedding.linear_1",
        "label_emb.0.2": "class_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
        **_block("middle_block.0", "mid_block.resnets.0", _UNET_RESNET),
        **_block("middle_block.1", "mid_block.attentions.0"),
        **_block("middle_block.2", "mid_block.resnets.1", _UNET_RESNET),
    }
    last = len(attention) - 1
    for level, attends in enumerate(attention):
        for layer in range(2):
            ldm, ours = f"input_blocks.{1 + 3 * level + layer}", f"down_blocks.{level}"
            table |= _block(f"{ldm}.0", f"{ours}.resnets.{layer}", _UNET_RESNET)
            if attends:
                table |= _block(f"{ldm}.1", f"{ours}.attentions.{layer}")
        if level < last:
            table[f"input_blocks.{3 * level + 3}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
    for level, attends in enumerate(reversed(attention)):  # up blocks are counted from the inside
        for layer in range(3):
            ldm, ours = f"output_blocks.{3 * level + layer}", f"up_blocks.{level}"
            table |= _block(f"{ldm}.0", f"{ours}.resnets.{layer}", _UNET_RESNET)
            if attends:
                table |= _block(f"{ldm}.1", f"{ours}.attentions.{layer}")
        if level < last:
            table[f"output_blocks.{3 * level + 2}.{2 if attends else 1}.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
    return table


def _vae_table() -> dict[str, str]:
    table: dict[str, str] = {}
    for half in ("encoder", "decoder"):
        table |= _block(f"{half}.mid.block_1", f"{half}.mid_block.resnets.0", _VAE_RESNET)
        table |= _block(f"{half}.mid.attn_1", f"{half}.mid_block.attentions.0", _VAE_ATTENTION)
        table |= _block(f"{half}.mid.block_2", f"{half}.mid_block.resnets.1", _VAE_RESNET)
        table[f"{half}.norm_out"] = f"{half}.conv_norm_out"
    for level in range(4):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{3 - level}"  # ldm counts up blocks backwards
        for layer in range(2):
            table |= _block(f"encoder.down.{level}.block.{layer}", f"{down}.resnets.{layer}", _VAE_RESNET)
        for layer in range(3):
            table |= _block(f"decoder.up.{level}.block.{layer}", f"{up}.resnets.{layer}", _VAE_RESNET)
        table[f"encoder.down.{level}.downsample"] = f"{down}.downsamplers.0"
        table[f"decoder.up.{level}.upsample"] = f"{up}.upsamplers.0"
    return table


_UNET = {family: _unet_table(attention) for family, attention in ATTENTION_LEVELS.items()}
_VAE = _vae_table()
_UNET_BACK = {family: {b: a for a, b in table.items()} for family, table in _UNET.items()}
_VAE_BACK = {b: a for a, b in _VAE.items()}


def _translate(path: str, table: Mapping[str, str]) -> str:
    """Replace the longest prefix of ``path`` that ``table`` knows; names that it does not know stay."""
    head = path
    while head:
        if head in table:
            return table[head] + path[len(head) :]
        head = head.rpartition(".")[0]
    return path


def ldm_to_diffusers_module(path: str, family: str = "sd1") -> str:
    """``input_blocks.1.1.proj_in`` -> ``down_blocks.0.attentions.0.proj_in``: a U-Net module or parameter path."""
    return _translate(path, _UNET[family])


def diffusers_to_ldm_module(path: str, family: str = "sd1") -> str:
    """The inverse of :func:`ldm_to_diffusers_module`."""
    return _translate(path, _UNET_BACK[family])


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


def unet_to_diffusers(ldm: Mapping[str, Tensor], family: str = "sd1") -> dict[str, Tensor]:
    """The U-Net of an ldm checkpoint, renamed; other keys of ``ldm`` are left out."""
    return {ldm_to_diffusers_module(key[len(UNET_PREFIX) :], family): t for key, t in _under(ldm, UNET_PREFIX)}


def unet_to_ldm(state: Mapping[str, Tensor], family: str = "sd1") -> dict[str, Tensor]:
    """A diffusers U-Net under the names of an ldm checkpoint."""
    return {UNET_PREFIX + diffusers_to_ldm_module(key, family): t for key, t in state.items()}


def vae_to_diffusers(ldm: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The VAE of an ldm checkpoint, renamed; the 1×1 convolutions of its attention become linear layers."""
    renamed = {_translate(key[len(VAE_PREFIX) :], _VAE): t for key, t in _under(ldm, VAE_PREFIX)}
    return {key: t[:, :, 0, 0] if _is_vae_attention(key) and t.ndim == 4 else t for key, t in renamed.items()}


def vae_to_ldm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A diffusers VAE under the names and shapes of an ldm checkpoint."""
    shaped = {key: t[:, :, None, None] if _is_vae_attention(key) and t.ndim == 2 else t for key, t in state.items()}
    return {VAE_PREFIX + _translate(key, _VAE_BACK): t for key, t in shaped.items()}


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
