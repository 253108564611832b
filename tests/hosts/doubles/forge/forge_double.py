"""Forge's engine for Stable Diffusion 1.x around real ldm and transformers parts."""

from types import SimpleNamespace

import torch
from backend import memory_management
from backend.nn.unet import forge_operations, integrated
from backend.patcher import ModelPatcher
from ldm.modules.diffusionmodules.openaimodel import UNetModel
from ldm_double import AutoencoderKL, shape_of, tensors_of, under
from torch import nn

from lib_lora.hosts.standalone.shape import build_text_encoder
from lib_lora.hosts.standalone.tokenizer import clip_tokenizer
from lib_lora.models.layers import UNET_PREFIX, VAE_PREFIX, clip_to_transformers
from lib_lora.models.schedule import scaled_linear_alphas


class KModel(nn.Module):
    def __init__(self, unet, dtype):
        super().__init__()
        self.diffusion_model = unet
        self.computation_dtype, self.storage_dtype = torch.float32, dtype
        self.predictor = nn.Module()
        self.predictor.prediction_type = "epsilon"
        self.predictor.register_buffer("alphas_cumprod", scaled_linear_alphas())


class IntegratedAutoencoderKL(AutoencoderKL):
    scaling_factor, shift_factor = 0.18215, 0.0


class VAE:
    def __init__(self, model):
        self.first_stage_model = model
        self.patcher = ModelPatcher(model)


class CLIP:
    def __init__(self, model, tokenizer):
        self.cond_stage_model = model
        self.tokenizer = SimpleNamespace(clip_l=tokenizer)
        self.patcher = ModelPatcher(model)

    def clone(self):
        other = CLIP(self.cond_stage_model, self.tokenizer.clip_l)
        other.patcher = self.patcher.clone()
        return other


class ForgeObjects:
    def __init__(self, unet, clip, vae):
        self.unet, self.clip, self.vae = unet, clip, vae

    def shallow_copy(self):
        return ForgeObjects(self.unet, self.clip, self.vae)


class CLIPEmbeddingForTextualInversion(nn.Module):
    def __init__(self, wrapped):
        super().__init__()
        self.wrapped, self.weight = wrapped, wrapped.weight

    def forward(self, input_ids):
        return self.wrapped(input_ids)


class TextEngine:
    """One chunk of 75 tokens, without syntax."""

    clip_skip = 1

    def __init__(self, transformer, tokenizer):
        self.transformer, self.tokenizer = transformer, tokenizer
        core = getattr(transformer, "text_model", transformer)
        core.embeddings.token_embedding = CLIPEmbeddingForTextualInversion(core.embeddings.token_embedding)
        self.embeddings, self.norm = core.embeddings, core.final_layer_norm

    def tokenize(self, texts):
        return self.tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def __call__(self, texts):
        self.embeddings.position_embedding.to(torch.float32)
        self.embeddings.token_embedding.to(torch.float32)
        ids = [(self.tokenize([text])[0] + [49407] * 75)[:75] for text in texts]
        ids = torch.tensor([[49406, *row, 49407] for row in ids])
        states = self.transformer(input_ids=ids, output_hidden_states=True).hidden_states
        return self.norm(states[-self.clip_skip])


class StableDiffusion:
    """A plain object; what A1111 has under these names is None or absent."""

    is_sd1, is_sd2, is_sdxl, is_sd3, is_inpaint = True, False, False, False, False
    first_stage_model = cond_stage_model = None
    sd_checkpoint_info = None

    def __init__(self, path):
        shape, tensors = shape_of(path), tensors_of(path)[0]
        channels = shape.unet_channels
        unet = UNetModel(
            image_size=32, in_channels=4, out_channels=4, model_channels=channels[0], attention_resolutions=[4, 2, 1],
            num_res_blocks=2, channel_mult=[c // channels[0] for c in channels], num_heads=shape.unet_heads,
            use_spatial_transformer=True, transformer_depth=1, context_dim=shape.text_width, legacy=False,
        )  # fmt: skip
        vae, text_encoder = IntegratedAutoencoderKL(shape.vae_channels), build_text_encoder(shape)
        prefixed = next(iter(text_encoder.state_dict())).startswith("text_model.")
        unet.load_state_dict(under(tensors, UNET_PREFIX), strict=False)
        vae.load_state_dict(under(tensors, VAE_PREFIX), strict=False)
        text_encoder.load_state_dict(clip_to_transformers(tensors, prefixed=prefixed), strict=False)
        encoders = nn.Module()
        encoders.clip_l = nn.Module()
        encoders.clip_l.transformer = forge_operations(text_encoder)
        for module in text_encoder.modules():
            if type(module).__name__ in ("Linear", "Embedding"):
                module.half()  # those whose weights are cast when they are used
        self.model_config = SimpleNamespace(ztsnr=False)
        self.text_processing_engine = TextEngine(text_encoder, clip_tokenizer())
        clip = CLIP(encoders, clip_tokenizer())
        model = KModel(integrated(unet), torch.float32)
        self.forge_objects = ForgeObjects(ModelPatcher(model), clip, VAE(vae))
        self.forge_objects_original = self.forge_objects.shallow_copy()
        self.forge_objects_after_applying_lora = self.forge_objects.shallow_copy()
        self.current_lora_hash = str([])

    def set_clip_skip(self, clip_skip):
        self.text_processing_engine.clip_skip = clip_skip

    @torch.inference_mode()
    def get_learned_conditioning(self, texts):
        memory_management.load_model_gpu(self.forge_objects.clip.patcher)
        return self.text_processing_engine(texts)

    @torch.inference_mode()
    def decode_first_stage(self, z):
        memory_management.load_model_gpu(self.forge_objects.vae.patcher)
        vae = self.forge_objects.vae.first_stage_model
        return vae.decode(z / vae.scaling_factor)
