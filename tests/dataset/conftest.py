"""Datasets made on the spot, and a stand-in for the VAE."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import Tensor

from lib_lora.dataset.config import Concept, DatasetConfig

settings.register_profile("dataset", deadline=None)  # a busy machine is no failure
settings.load_profile("dataset")


class PoolingEncoder:
    """Means over 8×8 pixels as "latents"; counts its calls."""

    def __init__(self, vae: str = "vae-1"):
        self.vae = vae
        self.calls = 0

    def hashes(self) -> dict[str, str]:
        return {"vae": self.vae}

    def encode_images(self, pixels: Tensor) -> Tensor:
        self.calls += 1
        return torch.nn.functional.avg_pool2d(pixels, 8)[:, [0, 1, 2, 0]]


@pytest.fixture
def encoder() -> PoolingEncoder:
    return PoolingEncoder()


@pytest.fixture
def add_image(tmp_path: Path) -> Callable[..., Path]:
    """``add_image("3_fox/a.png", (64, 48), "a tag")``: a picture below ``tmp_path``, each of its own colour."""

    def add(name: str, size: tuple[int, int] = (64, 64), caption: str | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, tuple(hashlib.sha256(name.encode()).digest()[:3])).save(path)
        if caption is not None:
            path.with_suffix(".txt").write_text(caption, encoding="utf-8")
        return path

    return add


@pytest.fixture
def config(tmp_path: Path) -> DatasetConfig:
    """The whole of ``tmp_path`` at resolution 64 in steps of 16."""
    return DatasetConfig((Concept(tmp_path),), resolution=64, bucket_step=16)
