"""What of adapters is left out in training: kohya's three kinds of dropout and two that order the ranks.

What is drawn is a function of (seed, step, layer).

A layer draws the same mask whenever it runs within a step on the same kind of device, so that gradient checkpointing,
which runs it twice, and a resumed run see the same network.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib_lora.models.transfer import sent


@dataclass(frozen=True)
class Dropout:
    """Probabilities, 0 is off.

    Attributes:
        neuron: of each activation: of the rank's for LoRA, of ΔW·x for other algorithms.
        rank: of each rank of LoRA, or each output channel of other algorithms, per sample.
        module: of a whole layer's adapter.
        nested: LoRA only; each step trains the first b ranks, b drawn evenly from 1 to all, so that the first ranks of
            the file make a LoRA of their own at any b (DyLoRA, Valipour et al. 2022, arXiv:2210.07558). As in kohya's
            trainer they are enlarged by √(rank/b).
        least_rank: LoRA only; 0 is off. At noise level n, from 0 (the picture) to 1 (noise), only the first
            least_rank + ⌊(1 − n)·(rank − least_rank)⌋ ranks are trained, so that noisy steps, which memorise soonest,
            have least to do it with (T-LoRA, Soboleva et al. 2025, arXiv:2507.05964). The file is an ordinary LoRA.
    """

    neuron: float = 0.0
    rank: float = 0.0
    module: float = 0.0
    nested: bool = False
    least_rank: int = 0

    def __bool__(self) -> bool:
        return self.orders or max(self.neuron, self.rank, self.module) > 0

    @property
    def orders(self) -> bool:
        """Whether the first ranks are trained more than the last."""
        return self.nested or self.least_rank > 0


class LayerDropout:
    """What one layer drops in one step.

    Args:
        levels: noise levels [B], 0 to 1, of the step's samples; None in a layer that knows none (the text encoder's).
    """

    def __init__(self, rates: Dropout, seed: int, step: int, key: str, levels: Tensor | None = None):
        self.rates = rates
        self.name = f"{seed}:{step}:{key}"
        self.levels = levels

    def drops_layer(self) -> bool:
        """Whether the whole adapter is left out in this step."""
        return self.rates.module > 0 and torch.rand((), generator=self._generator("module")).item() < self.rates.module

    def nested(self, activations: Tensor, axis: int) -> Tensor:
        """Activations of the rank with those past the first b at 0; as they are where ``rates.nested`` is off."""
        if not self.rates.nested:
            return activations
        rank = activations.shape[axis]
        kept = int(torch.randint(1, rank + 1, (), generator=self._generator("nested")))
        first = (torch.arange(rank, device=activations.device) < kept) * math.sqrt(rank / kept)
        shape = [1] * activations.ndim
        shape[axis] = rank
        return activations * first.view(shape).to(activations)

    def by_noise(self, activations: Tensor, axis: int) -> Tensor:
        """Activations of the rank [n·B, …] with those past what their noise level allows at 0; see ``least_rank``."""
        if not self.rates.least_rank or self.levels is None:
            return activations
        rank = activations.shape[axis]
        least = min(self.rates.least_rank, rank)
        kept = least + ((1 - self.levels.float()) * (rank - least)).floor()
        shape = [1] * activations.ndim
        shape[0], shape[axis] = activations.shape[0], rank
        times = activations.shape[0] // len(kept)  # a slider has each sample at both weights
        first = torch.arange(rank, device=kept.device) < kept.repeat(times)[:, None]
        return activations * first.view(shape).to(activations)

    def __call__(self, activations: Tensor, axis: int) -> Tensor:
        """Activations [B, …] with dropped ones at 0 and the rest enlarged, so that the mean stays.

        Args:
            axis: the axis of ranks or channels.
        """
        if self.rates.neuron:
            activations = activations * self._mask(activations, self.rates.neuron, activations.shape, "neuron")
        if self.rates.rank:
            shape = [1] * activations.ndim
            shape[0], shape[axis] = activations.shape[0], activations.shape[axis]
            activations = activations * self._mask(activations, self.rates.rank, shape, "rank")
        return activations

    def _mask(self, like: Tensor, rate: float, shape: Sequence[int], kind: str) -> Tensor:
        # on a graphics card it is drawn there: a mask of activations is large, and main memory far away
        device = like.device if like.is_cuda else torch.device("cpu")
        kept = torch.rand(*shape, generator=self._generator(kind, device), device=device) >= rate
        return sent(kept.to(like.dtype), like.device) / (1 - rate)

    def _generator(self, kind: str, device: torch.device | None = None) -> torch.Generator:
        digest = hashlib.sha256(f"{self.name}:{kind}".encode()).digest()
        return torch.Generator(device or "cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)
