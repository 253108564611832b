"""Attention for very narrow heads, written so that torch.compile fuses it.

The miniature's heads are four and eight wide. CPU kernels for scaled dot products are made for 64 and spend nearly all
their time on memory there; spelled out as sums of products, the compiler keeps scores in registers.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor

WIDEST = 8  # heads up to this width take this path; wider ones take torch's kernel


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    return reduce(add, (x * y for x, y in zip(a, b)))


def _rows(x: Tensor) -> list[Tensor]:
    return [x[:, d, :, None] for d in range(x.shape[1])]


def _columns(x: Tensor) -> list[Tensor]:
    return [x[:, d, None, :] for d in range(x.shape[1])]


class NarrowAttention(torch.autograd.Function):
    """softmax(qᵀk) v for q [b, d, n], k and v [b, d, m]; returns [b, d, n]. Scale q beforehand."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = _dot(_rows(q), _columns(k))
        top = scores.amax(-1)
        p = (scores - top[..., None]).exp()
        total = p.sum(-1)
        out = torch.stack([(p * c).sum(-1) / total for c in _columns(v)], 1)
        ctx.save_for_backward(q, k, v, out, top + total.log())
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out, log_total = ctx.saved_tensors
        delta = (grad * out).sum(1)
        p = (_dot(_rows(q), _columns(k)) - log_total[..., None]).exp()
        ds = p * (_dot(_rows(grad), _columns(v)) - delta[..., None])
        grad_q = torch.stack([(ds * c).sum(-1) for c in _columns(k)], 1)
        # once more with the roles of rows and columns exchanged, so that the sums again run along memory
        p = (_dot(_rows(k), _columns(q)) - log_total[:, None, :]).exp()
        ds = p * (_dot(_rows(v), _columns(grad)) - delta[:, None, :])
        grad_k = torch.stack([(ds * c).sum(-1) for c in _columns(q)], 1)
        grad_v = torch.stack([(p * c).sum(-1) for c in _columns(grad)], 1)
        return grad_q, grad_k, grad_v


class NarrowHeads:
    """A diffusers attention processor: narrow heads here, others through torch's kernel."""

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask=None,
                 **_) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        b, n, width = hidden_states.shape
        m, heads = context.shape[1], attn.heads
        d = width // heads
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        if d <= WIDEST:
            q, k, v = (x.transpose(1, 2).reshape(b * heads, d, -1).contiguous() for x in (q * d**-0.5, k, v))
            out = NarrowAttention.apply(q, k, v).reshape(b, width, n).transpose(1, 2)
        else:
            q, k, v = (x.view(b, -1, heads, d).transpose(1, 2) for x in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, width)
        return attn.to_out[0](out)
