"""Stable Diffusion 2's text encoder in A1111's wrapper, narrow; the U-Net around it is that of 1.x."""

from sgm_double import OpenCLIP
from torch import nn

from lib_lora.hosts.standalone.tokenizer import clip_tokenizer


class FrozenOpenCLIPEmbedder(nn.Module):
    """The layer before the last, and the final norm."""

    def __init__(self, width):
        super().__init__()
        self.model = OpenCLIP(width)
        self.model.ln_final = nn.LayerNorm(width)

    def encode_with_transformer(self, text):
        return self.model.ln_final(self.model.states(text)["penultimate"])


class FrozenOpenCLIPEmbedderWithCustomWords(nn.Module):
    id_pad = 0

    def __init__(self, width):
        super().__init__()
        self.wrapped = FrozenOpenCLIPEmbedder(width)

    def tokenize(self, texts):
        return clip_tokenizer()(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def encode_with_transformers(self, tokens):
        return self.wrapped.encode_with_transformer(tokens)


def become_sd2(sd_model, width):
    """Give a loaded SD1 model SD2's text encoder and v-prediction."""
    sd_model.cond_stage_model = FrozenOpenCLIPEmbedderWithCustomWords(width).eval().requires_grad_(False)
    sd_model.is_sd1, sd_model.is_sd2, sd_model.parameterization = False, True, "v"
