"""Two back ends: one without a backward pass, one with."""

import torch

calls = []


def attention_pytorch(q, k, v, heads, mask=None, attn_precision=None, skip_reshape=False):
    calls.append("pytorch")
    b, _, width = q.shape
    q, k, v = (t.view(b, -1, heads, width // heads).transpose(1, 2) for t in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).reshape(b, -1, width)


def attention_function(q, k, v, heads, mask=None, attn_precision=None, skip_reshape=False):
    out = attention_pytorch(q.detach(), k.detach(), v.detach(), heads)
    calls[-1] = "fast"
    return out
