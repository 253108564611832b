"""An autoencoder that starts out with thumbnails instead of noise.

Channels come in pairs (+f, −f): both lie in one GroupNorm group, whose mean is then zero whatever f is, so absolute
colour survives; and silu(f) − silu(−f) = f, so it also survives the activation before the last convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMOOTH = torch.tensor([1.0, 2.0, 1.0]) / 4
MEAN_OF_FOUR = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]) / 4  # padded right and below only
ONE = torch.ones(1, 1)
POSTERIOR_LOGVAR = -6.0


@torch.no_grad()
def start_as_thumbnail(vae: nn.Module, mean: Tensor, matrix: Tensor, latent_scale: float) -> None:
    """Set ``vae``'s weights: the encoder shrinks pictures to mean colours, the decoder enlarges those smoothly.

    Args:
        vae: a diffusers AutoencoderKL whose narrowest level has two channels a group or more.
        mean, matrix: of the sketcher; latents are ``matrix @ ((colour, contrast) − mean)``.
        latent_scale: latents times this reach the denoiser.
    """
    for m in vae.modules():
        if type(m).__name__ == "ResnetBlock2D":
            nn.init.zeros_(m.conv2.weight)
            if m.conv_shortcut is not None:
                _pass_through(m.conv_shortcut)
        elif type(m).__name__ == "Upsample2D":
            _pass_through(m.conv, torch.outer(SMOOTH, SMOOTH))
        elif type(m).__name__ == "Downsample2D":
            _pass_through(m.conv, MEAN_OF_FOUR)
        elif type(m).__name__ == "Attention":
            nn.init.zeros_(m.to_out[0].weight)
    encoder, decoder = vae.encoder, vae.decoder
    _read(encoder.conv_in, 3)
    encoder.conv_in.bias[0:6:2] = -mean[:3]
    encoder.conv_in.bias[1:6:2] = mean[:3]
    spread = torch.linalg.inv(matrix).square().sum(1).sqrt()  # GroupNorm divides by about this
    _write(encoder.conv_out, matrix[:, :3] * spread[:3])
    encoder.conv_out.bias.zero_()
    vae.quant_conv.weight.copy_(torch.eye(8)[:, :, None, None])
    vae.quant_conv.weight[:4] /= latent_scale
    vae.quant_conv.bias.copy_(torch.tensor([0.0] * 4 + [POSTERIOR_LOGVAR] * 4))
    vae.post_quant_conv.weight.copy_(torch.eye(4)[:, :, None, None] * latent_scale)
    nn.init.zeros_(vae.post_quant_conv.bias)
    _read(decoder.conv_in, 4)
    _write(decoder.conv_out, torch.linalg.inv(matrix)[:3])
    decoder.conv_out.bias.copy_(mean[:3])


def _read(conv: nn.Conv2d, inputs: int) -> None:
    """The first channels of the stream are ± the inputs; the rest stay as initialised, in pairs."""
    _paired(conv)
    conv.weight[: 2 * inputs] = 0
    for i in range(inputs):
        conv.weight[2 * i, i, 1, 1] = 1
        conv.weight[2 * i + 1, i, 1, 1] = -1


def _write(conv: nn.Conv2d, matrix: Tensor) -> None:
    """Outputs are ``matrix`` [outputs, inputs] times what :func:`_read` put into the stream."""
    conv.weight.zero_()
    outputs, inputs = matrix.shape
    conv.weight[:outputs, 0 : 2 * inputs : 2, 1, 1] = matrix
    conv.weight[:outputs, 1 : 2 * inputs : 2, 1, 1] = -matrix


def _paired(conv: nn.Conv2d) -> None:
    conv.weight[1::2] = -conv.weight[0::2]
    nn.init.zeros_(conv.bias)


def _pass_through(conv: nn.Conv2d, kernel: Tensor = ONE) -> None:
    """Hand existing channels on through ``kernel``; new channels stay as initialised, in pairs."""
    _paired(conv)
    n = min(conv.in_channels, conv.out_channels)
    conv.weight[:n] = 0
    for i in range(n):
        conv.weight[i, i] = kernel
