"""Layers to adapt: a handful of small live ones, and all of SD1.5's by name and shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lib_lora.models.layers import kohya_key

TE = "lora_te_text_model_encoder_layers_0"
DOWN = "lora_unet_down_blocks_0"


@pytest.fixture
def layers() -> dict[str, nn.Module]:
    """One frozen layer of each kind, under the name it would have in SD1."""
    torch.manual_seed(0)
    live = {
        f"{TE}_self_attn_q_proj": nn.Linear(6, 6),
        f"{TE}_mlp_fc1": nn.Linear(6, 10),
        f"{DOWN}_attentions_0_proj_in": nn.Conv2d(8, 8, 1),
        f"{DOWN}_attentions_0_transformer_blocks_0_attn1_to_q": nn.Linear(8, 8, bias=False),
        f"{DOWN}_resnets_0_conv1": nn.Conv2d(8, 12, 3, padding=1),
        f"{DOWN}_resnets_0_conv_shortcut": nn.Conv2d(8, 12, 1),
        f"{DOWN}_resnets_0_time_emb_proj": nn.Linear(5, 12),
        f"{DOWN}_downsamplers_0_conv": nn.Conv2d(8, 8, 3, stride=2, padding=1),
        "lora_unet_conv_in": nn.Conv2d(4, 8, 3, padding=1),
        "lora_unet_time_embedding_linear_1": nn.Linear(5, 5),
    }
    for layer in live.values():
        layer.requires_grad_(False)
    return live


@pytest.fixture(scope="session")
def sd15_unet_paths() -> dict[str, tuple[str, nn.Module]]:
    """kohya key -> (diffusers path, module) of SD1.5's U-Net, without memory behind the modules."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return adaptable("unet", UNet2DConditionModel(cross_attention_dim=768))


@pytest.fixture(scope="session")
def sd15_layers(sd15_unet_paths) -> dict[str, nn.Module]:
    """Every linear layer and convolution of SD1.5's U-Net and text encoder, without memory behind them."""
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    with torch.device("meta"):
        text = adaptable("te", CLIPTextModel(CLIPTextConfig(**sizes)))
    return {key: module for key, (_, module) in {**sd15_unet_paths, **text}.items()}


def adaptable(part: str, model: nn.Module) -> dict[str, tuple[str, nn.Module]]:
    named = [(path, m) for path, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return {kohya_key(part, path): (path, m) for path, m in named if "embeddings" not in path}
