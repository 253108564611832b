"""An SDXL checkpoint of random weights, far narrower than the original, under the names of the published file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from lib_lora.hosts.standalone.sdxl_parts import CLIP_G, CLIP_L, build_xl_unet
from lib_lora.hosts.standalone.shape import SPECIAL_TOKENS, build_vae
from lib_lora.models import layers
from lib_lora.models.unet import XL

FIRST, SECOND, POOLED, LAYERS = 64, 128, 96, 2
CHANNELS, DEPTHS = (32, 64, 128), (0, 2, 3)


def random_xl_tensors(seed: int = 0) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tensors = {**_clip_l(), **_clip_g(), **layers.vae_to_ldm(build_vae((32, 32, 32, 32)).state_dict())}
        unet = build_xl_unet({**tensors, **_shapes()})
        return {**tensors, **layers.unet_to_ldm(unet.state_dict(), XL)}


def random_xl_checkpoint(path: Path, seed: int = 0, **flags: Tensor) -> Path:
    tensors = {key: t.detach().contiguous() for key, t in random_xl_tensors(seed).items()}
    save_file({**tensors, **flags}, path)
    return path


def _shapes() -> dict[str, Tensor]:
    """What the widths are read from."""
    shapes = {}
    for block, channels, depth in zip((1, 4, 7), CHANNELS, DEPTHS, strict=True):
        prefix = f"{layers.UNET_PREFIX}input_blocks.{block}"
        shapes[f"{prefix}.0.out_layers.3.weight"] = torch.empty(channels)
        shapes |= {f"{prefix}.1.transformer_blocks.{n}.norm1.weight": torch.empty(1) for n in range(depth)}
    return shapes


def _clip_l() -> dict[str, Tensor]:
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=FIRST, intermediate_size=64, num_hidden_layers=LAYERS, num_attention_heads=1,
        **SPECIAL_TOKENS,
    )  # fmt: skip
    state = CLIPTextModel(config).state_dict()
    return {CLIP_L + key.removeprefix("text_model."): t for key, t in state.items()}


def _clip_g() -> dict[str, Tensor]:
    shapes = {
        "token_embedding.weight": (49408, SECOND),
        "positional_embedding": (77, SECOND),
        "text_projection": (SECOND, POOLED),
        "ln_final.weight": (SECOND,),
        "ln_final.bias": (SECOND,),
    }
    for n in range(LAYERS):
        layer = {
            "ln_1.weight": (SECOND,), "ln_1.bias": (SECOND,), "ln_2.weight": (SECOND,), "ln_2.bias": (SECOND,),
            "attn.in_proj_weight": (3 * SECOND, SECOND), "attn.in_proj_bias": (3 * SECOND,),
            "attn.out_proj.weight": (SECOND, SECOND), "attn.out_proj.bias": (SECOND,),
            "mlp.c_fc.weight": (256, SECOND), "mlp.c_fc.bias": (256,),
            "mlp.c_proj.weight": (SECOND, 256), "mlp.c_proj.bias": (SECOND,),
        }  # fmt: skip
        shapes |= {f"transformer.resblocks.{n}.{name}": shape for name, shape in layer.items()}
    tensors = {CLIP_G + name: torch.randn(shape) * 0.1 for name, shape in shapes.items()}
    return tensors | {f"{CLIP_G}logit_scale": torch.tensor(4.6)}
