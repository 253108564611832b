"""SDXL in Forge-Classic, whose projection of the pooled vector is a matrix beside the text model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lib_lora.models.schedule import scaled_linear_alphas
from tests.hosts.sdxl import check_gradients_reach_every_layer, check_sizes_are_pixels


@pytest.fixture
def shell(host: Any) -> Any:
    """A shell as Classic fills it, with SDXL's parts."""
    import sgm_double
    from classic_double import BaseModel, ForgeObjects
    from ldm_patched.modules.model_management import ModelPatcher
    from modules import sd_models

    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet, clips = sgm_double.narrow_unet(64), [sgm_double.narrow_clip(width) for width in sgm_double.WIDTHS]
        projection = nn.Parameter(torch.randn(64, 64) * 0.1)
    encoders = nn.Module()
    for name, clip in zip(("clip_l", "clip_g"), clips, strict=True):
        encoders.add_module(name, nn.Module())
        getattr(encoders, name).transformer = clip
    encoders.clip_g.text_projection = projection
    unet.__class__ = type("UNet", (sgm_double.UNetWithVector,), {"forward": forward})
    vae = sgm_double.AutoencoderKL((32, 32, 32, 32))
    objects = ForgeObjects(
        ModelPatcher(BaseModel(unet)),
        SimpleNamespace(cond_stage_model=encoders, patcher=ModelPatcher(encoders)),
        SimpleNamespace(first_stage_model=vae, patcher=ModelPatcher(vae)),
    )
    shell = SimpleNamespace(
        is_sd1=False, is_sdxl=True, parameterization="eps", alphas_cumprod=scaled_linear_alphas(),
        sd_checkpoint_info=next(iter(sd_models.checkpoints_list.values())), forge_objects=objects,
        forge_objects_original=objects.shallow_copy(), conditioner=sgm_double.GeneralConditioner(),
    )  # fmt: skip
    shell.conditioner.embedders[0].tokenize = shell.conditioner.tokenize
    sd_models.model_data.sd_model = shell
    return shell


def forward(self: Any, x: Any, timesteps: Any = None, context: Any = None, y: Any = None, transformer_options=None):
    from sgm_double import UNetWithVector

    return UNetWithVector.forward(self, x, timesteps, context, y)


@pytest.fixture
def model(host: Any, shell: Any) -> Any:
    with host.training_session() as model:
        yield model


def test_the_pooled_vector_goes_through_the_matrix(model, shell):
    with torch.no_grad():
        cond = model.encode_text(["a hat"])
        ids = torch.tensor([[49406, *model.tokens("a hat"), 49407, *[0] * 73]])
        clip = shell.forge_objects_original.clip.cond_stage_model.clip_g
        pooled = clip.transformer(input_ids=ids).pooler_output @ clip.text_projection
    torch.testing.assert_close(cond[:, 0, -64:], pooled)


def test_sizes_are_pixels_and_default_to_the_picture_itself(model):
    check_sizes_are_pixels(model)


def test_gradients_reach_every_layer_on_offer(model):
    assert "lora_te2_text_model_encoder_layers_0_self_attn_q_proj" in check_gradients_reach_every_layer(model)
