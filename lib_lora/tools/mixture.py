"""The mixture of a run's epochs with the lowest loss on held-out pictures.

Every epoch is a point of one linear space, and so is Σ cᵢ·ΔWᵢ: where the last epochs lie around a minimum, or the last
one lies beyond it, a mixture is better than any of them (weight averaging: Izmailov et al., "Averaging Weights Leads to
Wider Optima and Better Generalization", 2018; Wortsman et al., "Model soups", 2022).

What a mixture would predict is taken to be the same mixture of what its parts predict, which is true to first order.
Its loss is then cᵀ·G·c with a matrix G that one evaluation for each epoch gives, and the best c follows without any
further one. A line from the best epoch through it is measured on true mixtures. All are measured on the same pictures
with the same noise, so that differences have small errors.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lib_lora.dataset.batches import Batches, MicroBatch
from lib_lora.errors import UserError
from lib_lora.models.transfer import sent
from lib_lora.randomness import torch_generator
from lib_lora.training.best_epoch import ERRORS, FEWEST
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.revisit import Revisit
from lib_lora.training.timesteps import spread_timesteps

Floats = NDArray[np.float64]
PARTS = 3  # epochs in a mixture at most: few coefficients do not learn the held-out pictures by heart
FOLDS = 4
PICTURES = 32  # that are measured at most
LINE = (0.5, 1.5)  # besides 1: places between the best epoch (0) and the mixture that G proposes (1)
DIGITS = 3  # of a weight


@dataclass(frozen=True)
class Mixture:
    """What was found.

    Attributes:
        weights: epoch -> weight, without zeros; what is missing to 1 leaves the base as it is.
        loss, best_loss: of the mixture and of the best single epoch, means over the held-out pictures.
        best: that epoch.
        gain: how much lower the mixture's loss is on pictures that had no part in choosing it (cross-fitted).
        error: standard error of ``gain``; over pictures, each compared with itself.
        pictures: held-out ones.
        evaluations: of all held-out pictures, those of the single epochs included.
    """

    weights: dict[int, float]
    loss: float
    best: int
    best_loss: float
    gain: float
    error: float
    pictures: int
    evaluations: int

    def plain(self) -> dict[str, Any]:
        """For JSON, whose keys are texts."""
        return asdict(self)

    @property
    def clear(self) -> bool:
        """Whether the gain is more than chance."""
        return self.gain > ERRORS * self.error

    @property
    def alone(self) -> bool:
        """Whether no mixture is better than the best epoch."""
        return self.weights == {self.best: 1.0}


@dataclass(frozen=True)
class Measuring:
    """Yielded between two slices of work: ``done`` of ``total``."""

    done: int
    total: int
    note: str


Steps = Generator[Measuring, None, None]


class HeldOut:
    """The loss of mixtures on held-out pictures; the run's epochs are on the model.

    Args:
        run: attached.
        batches: of the pictures.
    """

    def __init__(self, run: Revisit, batches: Batches):
        self.run, self.batches = run, batches
        self.levels = spread_timesteps(run.config.fixed_loss_timesteps, run.denoiser.steps)
        size = run.config.batch_size
        self.steps = range(min(batches.steps_per_epoch, -(-PICTURES // size)))
        self.known: dict[tuple[tuple[int, float], ...], Floats] = {}

    def gram(self) -> Generator[int, None, Floats]:
        """G of each picture, [pictures, 1 + epochs, 1 + epochs]; the first row and column is the base. Yields batches
        that are done."""
        sources: list[dict[int, float]] = [{}, *({epoch: 1.0} for epoch in self.run.epochs)]
        denoiser, found = self.run.denoiser, []
        for done, (batch, draws) in enumerate(self._drawn(), start=1):
            total = torch.zeros(len(batch), len(sources), len(sources), dtype=torch.float64)
            for drawn in draws:
                x_t, target = denoiser.noised(batch.latents, drawn)
                predicted = []
                for weights in sources:
                    self.run.weigh(weights)
                    with torch.no_grad():
                        predicted.append(denoiser.predict(x_t, drawn.t, batch).float())
                for i, j in combinations(range(len(sources)), 2):
                    both = (predicted[i] + predicted[j]) / 2
                    total[:, i, j] += denoiser.judged(both, target, drawn.t, batch.masks).double().cpu()
                for i, alone in enumerate(predicted):
                    total[:, i, i] += denoiser.judged(alone, target, drawn.t, batch.masks).double().cpu()
            found.append(_polarised(total / len(draws)))
            yield done
        gram: Floats = torch.cat(found).numpy()
        for number, epoch in enumerate(self.run.epochs, start=1):
            self.known[((epoch, 1.0),)] = gram[:, number, number]
        return gram

    def losses(self, weights: Mapping[int, float]) -> Floats:
        """Of a true mixture, for each picture; measured once."""
        key = tuple(sorted(weights.items()))
        if key not in self.known:
            self.run.weigh(weights)
            found = []
            with torch.no_grad():
                for batch, draws in self._drawn():
                    found.append(torch.stack([self.run.denoiser.loss(batch, drawn) for drawn in draws]).mean(dim=0))
            self.known[key] = torch.cat(found).double().cpu().numpy()
        return self.known[key]

    def mean(self, weights: Mapping[int, float]) -> float:
        """Of a true mixture over all pictures; infinite where it is not a number."""
        found = float(self.losses(weights).mean())
        return found if isfinite(found) else inf

    def _drawn(self) -> Iterator[tuple[MicroBatch, list[NoiseDraw]]]:
        """Batches, each with its noise at all timesteps: the same every time."""
        device = self.run.model.device
        for step in self.steps:
            batch = self.batches.batch(step)
            generator = torch_generator(self.run.config.seed, "held-out", step)
            noise = sent(torch.randn(batch.latents.shape, generator=generator), device)
            at = [sent(torch.full((len(batch),), level), device) for level in self.levels]
            yield batch.on(device), [NoiseDraw(t, noise, noise) for t in at]


def best_mixture(run: Revisit, batches: Batches) -> Generator[Measuring, None, Mixture]:
    """Find it; the run's epochs are attached.

    Raises:
        UserError: one epoch only, too few held-out pictures to say anything, or losses that are no numbers.
    """
    epochs = list(run.epochs)
    if len(epochs) < 2:
        raise UserError("One saved epoch is no mixture", where=run.config.name, fix="Train with Save every at 1")
    held_out = HeldOut(run, batches)
    total = len(held_out.steps) + FOLDS + len(LINE) + 2
    counting = held_out.gram()
    while True:
        try:
            done = next(counting)
        except StopIteration as end:
            gram: Floats = end.value
            break
        yield Measuring(done, total, "each epoch")
    pictures = len(gram)
    if pictures < FEWEST:
        what = f"{pictures} held-out pictures are too few to tell mixtures apart"
        raise UserError(what, where=run.config.name, fix=f"Hold out {FEWEST} or more, see Held-out share")
    finite = np.asarray(np.isfinite(np.diagonal(gram, axis1=1, axis2=2)).all(axis=0))
    if not finite[0] or finite.sum() < 3:
        what = "The loss of the model, or of all epochs but one, is not a number"
        raise UserError(what, where=run.config.name, fix="Use a checkpoint or a precision in which it is")
    gram = gram[:, finite][:, :, finite]
    epochs = [epoch for epoch, usable in zip(epochs, finite[1:], strict=True) if usable]
    best = int(np.argmin(np.diagonal(gram.mean(axis=0))[1:]))
    start = np.eye(1 + len(epochs))[1 + best]
    ours, gains = held_out.losses({epochs[best]: 1.0}), np.zeros(pictures)
    for fold in range(FOLDS):
        seen = np.arange(pictures) % FOLDS != fold
        weights = named(lowest(gram[seen].mean(axis=0)), epochs)
        gains[~seen] = (ours - held_out.losses(weights))[~seen]
        done += 1
        yield Measuring(done, total, "mixtures of other pictures")
    proposed = lowest(gram.mean(axis=0))
    places, found = [0.0], [named(start, epochs)]
    for place in (1.0, *LINE, None):
        if place is None:
            place = bottom(places, [held_out.mean(weights) for weights in found])
        weights = named(start + place * (proposed - start), epochs)
        held_out.losses(weights)
        places, found = [*places, place], [*found, weights]
        done += 1
        yield Measuring(done, total, "the line to the best")
    chosen = min(found, key=held_out.mean)
    return Mixture(
        weights=chosen,
        loss=held_out.mean(chosen),
        best=epochs[best],
        best_loss=float(ours.mean()),
        gain=float(gains.mean()),
        error=float(gains.std(ddof=1)) / sqrt(pictures),
        pictures=pictures,
        evaluations=len(held_out.known) + 1,
    )


def lowest(gram: Floats, parts: int = PARTS) -> Floats:
    """c ≥ 0, Σc = 1, with the lowest cᵀ·G·c of all that mix at most ``parts`` epochs and the base (index 0)."""
    count = len(gram)
    best, chosen = np.inf, np.zeros(count)
    for size in range(1, parts + 1):
        for epochs in combinations(range(1, count), size):
            for support in (epochs, (0, *epochs)):
                c = np.zeros(count)
                within = gram[np.ix_(support, support)]
                solved = np.linalg.lstsq(within, np.ones(len(support)), rcond=1e-10)[0]
                if (solved < 0).any() or not solved.sum() > 0:
                    continue  # the best within this support lies on its edge, which is another support
                c[list(support)] = solved / solved.sum()
                value = float(c @ gram @ c)
                if value < best:
                    best, chosen = value, c
    return chosen


def named(c: Floats, epochs: Sequence[int]) -> dict[int, float]:
    """Epoch -> weight as a formula has it, without the base's share and without zeros."""
    rounded = {epoch: round(float(value), DIGITS) for epoch, value in zip(epochs, c[1:], strict=True)}
    return {epoch: value for epoch, value in rounded.items() if value}


def bottom(places: Sequence[float], values: Sequence[float]) -> float:
    """Where a parabola through the measured places is lowest, between 0 and a little beyond the last of them."""
    lowest_yet, farthest = places[int(np.argmin(values))], max(places) + 0.5
    if not np.isfinite(values).all():
        return lowest_yet
    bend, slope, _ = np.polyfit(places, values, 2)
    if bend <= 0:
        return lowest_yet
    return float(np.clip(-slope / (2 * bend), 0, farthest))


def _polarised(halves: torch.Tensor) -> torch.Tensor:
    """G from the losses of the halves (pᵢ + pⱼ)/2: Gᵢⱼ = (4·Lᵢⱼ − Lᵢᵢ − Lⱼⱼ)/2."""
    alone = torch.diagonal(halves, dim1=1, dim2=2)
    upper = torch.triu((4 * halves - alone[:, :, None] - alone[:, None, :]) / 2, diagonal=1)
    return upper + upper.transpose(1, 2) + torch.diag_embed(alone)
