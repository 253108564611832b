"""Named starting points: what the community guides recommend, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lib_lora.errors import UserError
from lib_lora.models.base import ModelInfo
from lib_lora.models.families import families
from lib_lora.training.config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """Settings that differ from the defaults, and why."""

    name: str
    why: str
    values: dict[str, Any] = field(default_factory=dict)

    def applied_to(self, config: TrainConfig) -> TrainConfig:
        """A copy of ``config`` with this preset's settings."""
        return replace(config, **self.values)


# fmt: off
# What several presets share; the numbers are those of the community's guides
NAI = dict(resolution=512, bucket_max=1024, rank=16, alpha=8.0, unet_lr=5e-4, te_lr=1e-4, weight_decay=0.1, beta1=0.9,
           beta2=0.99, schedule="cosine_with_restarts", min_snr_gamma=5.0, clip_skip=2, batch_size=2, epochs=10,
           keep_tokens=1, shuffle=True, gradient_checkpointing=True)
XL = dict(resolution=1024, bucket_max=2048, rank=8, alpha=4.0, optimizer="CAME", weight_decay=0.08, beta2=0.999,
          schedule="rex", min_snr_gamma=0.0, ip_noise_gamma=0.05, batch_size=2, epochs=10, keep_tokens=1, shuffle=True,
          precision="bf16", gradient_checkpointing=True)
DUO = dict(algorithm="loha", rank=8, alpha=1.0, unet_lr=5e-4, te_lr=5e-4, weight_decay=0.01, beta2=0.999,
           schedule="cosine", min_snr_gamma=0.0, clip_skip=2, epochs=40, keep_tokens=1, max_grad_norm=1.0,
           gradient_checkpointing=True)
# Three names with their places stay in front, and figures are as large in composites as they are alone
SIDES = DUO | dict(algorithm="lora", rank=16, alpha=16.0, resolution=640, batch_size=4, keep_tokens=3, no_upscale=True,
                   debiased_estimation=True)

# The diffusion transformers; a time is the sigmoid of a normal number, which their trainers have in common
DIT = dict(resolution=1024, bucket_step=16, bucket_max=2048, rank=16, alpha=16.0, unet_lr=1e-4, te_lr=0.0,
           weight_decay=0.01, schedule="constant_with_warmup", warmup=0.02, min_snr_gamma=0.0, batch_size=1, epochs=10,
           keep_tokens=1, shuffle=False, max_grad_norm=1.0, precision="bf16", gradient_checkpointing=True,
           timestep_distribution="logit-normal", timestep_a=0.0, timestep_b=1.0, flow_shift=1.0)

MINIATURE = "Miniature demo"

