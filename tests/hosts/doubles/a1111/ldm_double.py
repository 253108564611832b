"""``LatentDiffusion`` of real ldm parts; its own class would need pytorch-lightning."""

from contextlib import contextmanager
from pathlib import Path

import torch
from ldm.modules.diffusionmodules.model import Decoder, Encoder
from ldm.modules.diffusionmodules.openaimodel import UNetModel
from ldm.modules.distributions.distributions import DiagonalGaussianDistribution
from torch import nn

from lib_lora.hosts.standalone.checkpoint import infer_shape, read_side_car, read_tensors
from lib_lora.hosts.standalone.shape import build_text_encoder
from lib_lora.hosts.standalone.tokenizer import clip_tokenizer
from lib_lora.hosts.standalone.tokens import FULL_VOCAB, TOKEN_IDS_KEY, expand_token_embedding
from lib_lora.models.layers import CLIP_PREFIX, UNET_PREFIX, VAE_PREFIX, clip_to_transformers
from lib_lora.models.schedule import scaled_linear_alphas

TOKENS = f"{CLIP_PREFIX}text_model.embeddings.token_embedding.weight"


def tensors_of(path):
    tensors = read_tensors(Path(path))
    if TOKEN_IDS_KEY in tensors:
        tensors[TOKENS] = expand_token_embedding(tensors[TOKENS], tensors[TOKEN_IDS_KEY], FULL_VOCAB)
    return tensors, infer_shape(tensors, read_side_car(Path(path)))


def shape_of(path):
    return tensors_of(path)[1]


class PatchedUNet(UNetModel):
    """The web UI replaces ``UNetModel.forward`` so that an engine can take over."""

    def forward(self, x, timesteps=None, context=None, y=None, **kwargs):
        from modules import sd_unet

        if sd_unet.current_unet is not None:
            return sd_unet.current_unet.forward(x, timesteps, context)
        return super().forward(x, timesteps, context, y, **kwargs)


class DiffusionWrapper(nn.Module):
    conditioning_key = "crossattn"

    def __init__(self, unet):
        super().__init__()
        self.diffusion_model = unet

    def forward(self, x, t, c_concat=None, c_crossattn=None):
        return self.diffusion_model(x, t, context=torch.cat(c_crossattn, 1))


class AutoencoderKL(nn.Module):
    def __init__(self, channels):
        super().__init__()
        options = dict(
            double_z=True, z_channels=4, resolution=256, in_channels=3, out_ch=3, ch=channels[0],
            ch_mult=[c // channels[0] for c in channels], num_res_blocks=2, attn_resolutions=[], dropout=0.0,
        )  # fmt: skip
        self.encoder, self.decoder = Encoder(**options), Decoder(**options)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)

    def encode(self, x):
        return DiagonalGaussianDistribution(self.quant_conv(self.encoder(x)))

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


class FrozenCLIPEmbedder(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.transformer = build_text_encoder(shape)
        self.tokenizer = clip_tokenizer()


class LatentDiffusion(nn.Module):
    is_sd1, is_sd2, is_sdxl, lowvram = True, False, False, False
    parameterization = "eps"
    scale_factor = 0.18215
    applied_token_merged_ratio = 0
    sd_checkpoint_info = None

    def __init__(self, path):
        super().__init__()
        self.shape = shape = shape_of(path)
        channels = shape.unet_channels
        unet = PatchedUNet(
            image_size=32, in_channels=4, out_channels=4, model_channels=channels[0], attention_resolutions=[4, 2, 1],
            num_res_blocks=2, channel_mult=[c // channels[0] for c in channels], num_heads=shape.unet_heads,
            use_spatial_transformer=True, transformer_depth=1, context_dim=shape.text_width, use_checkpoint=True,
            legacy=False,
        )  # fmt: skip
        self.model = DiffusionWrapper(unet)
        self.first_stage_model = AutoencoderKL(shape.vae_channels).requires_grad_(False)
        self.cond_stage_model = FrozenCLIPEmbedder(shape).requires_grad_(False)
        self.register_buffer("alphas_cumprod", scaled_linear_alphas())
        self.register_buffer("alphas_cumprod_original", scaled_linear_alphas())

    def load_file(self, path):
        tensors, _ = tensors_of(path)
        te = self.cond_stage_model.transformer
        prefixed = next(iter(te.state_dict())).startswith("text_model.")
        parts = (
            (self.model.diffusion_model, under(tensors, UNET_PREFIX)),
            (self.first_stage_model, under(tensors, VAE_PREFIX)),
            (te, clip_to_transformers(tensors, prefixed=prefixed)),
        )
        for module, state in parts:
            module.load_state_dict(state, strict=False)

    def apply_model(self, x, t, cond):
        return self.model(x, t, **cond)

    @torch.no_grad()
    def encode_first_stage(self, x):
        return self.first_stage_model.encode(x)

    @torch.no_grad()
    def decode_first_stage(self, z):
        return self.first_stage_model.decode(z / self.scale_factor)

    @contextmanager
    def ema_scope(self):
        yield


def under(tensors, prefix):
    return {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
