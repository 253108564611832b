"""A narrow ``DiffusionEngine`` with the parts, names and habits of generative-models' SDXL under A1111's wrappers."""

import torch
from ldm.modules.diffusionmodules.openaimodel import UNetModel
from ldm.modules.diffusionmodules.util import timestep_embedding
from ldm_double import AutoencoderKL
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from lib_lora.hosts.standalone.tokenizer import clip_tokenizer
from lib_lora.models.schedule import scaled_linear_alphas

WIDTHS, POOLED, SIZE_WIDTH, VOCAB = (32, 64), 48, 256, 49408


class UNetWithVector(UNetModel):
    """ldm's own takes the vector only as a class; sgm's has ``label_emb`` for it."""

    def __init__(self, vector, **options):
        super().__init__(**options)
        width = options["model_channels"] * 4
        self.label_emb = nn.Sequential(nn.Sequential(nn.Linear(vector, width), nn.SiLU(), nn.Linear(width, width)))

    def forward(self, x, timesteps=None, context=None, y=None):
        handle = self.time_embed.register_forward_hook(lambda module, args, out: out + self.label_emb(y))
        try:
            return super().forward(x, timesteps, context)
        finally:
            handle.remove()


def narrow_unet(pooled):
    """SDXL's U-Net with fewer blocks and channels, for a pooled vector of this width."""
    unet = UNetWithVector(
        pooled + 6 * SIZE_WIDTH, image_size=32, in_channels=4, out_channels=4, model_channels=32,
        attention_resolutions=[2], num_res_blocks=1, channel_mult=[1, 2], num_heads=2,
        use_spatial_transformer=True, transformer_depth=1, context_dim=sum(WIDTHS), use_checkpoint=True,
        legacy=False,
    )  # fmt: skip
    for parameter in unet.parameters():
        if not parameter.any():  # much of it begins at zero
            nn.init.normal_(parameter, std=0.1)
    return unet


class OpenAIWrapper(nn.Module):
    conditioning_key = "crossattn"

    def __init__(self, unet):
        super().__init__()
        self.diffusion_model = unet

    def forward(self, x, t, c):
        return self.diffusion_model(x, timesteps=t, context=c["crossattn"], y=c["vector"])


def narrow_clip(width):
    """CLIP's text model with two layers."""
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=VOCAB, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=2,
        bos_token_id=0, eos_token_id=2, pad_token_id=1,
    ))  # fmt: skip


class FrozenCLIPEmbedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = narrow_clip(WIDTHS[0])


class ForSDXL(nn.Module):
    """``FrozenCLIPEmbedderForSDXLWithCustomWords``: the layer before the last, without the final norm."""

    input_key, id_pad = "txt", 49407

    def __init__(self):
        super().__init__()
        self.wrapped = FrozenCLIPEmbedder()

    def encode_with_transformers(self, tokens):
        return self.wrapped.transformer(input_ids=tokens, output_hidden_states=True).hidden_states[-2]


class ResidualAttentionBlock(nn.Module):
    """open_clip's: the attention calls its weights, not its layers."""

    def __init__(self, width):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 2)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 2 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(2 * width, width))

    def forward(self, x, attn_mask=None):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=attn_mask)[0]
        return x + self.mlp(self.ln_2(x))


class OpenCLIP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.token_embedding = nn.Embedding(VOCAB, width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(ResidualAttentionBlock(width) for _ in range(2))
        self.text_projection = nn.Parameter(torch.randn(width, POOLED) * 0.1)

    def states(self, text):
        """Of the layer before the last, and of the last."""
        x = self.token_embedding(text).permute(1, 0, 2)
        mask = torch.full((text.shape[1], text.shape[1]), float("-inf")).triu(1)
        outputs = {}
        for block in self.transformer.resblocks:
            outputs["penultimate"] = x.permute(1, 0, 2)
            x = block(x, attn_mask=mask)
        return {**outputs, "last": x.permute(1, 0, 2)}


class FrozenOpenCLIPEmbedder2(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = OpenCLIP(WIDTHS[1])

    def encode_with_transformer(self, text):
        outputs = self.model.states(text)
        last = outputs.pop("last")
        outputs["pooled"] = last[torch.arange(len(text)), text.argmax(-1)] @ self.model.text_projection
        return outputs


class OpenCLIPWithCustomWords(nn.Module):
    input_key, id_pad = "txt", 0

    def __init__(self):
        super().__init__()
        self.wrapped = FrozenOpenCLIPEmbedder2()

    def encode_with_transformers(self, tokens):
        d = self.wrapped.encode_with_transformer(tokens)
        z = d["penultimate"]
        z.pooled = d["pooled"]
        return z


class ConcatTimestepEmbedderND(nn.Module):
    def __init__(self, input_key):
        super().__init__()
        self.input_key = input_key

    def forward(self, x):
        return timestep_embedding(x.flatten(), SIZE_WIDTH).reshape(len(x), -1)


class GeneralConditioner(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")
        embedders = [ForSDXL(), OpenCLIPWithCustomWords(), *map(ConcatTimestepEmbedderND, sizes)]
        self.embedders = nn.ModuleList(embedders)

    def tokenize(self, texts):
        return clip_tokenizer()(texts, truncation=False, add_special_tokens=False)["input_ids"]


class DiffusionEngine(nn.Module):
    is_sd1, is_sd2, is_sdxl, lowvram = False, False, True, False
    parameterization = "eps"
    scale_factor = 0.13025
    applied_token_merged_ratio = 0

    def __init__(self, checkpoint):
        super().__init__()
        self.model = OpenAIWrapper(narrow_unet(POOLED))
        self.first_stage_model = AutoencoderKL((32, 32, 32, 32)).requires_grad_(False)
        self.conditioner = self.cond_stage_model = GeneralConditioner().requires_grad_(False)
        self.register_buffer("alphas_cumprod", scaled_linear_alphas())
        self.sd_checkpoint_info = checkpoint

    @torch.no_grad()
    def decode_first_stage(self, z):
        return self.first_stage_model.decode(z / self.scale_factor)
