"""One forward pass from latents and captions to a loss; training and the fixed-noise loss share it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_lora.adapters.blocks import named_blocks
from lib_lora.adapters.network import Network
from lib_lora.models.base import LoadedModel
from lib_lora.models.families import family
from lib_lora.models.schedule import NoiseSchedule, zero_terminal_alphas
from lib_lora.models.transfer import sent
from lib_lora.training.config import TrainConfig
from lib_lora.training.losses import DenoisingLoss
from lib_lora.training.text_cache import TextCache

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Denoiser:
    """The borrowed model with the settings that matter to the loss.

    Args:
        model: borrowed from the host.
        config: the settings of the run.
        network: the one in training; needed where the base is to be preserved.
    """

    def __init__(self, model: LoadedModel, config: TrainConfig, network: Network | None = None):
        self.model = model
        self.config = config
        self.network = network
        self.train_text = config.te_lr > 0
        self.schedule = model.schedule
        if config.zero_terminal_snr:
            self.schedule = NoiseSchedule(zero_terminal_alphas(model.schedule.alphas_cumprod))
        weighting = model.schedule if config.zero_terminal_old_snr else self.schedule
        self._loss = DenoisingLoss(config, self.schedule, model.prediction, weighting)
        self._text_options: dict[str, Any] = {"max_tokens": config.max_tokens, "clip_skip": config.clip_skip}
        if config.weighted_captions:
            self._text_options["weighted"] = True
        if config.chunk_layout == "kohya":
            self._text_options["kohya_layout"] = True
        self._cache = TextCache(model, **self._text_options)

    @property
    def steps(self) -> int:
        """How many timesteps there are."""
        return len(self.schedule)

    @property
    def known_captions(self) -> dict[str, Tensor]:
        """Conditionings that are kept on the device."""
        return self._cache.known

    @property
    def half_precision(self) -> bool:
        """Whether activations are float16, whose gradients need a scaled loss."""
        as_loaded = self.model.dtype if self.config.precision == "as loaded" else None
        return torch.float16 in (as_loaded, AUTOCAST.get(self.config.precision))

    def loss(
        self,
        latents: Tensor,
        captions: list[str],
        noise: Tensor,
        t: Tensor,
        added: Tensor | None = None,
        mask: Tensor | None = None,
        min_chunks: int = 1,
        sizes: Tensor | None = None,
    ) -> Tensor:
        """Loss per sample, [B]; latents and noise [B,4,h,w], t [B] on any device.

        Args:
            added: the noise in the model's input, where that is not what it must predict.
            mask: [B,1,h,w], where the loss counts; None: all over.
            min_chunks: chunks of 75 tokens that the conditioning has at least.
            sizes: [B,6], see :meth:`lib_lora.models.base.LoadedModel.predict`; other families do not ask for them.
        """
        t = sent(t, latents.device)
        noisy = self.schedule.add_noise(latents, noise if added is None else added, t)
        target = self.schedule.target(self.model.prediction, latents, noise, t)
        mask = None if mask is None else sent(mask, latents.device)
        return self._loss(self._predict(noisy, t, captions, min_chunks, sizes=sizes), target, t, mask)

    def preservation_loss(
        self,
        latents: Tensor,
        captions: list[str],
        noise: Tensor,
        t: Tensor,
        min_chunks: int = 1,
        sizes: Tensor | None = None,
    ) -> Tensor:
        """How far the network moves images without the trigger: mean squared error per sample, [B].

        The same noisy latents go through the model with the class word in the place of the trigger, once with and once
        without the network. Source: differential output preservation of ai-toolkit and kohya's ``diff_output_
        preservation``; the idea is the prior preservation of Ruiz et al., "DreamBooth", 2022.
        """
        t = sent(t, latents.device)
        noisy = self.schedule.add_noise(latents, noise, t)
        plain = [without_trigger(caption, self.config.trigger, self.config.preserve_class) for caption in captions]
        with torch.no_grad(), self._network_off():
            before = self._predict(noisy, t, plain, min_chunks, sizes, cached=False)
        after = self._predict(noisy, t, plain, min_chunks, sizes, cached=False)
        return F.mse_loss(after.float(), before.float(), reduction="none").mean(dim=(1, 2, 3))

    def _predict(
        self,
        noisy: Tensor,
        t: Tensor,
        captions: list[str],
        min_chunks: int,
        sizes: Tensor | None = None,
        cached: bool = True,
    ) -> Tensor:
        told = {"sizes": sizes} if family(self.model.family).sizes else {}
        with self._autocast(noisy.device.type):
            cond = self._encode(captions, min_chunks, cached)
            return self.model.predict(noisy.to(self.model.dtype), t, cond, **told)

    def _encode(self, captions: list[str], min_chunks: int, cached: bool) -> Tensor:
        config = self.config
        varied = config.shuffle or config.tag_dropout or config.wildcards
        if cached and not self.train_text and not varied:
            return self._cache.encode(captions, min_chunks)
        with torch.set_grad_enabled(self.train_text and torch.is_grad_enabled()):
            options = self._text_options | ({"min_chunks": min_chunks} if min_chunks > 1 else {})
            return self.model.encode_text(captions, **options)

    @contextmanager
    def _network_off(self) -> Iterator[None]:
        before, self.network.enabled = self.network.enabled, False
        try:
            yield
        finally:
            self.network.enabled = before

    @contextmanager
    def saving_memory(self) -> Iterator[None]:
        """The model as the settings want it so that a step needs less memory, for the length of a ``with`` block.

        Raises:
            UserError: the host cannot do that.
        """
        chosen = self.config.checkpoint_blocks.strip()
        self.model.gradient_checkpointing(self.config.gradient_checkpointing, named_blocks(chosen) if chosen else ())
        try:
            with self.model.stored(self.config.packing, self.config.offload_base / 100):
                yield
        finally:
            self.model.gradient_checkpointing(False)

    def _autocast(self, device_type: str) -> torch.autocast:
        dtype = AUTOCAST.get(self.config.precision)
        return torch.autocast(device_type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def without_trigger(caption: str, trigger: str, class_word: str) -> str:
    """``caption`` with ``class_word`` for the trigger that it begins with; "" takes the trigger out."""
    rest = caption.removeprefix(trigger) if trigger else caption
    return ", ".join(part for part in (class_word.strip(), rest.lstrip(", ")) if part)
