"""The denoising loss: an error per element, averaged over each sample, weighted by the sample's timestep.

Notation: ᾱ_t of the noise schedule, snr_t = ᾱ_t / (1 − ᾱ_t), σ_t = √((1 − ᾱ_t) / ᾱ_t). Weights and widths depend on the
timestep only, so each is one table [T] per run.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_lora.errors import UserError
from lib_lora.models.schedule import Schedule
from lib_lora.training.config import TrainConfig

MAX_SNR = 1000.0  # kohya's bound, for the nearly clean timesteps


def min_snr_weight(snr: Tensor, gamma: float, prediction: str) -> Tensor:
    """min(SNR, γ)/SNR for ε-prediction, min(SNR, γ)/(SNR + 1) for v.

    Source: Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023. The ε form is computed as
    min(1, γ/SNR), which is the same and also defined where a zero-terminal schedule has SNR 0.
    """
    return (gamma / snr).clamp(max=1) if prediction == "epsilon" else snr.clamp(max=gamma) / (snr + 1)


def debiased_weight(snr: Tensor, prediction: str) -> Tensor:
    """1/√SNR for ε-prediction, 1/(SNR + 1) for v, with SNR ≤ 1000.

    Source: Yu et al., "Debias the Training of Diffusion Models", 2023; the v form is kohya's.
    """
    capped = snr.clamp(max=MAX_SNR)
    return capped.rsqrt() if prediction == "epsilon" else 1 / (capped + 1)


def noise_like_v_weight(snr: Tensor) -> Tensor:
    """SNR/(SNR + 1) with SNR ≤ 1000: turns the loss of a v-prediction model into that of ε-prediction (kohya)."""
    capped = snr.clamp(max=MAX_SNR)
    return capped / (capped + 1)


def v_like_noise_weight(snr: Tensor, strength: float) -> Tensor:
    """1 + λ·(SNR + 1)/SNR: an ε-prediction model's loss plus λ times its v-prediction form (kohya)."""
    return 1 + strength / noise_like_v_weight(snr)


def timestep_weights(config: TrainConfig, snr: Tensor, prediction: str) -> Tensor:
    """The loss weight of every timestep, the product of all that ``config`` switches on; same shape as ``snr`` [T].

    Raises:
        UserError: a weight that does not go with this kind of prediction, or is infinite at SNR 0.
    """
    _check_prediction(config, bool((snr == 0).any()), prediction)
    weights = torch.ones_like(snr)
    if config.min_snr_gamma:
        weights = weights * min_snr_weight(snr, config.min_snr_gamma, prediction)
    if config.scale_v_pred_loss:
        weights = weights * noise_like_v_weight(snr)
    if config.v_pred_like_loss:
        weights = weights * v_like_noise_weight(snr, config.v_pred_like_loss)
    if config.debiased_estimation:
        weights = weights * debiased_weight(snr, prediction)
    return weights


def _check_prediction(config: TrainConfig, zero_snr: bool, prediction: str) -> None:
    if config.scale_v_pred_loss and prediction != "v":
        what = "The loaded model predicts noise, so there is no v-prediction loss to scale"
        raise UserError(what, where="scale_v_pred_loss", fix="Switch it off")
    if config.v_pred_like_loss and prediction == "v":
        what = "The loaded model predicts v already"
        raise UserError(what, where="v_pred_like_loss", fix="Set it to 0")
    where = "debiased_estimation" if config.debiased_estimation else "v_pred_like_loss"
    if zero_snr and prediction == "epsilon" and (config.debiased_estimation or config.v_pred_like_loss):
        what = "This weight is infinite at the last timestep of a zero-terminal schedule"
        raise UserError(what, where=where, fix="Switch off one of the two")


def huber_widths(config: TrainConfig, sigma: Tensor) -> Tensor:
    """The width c_t of the Huber and smooth-L1 losses at every timestep [T], from noise over signal σ_t [T].

    constant: c·scale. exponential: c^(t/T)·scale. snr: (1 − c)/(1 + σ_t)² + c. Source: Khrapov et al., "Improving
    Diffusion Models's Data-Corruption Resistance using Scheduled Pseudo-Huber Loss", 2024, as in kohya.
    """
    c, total = config.huber_c, len(sigma)
    if config.huber_schedule == "snr":
        return (1 - c) / (1 + sigma).square() + c
    if config.huber_schedule == "exponential":
        return torch.exp(torch.arange(total) * (math.log(c) / total)) * config.huber_scale
    return torch.full((total,), c * config.huber_scale)


def elementwise_error(kind: str, predicted: Tensor, target: Tensor, width: Tensor) -> Tensor:
    """Error of each element, in the shape of ``predicted``.

    l2: d². l1: |d|. huber: 2c(√(d² + c²) − c). smooth_l1: 2(√(d² + c²) − c).

    Args:
        kind: one of ``LOSS_TYPES``.
        width: c, of a shape that broadcasts.
    """
    if kind == "l2":
        return F.mse_loss(predicted, target, reduction="none")
    if kind == "l1":
        return F.l1_loss(predicted, target, reduction="none")
    # √(d² + c²) − c, written so that small errors do not cancel
    squared = (predicted - target).square()
    soft = 2 * squared / ((squared + width.square()).sqrt() + width)
    return soft * width if kind == "huber" else soft


def masked_weights(mask: Tensor, unmasked: float, by_area: bool) -> Tensor:
    """What each element's error is multiplied with, [B, 1, h, w].

    Args:
        mask: from 0 to 1.
        unmasked: weight where the mask is 0. OneTrainer's; 0 in kohya.
        by_area: divide by the mask's mean, so that a small subject counts as much as a large one. Off in kohya.
    """
    weights = unmasked + (1 - unmasked) * mask
    if by_area:
        weights = weights / weights.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1 / mask[0].numel())
    return weights


class DenoisingLoss:
    """The loss of a run.

    Args:
        config: kind of loss and its weights.
        schedule: what the noise was added with.
        prediction: ``"epsilon"``, ``"v"`` or ``"flow"``.
        weighting: the schedule whose SNR the weights use, if not ``schedule``.
    """

    def __init__(self, config: TrainConfig, schedule: Schedule, prediction: str, weighting: Schedule | None = None):
        everywhere = torch.arange(len(schedule))
        self.kind = config.loss_type
        self.unmasked, self.by_area = config.unmasked_weight, config.mask_by_area
        self.weights = timestep_weights(config, (weighting or schedule).snr(everywhere), prediction)
        self.widths = huber_widths(config, schedule.noise_ratio(everywhere).cpu())

    def __call__(self, predicted: Tensor, target: Tensor, t: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weighted loss per sample, [B].

        Args:
            predicted, target: [B, C, h, w], of any float type.
            t: timesteps, [B].
            mask: [B, 1, h, w], 0 where nothing counts; None counts all.
        """
        self._move(t.device)
        index = t.long()  # a flow's times lie between whole ones
        width = self.widths[index].reshape(-1, 1, 1, 1)
        error = elementwise_error(self.kind, predicted.float(), target.float(), width)
        if mask is not None:
            error = error * masked_weights(mask, self.unmasked, self.by_area)
        return error.mean(dim=(1, 2, 3)) * self.weights[index]

    def _move(self, device: torch.device) -> None:
        if self.weights.device != device:
            self.weights, self.widths = self.weights.to(device), self.widths.to(device)
