"""The wrappers that the web UI puts around the text encoder, and circular padding."""

import re

import torch
from torch import nn

from modules import shared


class TorchForUNet:
    """Stands for ``torch`` in ldm's U-Net, which then takes sizes that are no multiples of 64 pixels."""

    def __getattr__(self, name):
        return getattr(torch, name)

    def cat(self, tensors, *args, **kwargs):
        a, b = tensors
        if a.shape[-2:] != b.shape[-2:]:
            a = torch.nn.functional.interpolate(a, b.shape[-2:], mode="nearest")
        return torch.cat((a, b), *args, **kwargs)


class EmbeddingsWithFixes(nn.Module):
    def __init__(self, wrapped, embeddings):
        super().__init__()
        self.wrapped = wrapped
        self.embeddings = embeddings

    def forward(self, input_ids):
        self.embeddings.fixes = None
        return self.wrapped(input_ids)


class FrozenCLIPEmbedderWithCustomWords(nn.Module):
    """Chunks of 75 tokens; ``(words)`` weigh 1.1."""

    def __init__(self, wrapped):
        super().__init__()
        self.wrapped = wrapped

    def tokenize(self, texts):
        return self.wrapped.tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def forward(self, texts):
        return torch.cat([self._encode(text) for text in texts])

    def _encode(self, text):
        tokens, weights = [], []
        for part in re.split(r"(\([^()]*\))", text):
            strong = part.startswith("(")
            found = self.tokenize([part.strip("()") if strong else part])[0]
            tokens += found
            weights += [1.1 if strong else 1.0] * len(found)
        starts = range(0, max(len(tokens), 1), 75)
        return torch.cat([self._chunk(tokens[i : i + 75], weights[i : i + 75]) for i in starts], 1)

    def _chunk(self, tokens, weights):
        padding = 75 - len(tokens)
        ids = torch.tensor([[49406, *tokens, *[49407] * (padding + 1)]])
        factors = torch.tensor([1.0, *weights, *[1.0] * (padding + 1)])
        z = self._hidden(ids)
        mean = z.mean()
        z = z * factors[None, :, None]
        return z * (mean / z.mean())

    def _hidden(self, ids):
        skip, transformer = shared.opts.CLIP_stop_at_last_layers, self.wrapped.transformer
        if skip == 1:
            return transformer(input_ids=ids).last_hidden_state
        states = transformer(input_ids=ids, output_hidden_states=True).hidden_states
        return getattr(transformer, "text_model", transformer).final_layer_norm(states[-skip])


class StableDiffusionModelHijack:
    fixes = None
    circular_enabled = False

    def hijack(self, m):
        core = text_core(m.cond_stage_model.transformer)
        core.embeddings.token_embedding = EmbeddingsWithFixes(core.embeddings.token_embedding, self)
        m.cond_stage_model = FrozenCLIPEmbedderWithCustomWords(m.cond_stage_model)
        self.layers = list(m.modules())

    def undo_hijack(self, m):
        m.cond_stage_model = m.cond_stage_model.wrapped
        embeddings = text_core(m.cond_stage_model.transformer).embeddings
        embeddings.token_embedding = embeddings.token_embedding.wrapped

    def apply_circular(self, enable):
        if self.circular_enabled == enable:
            return
        self.circular_enabled = enable
        for layer in self.layers:
            if type(layer) is nn.Conv2d:
                layer.padding_mode = "circular" if enable else "zeros"


def text_core(transformer):
    return getattr(transformer, "text_model", transformer)


model_hijack = StableDiffusionModelHijack()
