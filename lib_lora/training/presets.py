"""Named starting points: what the community guides recommend, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lib_lora.errors import UserError
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


PRESETS = (
    Preset(
        "Character · SD1.5",
        "Anime character on SD1.5: enough capacity for an outfit, text encoder at a fifth, ends after 1000-2000 steps.",
        dict(resolution=512, bucket_max=1024, rank=16, alpha=8.0, unet_lr=5e-4, te_lr=1e-4, weight_decay=0.1, beta1=0.9,
             beta2=0.99, schedule="cosine", warmup=0.05, min_snr_gamma=5.0, clip_skip=2, batch_size=2, epochs=10,
             keep_tokens=1, shuffle=True, gradient_checkpointing=True),
    ),
    Preset(
        "Style · SD1.5",
        "Style for later block tuning: one low rate everywhere, noise offset for the palette, epochs to choose from.",
        dict(resolution=512, bucket_max=1024, rank=16, alpha=8.0, unet_lr=1e-4, te_lr=1e-4, weight_decay=0.01,
             beta1=0.9, beta2=0.999, schedule="constant", warmup=0.0, min_snr_gamma=0.0, noise_offset=0.1, clip_skip=2,
             batch_size=2, epochs=8, keep_tokens=3, shuffle=True, flip=True, gradient_checkpointing=True),
    ),
    Preset(
        "Miniature demo",
        "For the small model that comes with the program: 128 px pictures, a minute or two on a CPU.",
        dict(resolution=128, bucket_step=16, bucket_min=64, bucket_max=256, rank=8, alpha=8.0, unet_lr=1e-3, te_lr=2e-4,
             weight_decay=0.01, beta1=0.9, beta2=0.99, schedule="cosine", warmup=0.05, min_snr_gamma=5.0, clip_skip=1,
             batch_size=4, epochs=6, keep_tokens=1, max_tokens=75),
    ),
)  # fmt: skip


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: there is none; lists those that exist.
    """
    for p in PRESETS:
        if p.name == name:
            return p
    raise UserError(f"There is no preset {name!r}", where="preset", fix="Use " + ", ".join(p.name for p in PRESETS))
