"""Blocks that add to their input in place and cannot checkpoint; a ``Linear`` that is not PyTorch's."""

import torch
from ldm.modules.diffusionmodules.openaimodel import UNetModel

from backend.attention import attention_function


class Linear(torch.nn.Module):
    def __init__(self, other):
        super().__init__()
        self.in_features, self.out_features = other.in_features, other.out_features
        self.weight, self.bias = other.weight, other.bias

    def forward(self, x):
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return torch.nn.functional.linear(x, self.weight.to(x.dtype), bias)  # parameters_manual_cast


class CrossAttention(torch.nn.Module):
    def forward(self, x, context=None):
        context = x if context is None else context
        return self.to_out(attention_function(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))


class BasicTransformerBlock(torch.nn.Module):
    def forward(self, x, context=None):
        if self.checkpoint:
            raise NotImplementedError("Gradient Checkpointing is not implemented.")
        x += self.attn1(self.norm1(x))
        x += self.attn2(self.norm2(x), context)
        x_skip = x
        x = self.ff(self.norm3(x))
        x += x_skip
        return x


class IntegratedUNet2DConditionModel(UNetModel):
    def forward(self, x, timesteps=None, context=None, transformer_options={}, **kwargs):  # noqa: B006 — as in Forge
        assert not transformer_options, "left over from another call"
        transformer_options["block"] = ("output", 11)
        return super().forward(x, timesteps, context)


def forge_operations(module):
    """Exchange PyTorch's linear layers in a module tree."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is torch.nn.Linear:
                setattr(parent, name, Linear(child))
    return module


def integrated(unet):
    for module in unet.modules():
        if type(module).__name__ == "BasicTransformerBlock":
            module.__class__, module.checkpoint = BasicTransformerBlock, False
            module.attn1.__class__ = module.attn2.__class__ = CrossAttention
    unet.__class__ = IntegratedUNet2DConditionModel
    return forge_operations(unet)
