"""One forward pass from latents and captions to a loss; training and the fixed-noise loss share it."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_lora.models.base import LoadedModel
from lib_lora.training.config import TrainConfig
from lib_lora.training.losses import denoising_loss
from lib_lora.training.text_cache import TextCache


class Denoiser:
    """The borrowed model with the settings that matter to the loss."""

    def __init__(self, model: LoadedModel, config: TrainConfig):
        self.model = model
        self.config = config
        self.steps = len(model.schedule)
        self.train_text = config.te_lr > 0
        self._cache = TextCache(model, max_tokens=config.max_tokens, clip_skip=config.clip_skip)

    def loss(self, latents: Tensor, captions: list[str], noise: Tensor, t: Tensor) -> Tensor:
        """Loss per sample, [B]; latents and noise [B,4,h,w], t [B] on any device."""
        model, t = self.model, t.to(latents.device)
        with self._autocast(latents.device.type):
            cond = self._encode(captions)
            noisy = model.schedule.add_noise(latents, noise, t)
            predicted = model.predict(noisy.to(model.dtype), t, cond)
        return denoising_loss(predicted, latents, noise, t, model.schedule, model.prediction, self.config.min_snr_gamma)

    def _encode(self, captions: list[str]) -> Tensor:
        config = self.config
        if not self.train_text and not config.shuffle:
            return self._cache.encode(captions)
        with torch.set_grad_enabled(self.train_text and torch.is_grad_enabled()):
            return self.model.encode_text(captions, max_tokens=config.max_tokens, clip_skip=config.clip_skip)

    def _autocast(self, device_type: str) -> torch.autocast:
        return torch.autocast(device_type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16")
