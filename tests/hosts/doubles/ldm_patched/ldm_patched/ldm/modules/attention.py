"""Sage's attention has no backward pass; blocks add to their input in place. Linear layers are PyTorch's."""

import torch

calls = []


def attention_pytorch(q, k, v, heads, mask=None):
    calls.append("pytorch")
    b, _, width = q.shape
    q, k, v = (t.view(b, -1, heads, width // heads).transpose(1, 2) for t in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).reshape(b, -1, width)


def attention_sage(q, k, v, heads, mask=None):
    out = attention_pytorch(q.detach(), k.detach(), v.detach(), heads)
    calls[-1] = "sage"
    return out


optimized_attention = optimized_attention_masked = attention_sage


class CrossAttention(torch.nn.Module):
    def forward(self, x, context=None):
        context = x if context is None else context
        return self.to_out(optimized_attention(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))


class BasicTransformerBlock(torch.nn.Module):
    def forward(self, x, context=None, transformer_options={}):  # noqa: B006
        x += self.attn1(self.norm1(x))
        x += self.attn2(self.norm2(x), context)
        x_skip = x
        x = self.ff(self.norm3(x))
        x += x_skip
        return x