PRESETS = (
    Preset(
        "Character · SD1.5",
        "Anime character on SD1.5: enough capacity for an outfit, text encoder at a fifth, ends after 1000-2000 steps.",
        NAI,
    ),
    Preset(
        "Style · SD1.5",
        "Style for later block tuning: one low rate everywhere, noise offset for the palette, epochs to choose from.",
        dict(resolution=512, bucket_max=1024, rank=16, alpha=8.0, unet_lr=1e-4, te_lr=1e-4, weight_decay=0.01,
             beta1=0.9, beta2=0.999, schedule="constant", warmup=0.0, min_snr_gamma=0.0, noise_offset=0.1, clip_skip=2,
             batch_size=2, epochs=8, keep_tokens=3, shuffle=True, flip=True, gradient_checkpointing=True),
    ),
    Preset(
        "Character · PDXL",
        "Anime character on Pony: a small network, a low text rate, and REX holds its rate long. 200-1200 steps.",
        XL | dict(unet_lr=1e-4, te_lr=1e-6),
    ),
    Preset(
        "Character · Illustrious",
        "Like PDXL with a lower rate, since this model learns characters faster. 200-1500 steps.",
        XL | dict(unet_lr=6e-5, te_lr=6e-6),
    ),
    Preset(
        "Character · Prodigy",
        "Finds the rate itself, for 20-30 images only: repeats × images about 100; then take the epoch of lowest loss.",
        NAI | dict(rank=16, alpha=16.0, optimizer="Prodigy", unet_lr=1.0, te_lr=1.0, weight_decay=0.01, beta2=0.999,
                   optimizer_args="d_coef=2",
                   schedule="constant_with_warmup", warmup=0.05, epochs=20),
    ),
    Preset(
        "Style or concept · DoRA",
        "For Pony: strength and direction apart, convolutions too, low rate: closer to a full training, slower.",
        XL | dict(dora=True, conv_rank=8, conv_alpha=4.0, unet_lr=5e-5, te_lr=1e-6, keep_tokens=0),
    ),
    Preset(
        "Style · GLoRA",
        "A network that also scales what the base does; for styles, without a trigger.",
        NAI | dict(algorithm="glora", unet_lr=5e-5, te_lr=0.0, keep_tokens=0),
    ),
    Preset(
        "Likeness",
        "One subject, about 42 pictures of at least 768 px, 10 repeats × 8 epochs; short captions; rates are found.",
        dict(resolution=768, rank=96, alpha=72.0, optimizer="Adafactor (relative step)", schedule="constant",
             min_snr_gamma=0.0, batch_size=1, repeats="10", epochs=8, shuffle=False, flip=True, color_aug=True,
             gradient_checkpointing=True),
    ),
    Preset(
        "Two subjects · places",
        "Singles and twice as many composites at the noisiest timesteps, where it is decided who stands where.",
        SIDES | dict(min_timestep=800),
    ),
    Preset(
        "Two subjects · looks",
        "Goes on from places over the same pictures; from timestep 500 on, as measured; 0 if details stay wrong.",
        SIDES | dict(min_timestep=500, te_lr=3.5e-4),
    ),
    Preset(
        "Two subjects · stage 1",
        "Each subject alone in its own folder and with its own tag; a LoHa, since it mixes concepts less.",
        DUO | dict(resolution=640, batch_size=4),
    ),
    Preset(
        "Two subjects · stage 2",
        "Composites of two subjects side by side, at a higher resolution.",
        DUO | dict(resolution=768, batch_size=2),
    ),
    Preset(
        "Character · Anima",
        "Enough rank for an outfit, blocks only. Captions: quality, count, character, series, artist, tags, sentences.",
        DIT | dict(rank=32, alpha=32.0, flow_shift=3.0),
    ),
    Preset(
        "Style · Anima",
        "Half a character's rank, and times as they are drawn: details of a style lie at low noise too.",
        DIT,
    ),
    Preset(
        "Z-Image",
        "Train on Base. Turbo loses its few steps unless a training adapter stands under Apply while training.",
        DIT | dict(flow_shift=3.0),
    ),
    Preset(
        "Flux.1",
        "The shift follows the resolution, as in its sampling; guidance is trained at 1. Captions are sentences.",
        DIT | dict(flow_shift=0.0),
    ),
    Preset(
        "Flux.2 Klein",
        "Train on Base, not on the distilled model; the shift is that of its sampling.",
        DIT | dict(flow_shift=2.02),
    ),
    Preset(
        "Krea 2",
        "Train on Raw: rank and alpha 32, as its authors have them.",
        DIT | dict(rank=32, alpha=32.0, flow_shift=2.5),
    ),
    Preset(
        "Other transformers",
        "What the recipes for these models share: rank 16, rate 1e-4, logit-normal times, text encoders as they are.",
        DIT,
    ),
    Preset(
        MINIATURE,
        "For the small model that comes with the program: 128 px pictures, a minute or two on a CPU.",
        dict(resolution=128, bucket_step=16, bucket_min=64, bucket_max=256, rank=8, alpha=8.0, unet_lr=6e-3, te_lr=2e-3,
             weight_decay=0.01, beta1=0.9, beta2=0.99, schedule="cosine", warmup=0.05, debiased_estimation=True,
             min_snr_gamma=0.0, min_timestep=250, clip_skip=1, batch_size=4, epochs=6, keep_tokens=1, max_tokens=75),
    ),
)
# fmt: on


def usual_preset(model: ModelInfo | None) -> Preset:
    """The one to start with for a checkpoint: by its family; the miniature is known by its name."""
    if model is not None and model.name.lower().startswith("mini"):
        return preset(MINIATURE)
    usual = families()[model.family].preset if model is not None and model.family in families() else ""
    return preset(usual) if usual else PRESETS[0]


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: there is none; lists those that exist.
    """
    for p in PRESETS:
        if p.name == name:
            return p
    raise UserError(f"There is no preset {name!r}", where="preset", fix="Use " + ", ".join(p.name for p in PRESETS))
