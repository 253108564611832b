"""Forge-Classic's model: A1111's shell, whose parts were exchanged for ones in ``forge_objects``."""

from types import SimpleNamespace

import torch
from ldm_double import LatentDiffusion
from ldm_patched.ldm.modules.attention import BasicTransformerBlock, CrossAttention
from ldm_patched.modules import model_management
from ldm_patched.modules.model_management import ModelPatcher
from modules import sd_hijack
from torch import nn


class ForgeObjects:
    def __init__(self, unet, clip, vae):
        self.unet, self.clip, self.vae = unet, clip, vae

    def shallow_copy(self):
        return ForgeObjects(self.unet, self.clip, self.vae)


class BaseModel(nn.Module):
    manual_cast_dtype, inpaint_model = None, False
    model_config = SimpleNamespace(latent_format=SimpleNamespace(scale_factor=0.18215))

    def __init__(self, unet):
        super().__init__()
        self.diffusion_model = unet

    def get_dtype(self):
        return next(self.diffusion_model.parameters()).dtype


@torch.no_grad()
def load_model_for_a1111(info):
    shell = LatentDiffusion(info.filename)
    shell.load_file(info.filename)
    shell.sd_checkpoint_info, shell.filename = info, info.filename
    unet = shell.model.diffusion_model
    for module in unet.modules():
        if type(module).__name__ == "BasicTransformerBlock":
            module.__class__, module.checkpoint = BasicTransformerBlock, False
            module.attn1.__class__ = module.attn2.__class__ = CrossAttention
    encoders = nn.Module()
    encoders.clip_l = nn.Module()
    encoders.clip_l.transformer = shell.cond_stage_model.transformer
    clip = SimpleNamespace(cond_stage_model=encoders, patcher=ModelPatcher(encoders))
    vae = SimpleNamespace(first_stage_model=shell.first_stage_model, patcher=ModelPatcher(shell.first_stage_model))
    shell.forge_objects = ForgeObjects(ModelPatcher(BaseModel(unet)), clip, vae)
    shell.forge_objects_original = shell.forge_objects.shallow_copy()
    shell.current_lora_hash = str([])
    sd_hijack.model_hijack.hijack(shell)
    return shell


@torch.inference_mode()
def sample(shell, text, seed=5):
    """Two steps of an image: moves and patches in inference mode, as in ``process_images``."""
    objects = shell.forge_objects
    model_management.load_model_gpu(objects.clip.patcher)
    cond = shell.cond_stage_model([text])
    model_management.load_model_gpu(objects.unet)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    for t in (900.0, 400.0):
        x = x - 0.1 * objects.unet.model.diffusion_model(x, torch.tensor([t]), context=cond)
    return x
