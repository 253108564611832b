"""One optimizer step: the batches that belong to it, their loss, the gradients, the new weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import Batch, Batches
from lib_lora.models.transfer import sent
from lib_lora.training.averaging import Averaging
from lib_lora.training.config import TrainConfig
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.loss_scaler import LossScaler
from lib_lora.training.noise import training_noise
from lib_lora.training.optim import set_learning_rate
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.timesteps import timesteps
from lib_lora.training.weight_norms import limit_weight_norms


@dataclass(frozen=True)
class Done:
    """What a step reports: the rate of the first group, and loss and gradient norm as scalars on the device."""

    lr: float
    loss: Tensor
    grad_norm: Tensor


class Update:
    """Makes the steps of a run; each is a function of the weights and of its number.

    Args:
        denoiser: model and loss.
        network: what is trained.
        optimizer: as of ``build_optimizer``.
        averaging: takes in the new weights.
        batches: what is learned from.
        parallel: this process's place; every process has to make the same steps.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        network: Network,
        optimizer: torch.optim.Optimizer,
        averaging: Averaging,
        batches: Batches,
        parallel: Parallel = ALONE,
    ):
        self.denoiser, self.network, self.optimizer = denoiser, network, optimizer
        self.averaging, self.batches, self.parallel = averaging, batches, parallel
        self.config: TrainConfig = denoiser.config
        self.scaler = LossScaler(optimizer, denoiser.half_precision)
        self.total = steps_per_epoch(batches, self.config) * self.config.epochs

    def __call__(self, step: int) -> Done:
        """Make step ``step``, counted from 0."""
        config, network = self.config, self.network
        lr = set_learning_rate(self.optimizer, config, step, self.total)
        loss = self._backward(step)
        grad_norm = self._gradients(loss)
        if self.scaler.accepts(grad_norm):
            self.optimizer.step()
        else:
            grad_norm = torch.zeros_like(grad_norm)
        self.optimizer.zero_grad(set_to_none=True)
        if config.scale_weight_norms:
            limit_weight_norms(network, config.scale_weight_norms)
        self.averaging.update(step + 1)
        return Done(lr, loss, grad_norm)

    def _backward(self, step: int) -> Tensor:
        """Gradients and loss of this process's parts of the batches.

        Those of each part are made apart and then added, as they are where another process makes them. So it changes
        nothing, not even by rounding, whether one process has two parts or two processes have one each.
        """
        places = self.parallel.parts(self.config.batch_parts)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        loss = self._backward_of(places[0], step)
        for place in places[1:]:
            before = [p.grad for p in parameters]
            self.optimizer.zero_grad(set_to_none=True)
            loss = loss + self._backward_of(place, step)
            for parameter, grad in zip(parameters, before, strict=True):
                if grad is not None:
                    parameter.grad = grad if parameter.grad is None else grad.add_(parameter.grad)
        return loss

    def _backward_of(self, place: Parallel, step: int) -> Tensor:
        loss = torch.zeros((), device=self.denoiser.model.device)
        micro_steps = self._micro_steps(step)
        for micro in micro_steps:
            # around the backward pass too: checkpointing runs the layers again
            with self.network.dropping(self.config.seed + place.rank, micro):
                part = self._batch_loss(micro, place) / len(micro_steps)
                if part.requires_grad:
                    (part * self.scaler.scale).backward()
            loss += part.detach()
        return loss

    def _gradients(self, loss: Tensor) -> Tensor:
        """Gradients and loss of all processes, unscaled and clipped; the norm before clipping."""
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        if self.parallel.world > 1:
            for parameter in parameters:  # a process without a sample has none
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            self.parallel.add_up([*(p.grad for p in parameters), loss])
        self.scaler.unscale([p.grad for p in parameters if p.grad is not None])
        return torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm or float("inf"))

    def _batch_loss(self, micro: int, place: Parallel) -> Tensor:
        """The mean over the batch, as far as it is this part's: the sum over its samples ÷ samples of all."""
        batch = self.batches.batch(micro)
        mine = place.share(len(batch.captions))
        device = self.denoiser.model.device
        if mine.start == mine.stop:
            return torch.zeros((), device=device)
        whole = training_noise(batch.latents, self.config, micro)
        steps = timesteps(len(batch.latents), self.denoiser.steps, self.config, micro)
        parts = (batch.latents, *whole, steps, batch.weights)
        latents, noise, added, t, weights = (sent(part[mine], device) for part in parts)
        chunks, captions, sizes = self._chunks(batch, place), batch.captions[mine], batch.sizes[mine]
        masks = None if batch.masks is None else batch.masks[mine]
        losses = self.denoiser.loss(latents, captions, noise, t, added, masks, chunks, sizes)
        if self.config.preserve_weight:
            preserved = self.denoiser.preservation_loss(latents, captions, noise, t, chunks, sizes)
            losses = losses + self.config.preserve_weight * preserved
        return (losses * weights).sum() / len(batch.latents)

    def _chunks(self, batch: Batch, place: Parallel) -> int:
        """Chunks of the longest caption, which all samples of a batch are filled up to, whoever has them."""
        if place.world == 1:
            return 1
        most = self.config.max_tokens // 75
        return min(most, max(self.denoiser.model.chunk_count(caption) for caption in batch.captions))

    def _micro_steps(self, step: int) -> range:
        """The batches of an optimizer step; the last step of an epoch may have fewer, epochs never mix."""
        batches, accumulate = self.batches.steps_per_epoch, self.config.gradient_accumulation
        epoch, within = divmod(step, steps_per_epoch(self.batches, self.config))
        first = within * accumulate
        return range(epoch * batches + first, epoch * batches + min(first + accumulate, batches))


def steps_per_epoch(batches: Batches, config: TrainConfig) -> int:
    """Optimizer steps in an epoch: its batches ÷ accumulation, rounded up."""
    return -(-batches.steps_per_epoch // config.gradient_accumulation)
