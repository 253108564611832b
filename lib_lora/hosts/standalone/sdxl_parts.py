"""The modules of an SDXL checkpoint, of any width, and their weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lib_lora.hosts.sdxl import SIZE_WIDTH
from lib_lora.hosts.standalone.shape import CLIP_HEAD_WIDTH, SPECIAL_TOKENS
from lib_lora.models.layers import UNET_PREFIX

HEAD_WIDTH = 64  # of the U-Net's attention
LEVELS = (1, 4, 7)  # an input block of each
CLIP_L = "conditioner.embedders.0.transformer.text_model."
CLIP_G = "conditioner.embedders.1.model."
OPEN_CLIP = {
    "token_embedding": "embeddings.token_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final": "final_layer_norm",
}
OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)")
IN_PROJECTION = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")


def is_sdxl(keys: Collection[str]) -> bool:
    """Whether a checkpoint with these keys has SDXL's two text encoders; the refiner has one."""
    return f"{CLIP_L}final_layer_norm.weight" in keys and f"{CLIP_G}ln_final.weight" in keys


def build_xl_unet(tensors: Mapping[str, Tensor]) -> UNet2DConditionModel:
    """A U-Net in the widths of a checkpoint. The pooled vector and the sizes go in as class labels."""
    channels = [tensors[f"{UNET_PREFIX}input_blocks.{n}.0.out_layers.3.weight"].shape[0] for n in LEVELS]
    depths = [_count(tensors, f"{UNET_PREFIX}input_blocks.{n}.1.transformer_blocks.") for n in LEVELS]
    return UNet2DConditionModel(
        sample_size=128,
        block_out_channels=tuple(channels),
        layers_per_block=2,
        down_block_types=tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths),
        up_block_types=tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)),
        transformer_layers_per_block=tuple(max(1, depth) for depth in depths),
        attention_head_dim=tuple(max(1, c // HEAD_WIDTH) for c in channels),  # diffusers' name for the number of heads
        use_linear_projection=True,
        cross_attention_dim=_width(tensors, CLIP_L, "embeddings.token_embedding.weight")
        + _width(tensors, CLIP_G, "token_embedding.weight"),
        class_embed_type="projection",
        projection_class_embeddings_input_dim=tensors[f"{CLIP_G}text_projection"].shape[1] + 6 * SIZE_WIDTH,
    )


def build_text_encoders(tensors: Mapping[str, Tensor]) -> nn.ModuleDict:
    """``clip_l``, a ``CLIPTextModel``, and ``clip_g``, a ``CLIPTextModelWithProjection``."""
    first = _config(
        _width(tensors, CLIP_L, "embeddings.token_embedding.weight"),
        tensors[f"{CLIP_L}encoder.layers.0.mlp.fc1.weight"].shape[0],
        _count(tensors, f"{CLIP_L}encoder.layers."),
        hidden_act="quick_gelu",
    )
    second = _config(
        _width(tensors, CLIP_G, "token_embedding.weight"),
        tensors[f"{CLIP_G}transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        _count(tensors, f"{CLIP_G}transformer.resblocks."),
        hidden_act="gelu",
        projection_dim=tensors[f"{CLIP_G}text_projection"].shape[1],
    )
    return nn.ModuleDict({"clip_l": CLIPTextModel(first), "clip_g": CLIPTextModelWithProjection(second)})


def text_weights(tensors: Mapping[str, Tensor], encoders: nn.ModuleDict) -> dict[str, Tensor]:
    """A checkpoint's text encoders under the names of ``encoders``, which differ between releases of transformers."""
    first = {key.removeprefix(CLIP_L): t for key, t in tensors.items() if key.startswith(CLIP_L)}
    second = _from_open_clip({key.removeprefix(CLIP_G): t for key, t in tensors.items() if key.startswith(CLIP_G)})
    found = {}
    for name, weights in (("clip_l", first), ("clip_g", second)):
        prefixed = any(key.startswith("text_model.") for key in encoders[name].state_dict())
        for key, tensor in weights.items():
            inner = "text_model." if prefixed and key != "text_projection.weight" else ""
            found[f"{name}.{inner}{key}"] = tensor
    return found


def _from_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's text model under the names of transformers' ``CLIPTextModelWithProjection``."""
    found = {}
    for key, tensor in tensors.items():
        if key == "text_projection":
            found["text_projection.weight"] = tensor.T.contiguous()
        elif match := IN_PROJECTION.fullmatch(key):
            for name, part in zip("qkv", tensor.chunk(3), strict=True):
                found[f"encoder.layers.{match[1]}.self_attn.{name}_proj.{match[2]}"] = part
        elif match := LAYER.fullmatch(key):
            found[f"encoder.layers.{match[1]}.{OPEN_CLIP_LAYER.get(match[2], match[2])}.{match[3]}"] = tensor
        else:
            name = next((name for name in OPEN_CLIP if key.startswith(name)), None)
            found[key if name is None else OPEN_CLIP[name] + key.removeprefix(name)] = tensor
    return found


def _config(width: int, mlp: int, layers: int, **others: object) -> CLIPTextConfig:
    heads = max(1, width // CLIP_HEAD_WIDTH)
    return CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=mlp, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=77, **SPECIAL_TOKENS, **others,
    )  # fmt: skip


def _width(tensors: Mapping[str, Tensor], prefix: str, embedding: str) -> int:
    return tensors[prefix + embedding].shape[1]


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in tensors if key.startswith(prefix)})
