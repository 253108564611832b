"""A decoder that starts out drawing the thumbnail its latents state, instead of noise.

Channels come in pairs (+f, −f): both lie in one GroupNorm group, whose mean is then zero whatever f is, so absolute
colour survives; and silu(f) − silu(−f) = f, so it also survives the activation before the last convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMOOTH = torch.tensor([1.0, 2.0, 1.0]) / 4


@torch.no_grad()
def start_as_thumbnail(vae: nn.Module, mean: Tensor, matrix: Tensor, latent_scale: float) -> None:
    """Set the weights of ``vae``'s decoder.

    Args:
        vae: a diffusers AutoencoderKL whose narrowest level has two channels a group or more.
        mean, matrix: of the sketcher; latents are ``matrix @ (colour, contrast) − mean``.
        latent_scale: latents times this reach the denoiser.
    """
    decoder = vae.decoder
    for m in decoder.modules():
        if type(m).__name__ == "ResnetBlock2D":
            nn.init.zeros_(m.conv2.weight)
            if m.conv_shortcut is not None:
                _pass_through(m.conv_shortcut)
        elif type(m).__name__ == "Upsample2D":
            _pass_through(m.conv)
        elif type(m).__name__ == "Attention":
            nn.init.zeros_(m.to_out[0].weight)
    vae.post_quant_conv.weight.copy_(torch.eye(4)[:, :, None, None] * latent_scale)
    nn.init.zeros_(vae.post_quant_conv.bias)
    _paired(decoder.conv_in)
    decoder.conv_in.weight[:8] = 0
    for i in range(4):
        decoder.conv_in.weight[2 * i, i, 1, 1] = 1
        decoder.conv_in.weight[2 * i + 1, i, 1, 1] = -1
    color = torch.linalg.inv(matrix)[:3]  # latents → colour
    decoder.conv_out.weight.zero_()
    decoder.conv_out.weight[:, 0:8:2, 1, 1] = color
    decoder.conv_out.weight[:, 1:8:2, 1, 1] = -color
    decoder.conv_out.bias.copy_(mean[:3])


def _paired(conv: nn.Conv2d) -> None:
    conv.weight[1::2] = -conv.weight[0::2]
    nn.init.zeros_(conv.bias)


def _pass_through(conv: nn.Conv2d) -> None:
    """Hand existing channels on, smoothed where the kernel allows it; new channels stay as initialised, in pairs."""
    _paired(conv)
    n = min(conv.in_channels, conv.out_channels)
    conv.weight[:n] = 0
    kernel = torch.outer(SMOOTH, SMOOTH) if conv.kernel_size == (3, 3) else torch.ones(1, 1)
    for i in range(n):
        conv.weight[i, i] = kernel
