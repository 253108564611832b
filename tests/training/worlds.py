"""A few small images and settings that train on the tiny checkpoint in a second or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from lib_lora.training.config import TrainConfig


def image_folder(root: Path) -> Path:
    """Three 64-pixel images of two shapes, with captions, in a folder of two repeats."""
    folder = root / "2_girl"
    folder.mkdir(parents=True)
    for i, height in enumerate((64, 64, 96)):
        image = Image.new("RGB", (64, height), (70 * i, 60, 200 - 60 * i))
        image.paste((250, 240, 30 * i), (10, 8 * i, 40, 50))
        image.save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"girl, left hand, tag{i}, blue background", encoding="utf-8")
    return root


def small_config(folder: Path, name: str = "mira", **changes: Any) -> TrainConfig:
    """Twelve steps: four epochs of three; everything random is switched on."""
    values = {
        "name": name, "trigger": "mira", "data_dir": str(folder), "epochs": 4, "batch_size": 2, "resolution": 64,
        "bucket_step": 16, "rank": 2, "alpha": 2.0, "flip": True, "shuffle": True, "noise_offset": 0.1, "warmup": 0.1,
        "max_tokens": 75, "fixed_loss_images": 2, "fixed_loss_timesteps": 2, "unet_lr": 1e-3, "te_lr": 1e-3,
        "sample_every_n_epochs": 0, "sample_first": False,
    }  # fmt: skip
    return TrainConfig(**{**values, **changes})
