"""Forge's engine for SDXL, narrow and with random weights."""

from types import SimpleNamespace

import torch
from backend.nn.unet import Linear, forge_operations, integrated
from backend.patcher import ModelPatcher
from forge_double import CLIP, VAE, ForgeObjects, IntegratedAutoencoderKL, KModel
from ldm.modules.diffusionmodules.util import timestep_embedding
from sgm_double import SIZE_WIDTH, WIDTHS, UNetWithVector, narrow_clip, narrow_unet
from torch import nn

from lib_lora.hosts.standalone.tokenizer import clip_tokenizer

LATENT_SCALE = 0.13025


class IntegratedXLUNet(UNetWithVector):
    def forward(self, x, timesteps=None, context=None, y=None, transformer_options={}, **kwargs):  # noqa: B006 — as in Forge
        assert not transformer_options, "left over from another call"
        transformer_options["block"] = ("output", 8)
        return super().forward(x, timesteps, context, y)


class TextEngine:
    """One chunk of the second layer from the end, without the final norm."""

    def __init__(self, transformer, pad):
        self.transformer, self.pad = transformer, pad

    def tokenize(self, texts):
        return clip_tokenizer()(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def __call__(self, texts):
        ids = [[49406, *row, 49407] for row in self.tokenize(texts)]
        ids = torch.tensor([(row + [self.pad] * 75)[:77] for row in ids])
        return self.transformer(input_ids=ids, output_hidden_states=True)


class StableDiffusionXL:
    is_sd1, is_sd2, is_sdxl, is_sd3, is_inpaint = False, False, True, False, False
    first_stage_model = cond_stage_model = None

    def __init__(self, checkpoint):
        unet = integrated(narrow_unet(WIDTHS[1]))
        unet.__class__ = IntegratedXLUNet
        vae = IntegratedAutoencoderKL((32, 32, 32, 32))
        vae.scaling_factor = LATENT_SCALE
        encoders = nn.Module()
        for name, width in zip(("clip_l", "clip_g"), WIDTHS, strict=True):
            encoder = nn.Module()
            encoder.transformer = forge_operations(narrow_clip(width))
            encoders.add_module(name, encoder)
        encoders.clip_g.transformer.text_projection = Linear(nn.Linear(WIDTHS[1], WIDTHS[1], bias=False))
        self.text_processing_engine_l = TextEngine(encoders.clip_l.transformer, 49407)
        self.text_processing_engine_g = TextEngine(encoders.clip_g.transformer, 0)
        self.model_config = SimpleNamespace(ztsnr=False)
        self.sd_checkpoint_info = checkpoint
        model = ModelPatcher(KModel(unet, torch.float32))
        self.forge_objects = ForgeObjects(model, CLIP(encoders, clip_tokenizer()), VAE(vae))
        self.forge_objects_original = self.forge_objects.shallow_copy()
        self.forge_objects_after_applying_lora = self.forge_objects.shallow_copy()
        self.current_lora_hash = str([])

    def get_learned_conditioning(self, texts, height, width):
        first, second = self.text_processing_engine_l(texts), self.text_processing_engine_g(texts)
        pooled = self.text_processing_engine_g.transformer.text_projection(second.pooler_output)
        sizes = torch.tensor([height, width, 0, 0, height, width])
        told = timestep_embedding(sizes, SIZE_WIDTH).flatten().expand(len(texts), -1)
        context = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=2)
        return {"crossattn": context, "vector": torch.cat([pooled, told], dim=1)}
