"""OpenCLIP's text transformer as layers. Its attention calls none: it multiplies by its weights, q, k and v in one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lib_lora.hosts.a1111.leftovers import apply_networks

IN_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
PROJECTIONS = (*IN_PROJECTIONS, "out_proj")
ATTENTION = re.compile(r"transformer\.resblocks\.(\d+)\.attn")
MLP = re.compile(r"transformer\.resblocks\.(\d+)\.mlp\.c_(fc|proj)")
MLP_NAMES = {"fc": "fc1", "proj": "fc2"}


def open_clip_layers(prefix: str, model: nn.Module) -> dict[str, nn.Module]:
    """Kohya key -> linear layer, by the names that transformers gives them.

    Args:
        prefix: of the text encoder's keys, ``"te2"``.
        model: ``open_clip.CLIP``, or whatever has its ``transformer``.
    """
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        if match := ATTENTION.fullmatch(path):
            layers = {f"self_attn_{name}": Projection(module, name) for name in PROJECTIONS}
        elif match := MLP.fullmatch(path):
            layers = {f"mlp_{MLP_NAMES[match[2]]}": module}
        else:
            continue
        found |= {f"lora_{prefix}_text_model_encoder_layers_{match[1]}_{name}": m for name, m in layers.items()}
    return found


class Projection(nn.Module):
    """One of the four matrices of a multi-head attention as a linear layer, without a tensor of its own.

    While it has a forward hook, the attention computes in a way that the hook sees.
    """

    def __init__(self, attention: nn.MultiheadAttention, name: str):
        super().__init__()
        self.attention = attention
        self.name = name

    @property
    def weight(self) -> Tensor:
        """The attention's own weight [out, in]; of q, k and v a view of a third."""
        a = self.attention
        return a.out_proj.weight if self.name == "out_proj" else self._third(a.in_proj_weight)

    @property
    def bias(self) -> Tensor:
        """The attention's own bias [out]; of q, k and v a view of a third."""
        a = self.attention
        return a.out_proj.bias if self.name == "out_proj" else self._third(a.in_proj_bias)

    def forward(self, x: Tensor) -> Tensor:
        """What the attention computes with this part alone."""
        return F.linear(x, self.weight, self.bias)

    def register_forward_hook(self, hook: Callable[..., Any], **options: Any) -> HookHandle:
        """As of any module; the attention calls the hook when it computes this part."""
        return HookHandle(LayeredForward.of(self.attention), self.name, hook, options)

    def _third(self, fused: Tensor) -> Tensor:
        return fused.chunk(3)[IN_PROJECTIONS.index(self.name)]


class LayeredForward:
    """The ``forward`` of an attention while something hooks its projections; after that it has its own again."""

    def __init__(self, attention: nn.MultiheadAttention):
        self.attention = attention
        self.handles: set[HookHandle] = set()
        self.layers = {name: Projection(attention, name) for name in PROJECTIONS}

    @classmethod
    def of(cls, attention: nn.MultiheadAttention) -> LayeredForward:
        """The one that the attention has, or a new one."""
        present = vars(attention).get("forward")
        return present if isinstance(present, cls) else cls(attention)

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Of ``[length, batch, width]``, as OpenCLIP calls it. Source: Vaswani et al., arXiv:1706.03762, 3.2.2."""
        apply_networks(self.attention)
        named = zip(IN_PROJECTIONS, (query, key, value), strict=True)
        q, k, v = (self._heads(self.layers[name](x)) for name, x in named)
        states = F.scaled_dot_product_attention(q, k, v, attn_mask)
        return self.layers["out_proj"](states.permute(2, 0, 1, 3).flatten(2)), None

    def _heads(self, x: Tensor) -> Tensor:
        """[batch, heads, length, width of a head]"""
        return x.unflatten(-1, (self.attention.num_heads, -1)).permute(1, 2, 0, 3)


class HookHandle:
    """A hook on a projection, until it is removed."""

    def __init__(self, forward: LayeredForward, name: str, hook: Callable[..., Any], options: dict[str, Any]):
        self._forward = forward
        self._handle = nn.Module.register_forward_hook(forward.layers[name], hook, **options)
        forward.handles.add(self)
        forward.attention.forward = forward

    def remove(self) -> None:
        """Take the hook away; with the last one the attention gets its own forward back."""
        self._handle.remove()
        self._forward.handles.discard(self)
        if not self._forward.handles:
            vars(self._forward.attention).pop("forward", None)
