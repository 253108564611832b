"""Sliders: a network that moves pictures one way at a positive weight and the other way at a negative one.

From words, as in Gandikota et al., "Concept Sliders: LoRA Adaptors for Precise Control in Diffusion Models", 2023, (8):
at weight ±1 the network is to add ±η·(ε(x_t, more) − ε(x_t, less)) to what the model says of the caption. Whatever else
the caption names stands in all three texts, so what the difference would do to it is not learned; that is the paper's
sum over concepts to preserve, an addend a sample.

From pairs of pictures, after the idea of hako-mikan's ADDifT: both get the same noise, and what the model misses of the
change from one to the other is what the network is to add. With as much noise as hides the change that is all of it,
with little noise nothing, for the model sees the change itself; so a picture that has become what it should is left
alone. What the model misses of both, such as the pairs' style, cancels. At weight 1 this is learned on the pictures
after, at −1 on those before, since a picture that is drawn at a weight looks like its end (as the visual sliders of
Gandikota et al.).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from typing_extensions import override

from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import MicroBatch
from lib_lora.dataset.caption import split_tags
from lib_lora.dataset.tags.pieces import split_pieces
from lib_lora.dataset.tags.rewriting import rewritten
from lib_lora.models.base import LoadedModel
from lib_lora.training.config import TrainConfig
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.preservation import switched_off

Ends = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]  # (x_t, target) at weight 1, and at −1


class SliderDenoiser(Denoiser):
    """A denoiser whose loss is how far the network is from both ends of a slider; :attr:`network` is set before."""

    def loss(self, batch: MicroBatch, drawn: NoiseDraw) -> Tensor:
        """Mean of the losses at weight 1 and −1 for each sample, [B].

        The network keeps both weights, a row each, until :meth:`learning` ends: the backward pass may run layers again.
        """
        network, count = self._network(), len(batch)
        captions = self._neutral(batch.captions)
        wanted = self._to_pictures if self.config.slider_after else self._to_words
        (x_more, more), (x_less, less) = wanted(batch, drawn)
        masks = None if batch.masks is None else batch.masks.repeat(2, 1, 1, 1)
        t = drawn.t.repeat(2)
        network.multiplier = torch.tensor([1.0] * count + [-1.0] * count, device=t.device)
        output = self.predict(torch.cat([x_more, x_less]), t, _twice(batch, captions))
        losses = self.judged(output, torch.cat([more, less]), t, masks)
        return losses.reshape(2, count).mean(dim=0)

    @contextmanager
    @override
    def learning(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._network().multiplier = 1.0

    @override
    def asked(self, captions: Sequence[str]) -> list[str]:
        if self.config.slider_after:
            return list(captions)
        return [text for caption in captions for text in self._ends(caption)]

    def _to_words(self, batch: MicroBatch, drawn: NoiseDraw) -> Ends:
        x_t, _ = self.noised(batch.latents, drawn)
        texts = zip(*map(self._ends, batch.captions), strict=True)
        with torch.no_grad(), switched_off(self._network()):
            plain, more, less = (self.predict(x_t, drawn.t, batch, list(text)).float() for text in texts)
        step = self.config.slider_strength * (more - less)
        return (x_t, plain + step), (x_t, plain - step)

    def _to_pictures(self, batch: MicroBatch, drawn: NoiseDraw) -> Ends:
        assert batch.after is not None, "the scan leaves out what has no partner"
        x_more, more = self.noised(batch.after, drawn)
        x_less, less = self.noised(batch.latents, drawn)
        with torch.no_grad(), switched_off(self._network()):
            of_more, of_less = (self.predict(x_t, drawn.t, batch).float() for x_t in (x_more, x_less))
        step = self.config.slider_strength * ((more - of_more) - (less - of_less))
        return (x_more, of_more + step), (x_less, of_less - step)

    def _neutral(self, captions: Sequence[str]) -> list[str]:
        """What both ends have in common."""
        return list(captions) if self.config.slider_after else [self._ends(caption)[0] for caption in captions]

    def _ends(self, caption: str) -> tuple[str, str, str]:
        return ends(caption, self.config.slider_more, self.config.slider_less)

    def _network(self) -> Network:
        assert self.network is not None, "the network comes before the first loss"
        return self.network


def denoiser_of(model: LoadedModel, config: TrainConfig, texts: Path | None = None) -> Denoiser:
    """What judges the network of a run; arguments as of :class:`Denoiser`."""
    return (SliderDenoiser if config.is_slider else Denoiser)(model, config, texts)


def ends(caption: str, more: str, less: str) -> tuple[str, str, str]:
    """The caption without the tags of either end, and that with those of one and of the other."""
    taken = {tag.casefold() for tag in (*split_tags(more), *split_tags(less))}
    kept = [piece for piece in split_pieces(caption) if piece.casefold() not in taken]
    plain = rewritten(caption, kept).strip()
    with_more, with_less = (", ".join(filter(None, (plain, end.strip()))) for end in (more, less))
    return plain, with_more, with_less


def _twice(batch: MicroBatch, captions: list[str]) -> MicroBatch:
    """Each sample two times, for both ends; the latents are noised elsewhere."""
    return replace(batch, captions=captions * 2, sizes=batch.sizes.repeat(2, 1))
