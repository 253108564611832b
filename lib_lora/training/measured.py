"""Which claims about a setting were put to the test; docs/truth.md has each by its name, with what came out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CLAIMS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "rank": ("rank-2", "rank-16", "rank-32"),
        "alpha": ("alpha-half",),
        "te_lr": ("text-fifth", "text-off"),
        "min_snr_gamma": ("min-snr",),
        "debiased_estimation": ("debiased",),
        "min_timestep": ("min-timestep",),
        "noise_offset": ("noise-offset",),
        "ip_noise_gamma": ("ip-noise",),
        "optimizer": ("prodigy", "prodigy-plus"),
        "dora": ("dora",),
        "algorithm": ("loha", "lokr", "glora"),
        "conv_rank": ("conv",),
        "shuffle": ("shuffle",),
        "caption_dropout": ("caption-dropout",),
        "flip": ("flip",),
        "repeats": ("repeats", "seen", "over-fit"),
        "color_aug": ("color-aug",),
        "tlora_rank": ("t-lora",),
        "nearest_noise": ("nearest-noise",),
        "block_lr": ("block-rates",),
        "reg_dir": ("regularisation",),
    }
)
