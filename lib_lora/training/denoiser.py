"""One forward pass from a batch to a loss; training and the fixed-noise loss share it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib_lora.adapters.blocks import named_blocks
from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import MicroBatch
from lib_lora.models.base import LoadedModel
from lib_lora.models.families import family
from lib_lora.models.schedule import NoiseSchedule, Schedule, zero_terminal_alphas
from lib_lora.training.config import TrainConfig
from lib_lora.training.flow import meaningful
from lib_lora.training.losses import DenoisingLoss
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.text_cache import TextCache

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Denoiser:
    """The borrowed model with the settings that matter to the loss.

    Args:
        model: borrowed from the host.
        config: the settings of the run.
        texts: folder for encoded captions; None: none are kept on the disk.

    Attributes:
        config: without the settings that have no meaning for the model's prediction.
        notes: what is to be said about these.
        network: what learns, where a loss has to know it.
    """

    network: Network | None = None

    def __init__(self, model: LoadedModel, config: TrainConfig, texts: Path | None = None):
        self.model = model
        self.notes: list[str] = []
        if model.prediction == "flow":
            config, self.notes = meaningful(config)
        self.config = config
        of = family(model.family)
        self.train_text = config.te_lr > 0 and of.text_is_trained
        self.schedule: Schedule = model.schedule
        if config.zero_terminal_snr and isinstance(model.schedule, NoiseSchedule):
            self.schedule = NoiseSchedule(zero_terminal_alphas(model.schedule.alphas_cumprod))
        weighting = model.schedule if config.zero_terminal_old_snr else self.schedule
        self._loss = DenoisingLoss(config, self.schedule, model.prediction, weighting)
        self._text_options: dict[str, Any] = {}
        if of.chunks:
            self._text_options = {"max_tokens": config.max_tokens, "clip_skip": config.clip_skip}
            if config.weighted_captions:
                self._text_options["weighted"] = True
            if config.chunk_layout == "kohya":
                self._text_options["kohya_layout"] = True
        self._kept = not (self.train_text or config.shuffle or config.tag_dropout or config.wildcards)
        self._cache = TextCache(model, texts, **self._text_options)

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

    def loss(self, batch: MicroBatch, drawn: NoiseDraw) -> Tensor:
        """Loss per sample, [B], before the samples' weights; both arguments are on the model's device."""
        x_t, target = self.noised(batch.latents, drawn)
        return self.judged(self.predict(x_t, drawn.t, batch), target, drawn.t, batch.masks)

    def judged(self, output: Tensor, target: Tensor, t: Tensor, masks: Tensor | None) -> Tensor:
        """The loss [B] of what the model says [B,C,h,w], by kind and weights of the settings."""
        return self._loss(output, target, t, masks)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Around a loss and its backward pass."""
        yield

    def asked(self, captions: Sequence[str]) -> list[str]:
        """All that the text encoders will be asked for where a batch has these captions."""
        return list(captions)

    def noised(self, x0: Tensor, drawn: NoiseDraw) -> tuple[Tensor, Tensor]:
        """(x_t, what the model should output for it), [B,C,h,w] each: all that a loss knows of the noise schedule."""
        x_t = self.schedule.add_noise(x0, drawn.added, drawn.t)
        return x_t, self.schedule.target(self.model.prediction, x0, drawn.noise, drawn.t)

    def predict(self, x_t: Tensor, t: Tensor, batch: MicroBatch, captions: list[str] | None = None) -> Tensor:
        """The model's output [B,C,h,w] with the captions of ``batch``, or with others that will not be seen again."""
        told = {"sizes": batch.sizes} if family(self.model.family).sizes else {}
        with self._autocast(x_t.device.type):
            cond = self._encode(captions or batch.captions, batch.min_chunks, cached=captions is None)
            return self.model.predict(x_t.to(self.model.dtype), t, cond, **told)

    def read(self, captions: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Encode what the text encoders will be asked for, yielding (done, total), and let them leave the device.

        Nothing where they are trained, are CLIP, which is small, or read other captions in every step.
        """
        if self._kept and not family(self.model.family).chunks:
            yield from self._cache.prepare(captions)
            self.model.put_text_away(True)

    def _encode(self, captions: list[str], min_chunks: int, cached: bool) -> Tensor:
        if self._kept and (cached or not family(self.model.family).chunks):
            return self._cache.encode(captions, min_chunks)
        with torch.set_grad_enabled(self.train_text and torch.is_grad_enabled()):
            options = self._text_options | ({"min_chunks": min_chunks} if min_chunks > 1 else {})
            return self.model.encode_text(captions, **options)

    @contextmanager
    def saving_memory(self) -> Iterator[None]:
        """The model as the settings want it so that a step needs less memory, for the length of a ``with`` block.

        Raises:
            UserError: the host cannot do that.
        """
        chosen = self.config.checkpoint_blocks.strip()
        blocks = named_blocks(chosen) if chosen else ()
        try:
            self.model.gradient_checkpointing(self.config.gradient_checkpointing, blocks)
            with self.model.stored(self.config.packing, self.config.offload_base / 100):
                yield
        finally:
            self.model.gradient_checkpointing(False)

    def _autocast(self, device_type: str) -> torch.autocast:
        dtype = AUTOCAST.get(self.config.precision)
        return torch.autocast(device_type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
