"""Stable Diffusion 1.5 and XL in their published sizes, with random weights, made on the card itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from bench.card.checks import CHECKS
from bench.card.variants import VARIANTS
from lib_lora.demo.architecture import TEST_SHAPE
from lib_lora.hosts.standalone.shape import Shape

SPREAD = 0.02  # of the weights; norms keep what goes through them in range


@dataclass(frozen=True)
class XLShape:
    """What :func:`lib_lora.hosts.standalone.sdxl_parts.build_xl_unet` reads from a checkpoint."""

    channels: tuple[int, ...] = (320, 640, 1280)
    depths: tuple[int, ...] = (0, 2, 10)
    text_width: int = 768
    second_width: int = 1280
    pooled: int = 1280


@dataclass(frozen=True)
class Size:
    """A model and what it is trained on."""

    shape: Shape | XLShape
    pixels: int

    @property
    def cond_width(self) -> int:
        """Of a row of the conditioning, which in SDXL ends in the pooled vector."""
        s = self.shape
        return s.text_width if isinstance(s, Shape) else s.text_width + s.second_width + s.pooled


@dataclass(frozen=True)
class Sizes:
    """What is measured; the defaults are those of a card, smaller ones are for tests."""

    models: dict[str, Size] = field(default_factory=dict)
    matmul: int = 8192
    seconds: float = 3.0  # of one measurement
    checks: tuple[str, ...] = tuple(CHECKS)
    precisions: tuple[str, ...] = ("fp16", "bf16")
    variants: tuple[str, ...] = tuple(VARIANTS)
    whole: bool = True  # grid and start too
    cells: int = 8
    sampling_steps: int = 10


FULL = Sizes({"SD1.5": Size(Shape(), 512), "SDXL": Size(XLShape(), 1024)})
TINY = Sizes(
    {"SD1.5": Size(TEST_SHAPE, 64), "SDXL": Size(XLShape((32, 64, 64), (0, 1, 1), 32, 32, 32), 64)},
    matmul=32,
    seconds=0.0,
    checks=("fp8 base",),
    cells=2,
    sampling_steps=1,
)


def random_model(size: Size, device: torch.device, dtype: torch.dtype) -> object:
    """A :class:`lib_lora.hosts.standalone.model.StandaloneModel`; XL's text encoders are left out."""
    from lib_lora.hosts.standalone.model import StandaloneModel  # diffusers may be missing, which is a row of its own
    from lib_lora.hosts.standalone.sdxl import StandaloneXLModel
    from lib_lora.hosts.standalone.shape import build_text_encoder, build_unet, build_vae

    with torch.device("meta"):
        shape = size.shape
        unet = build_unet(shape) if isinstance(shape, Shape) else _xl_unet(shape)
    filled(unet, device, dtype)
    path = Path("random.safetensors")
    if isinstance(shape, XLShape):
        encoders = nn.ModuleDict({"clip_l": nn.Identity(), "clip_g": nn.Identity()})
        encoders["clip_g"].config = type("Config", (), {"projection_dim": shape.pooled})
        return StandaloneXLModel("SDXL", path, unet, nn.Identity(), encoders)
    vae, text = build_vae(shape.vae_channels), build_text_encoder(shape)
    return StandaloneModel("SD1.5", path, unet, vae.to(device).eval(), text.to(device, dtype).eval())


def filled(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Give a module on no device random weights: frozen, and in evaluation mode."""
    weights = {}
    for name, like in module.state_dict().items():
        made = torch.ones(like.shape, dtype=dtype, device=device)
        if like.ndim > 1:
            made = made.normal_(0, SPREAD)
        elif name.endswith("bias"):
            made = made.zero_()
        weights[name] = made
    module.load_state_dict(weights, assign=True)
    module.requires_grad_(False).eval()


def _xl_unet(shape: XLShape) -> nn.Module:
    from lib_lora.hosts.standalone.sdxl_parts import CLIP_G, CLIP_L, LEVELS, build_xl_unet
    from lib_lora.models.layers import UNET_PREFIX

    told = {
        f"{CLIP_L}embeddings.token_embedding.weight": torch.empty(1, shape.text_width),
        f"{CLIP_G}token_embedding.weight": torch.empty(1, shape.second_width),
        f"{CLIP_G}text_projection": torch.empty(shape.second_width, shape.pooled),
    }
    for block, channels, depth in zip(LEVELS, shape.channels, shape.depths, strict=True):
        prefix = f"{UNET_PREFIX}input_blocks.{block}"
        told[f"{prefix}.0.out_layers.3.weight"] = torch.empty(channels)
        told |= {f"{prefix}.1.transformer_blocks.{n}.norm1.weight": torch.empty(1) for n in range(depth)}
    return build_xl_unet(told)
