"""What is added to the images, and how the model's answer is judged."""

from __future__ import annotations

from dataclasses import dataclass

from lib_lora.training.config_groups.only import FLOW, HUBER, SHAPED, UNPROVEN, WITH_MASKS, given
from lib_lora.training.config_groups.setting import LOSS, NOISE, setting

LOSS_TYPES = ("l2", "l1", "huber", "smooth_l1")
HUBER_SCHEDULES = ("snr", "exponential", "constant")
MASKS = ("off", "files", "alpha")
DISTRIBUTIONS = ("uniform", "logit-normal", "sigmoid", "beta")
# Why a setting has no meaning for a rectified flow
WEIGHTS = "a flow is trained on the plain mean square: its signal-to-noise ratio weighs nothing"
ENDS = "a flow begins at pure noise anyway"
OFFSET = "a flow's noise must be white, for its target is noise minus picture"
PREDICTION = "a flow predicts neither noise nor v"


@dataclass
class NoiseSettings:
    """The noise, and the timesteps at which it is added."""

    # fmt: off
    noise_offset: float = setting(0.0, NOISE, "Noise offset",
        "Lets the LoRA change overall brightness; 0.05-0.1, 0 is off", low=0, high=1, kohya="noise_offset",
        no_flow=OFFSET)
    noise_offset_random: bool = setting(False, NOISE, "Random noise offset",
        "Each step draws its offset from 0 to the above", kohya="noise_offset_random_strength",
        only=given("noise_offset", "a noise offset"))
    adaptive_noise_scale: float = setting(0.0, NOISE, "Adaptive noise scale",
        "Added to the offset, times the mean of the latents; 0 is off", low=-1, high=1, kohya="adaptive_noise_scale",
        only=given("noise_offset", "a noise offset"))
    multires_iterations: int = setting(0, NOISE, "Multi-resolution noise",
        "Coarser layers of noise on top, instead of an offset; 6-10, 0 is off",
        low=0, high=10, unit="layers", kohya="multires_noise_iterations", no_flow=OFFSET)
    multires_discount: float = setting(0.3, NOISE, "Multi-resolution discount",
        "Strength of each layer against the one before; 0.3 is usual", low=0, high=1, kohya="multires_noise_discount",
        only=given("multires_iterations", "multi-resolution noise"))
    ip_noise_gamma: float = setting(0.0, NOISE, "Input perturbation",
        "Extra noise the model must not predict (IP noise gamma); 0.05-0.1, 0 is off",
        low=0, high=1, kohya="ip_noise_gamma", no_flow=OFFSET)
    ip_noise_gamma_random: bool = setting(False, NOISE, "Random input perturbation",
        "Each step draws its strength from 0 to the above", kohya="ip_noise_gamma_random_strength",
        only=given("ip_noise_gamma", "input perturbation"))
    nearest_noise: int = setting(0, NOISE, "Nearest noise",
        "Draws this many noises for each image and takes the one nearest to it; 2-4, 0 is off", low=0, high=64,
        unit="draws", only=UNPROVEN)
    zero_terminal_snr: bool = setting(False, NOISE, "Zero terminal SNR",
        "The last timestep is pure noise; for v-prediction models made so", kohya="zero_terminal_snr", no_flow=ENDS)
    zero_terminal_old_snr: bool = setting(False, NOISE, "Kohya's SNR with it",
        "Weight the loss by the SNR of the schedule before the rescale, as kohya does; for parity only",
        kohya="zero_terminal_snr", only=given("zero_terminal_snr", "zero terminal SNR"), no_flow=ENDS)
    min_timestep: int = setting(0, NOISE, "First timestep", "Lowest noise level that is trained; 0 is nearly clean",
        low=0, high=999, kohya="min_timestep")
    max_timestep: int = setting(1000, NOISE, "Last timestep", "The noise levels end before this one",
        low=1, high=1000, kohya="max_timestep")
    timestep_distribution: str = setting("uniform", NOISE, "Timestep distribution",
        "Which noise levels are trained most; uniform is usual", choices=DISTRIBUTIONS)
    timestep_a: float = setting(0.0, NOISE, "Distribution: a",
        "logit-normal: mean (0 is the middle, more is noisier); sigmoid: steepness; beta: α", low=-20, high=20,
        only=SHAPED)
    timestep_b: float = setting(1.0, NOISE, "Distribution: b",
        "logit-normal: standard deviation; sigmoid: centre, 0-1; beta: β", low=0, high=20, only=SHAPED)
    flow_shift: float = setting(1.0, NOISE, "Flow shift",
        "Rectified flow only: above 1 trains noisier levels, 0 follows the resolution as Flux.1 does", low=0, high=20,
        only=FLOW)
    # fmt: on


@dataclass
class LossSettings:
    """How the model's answer is judged and weighed."""

    # fmt: off
    loss_type: str = setting("l2", LOSS, "Loss", "l2 is usual; huber and smooth_l1 forgive outliers",
        choices=LOSS_TYPES, kohya="loss_type")
    huber_schedule: str = setting("snr", LOSS, "Huber schedule", "How the width depends on the noise level",
        choices=HUBER_SCHEDULES, kohya="huber_schedule", only=HUBER)
    huber_c: float = setting(0.1, LOSS, "Huber width", "Errors above it count linearly",
        low=0.001, high=1, kohya="huber_c", only=HUBER)
    huber_scale: float = setting(1.0, LOSS, "Huber scale", "Multiplies the width, but not with the snr schedule",
        low=0.001, high=100, kohya="huber_scale", only=HUBER)
    min_snr_gamma: float = setting(5.0, LOSS, "Min-SNR gamma", "Balances the noise levels; 5 is usual, 0 is off",
        low=0, high=20, kohya="min_snr_gamma", no_flow=WEIGHTS)
    debiased_estimation: bool = setting(False, LOSS, "Debiased estimation",
        "Another balance of the noise levels; instead of min-SNR", kohya="debiased_estimation_loss", no_flow=WEIGHTS)
    scale_v_pred_loss: bool = setting(False, LOSS, "Scale v-prediction loss",
        "Weights a v-prediction model's loss like that of noise prediction",
        kohya="scale_v_pred_loss_like_noise_pred", no_flow=PREDICTION)
    v_pred_like_loss: float = setting(0.0, LOSS, "v-prediction-like loss",
        "Adds so much of what a v-prediction loss would weigh, to a noise-prediction model's; 0 is off",
        low=0, high=1, kohya="v_pred_like_loss", no_flow=PREDICTION)
    masks: str = setting("off", LOSS, "Masks",
        "Learn only what is white in NAME-masklabel.png or NAME_mask.png, or not transparent (alpha)",
        choices=MASKS, kohya="masked_loss")
    mask_dir: str = setting("", LOSS, "Mask folder", "With masks of the images' names; empty: beside the images",
        kohya="conditioning_data_dir", only=WITH_MASKS)
    unmasked_weight: float = setting(0.0, LOSS, "Weight outside of masks", "0 ignores it, 0.1 keeps it plausible",
        low=0, high=1, only=WITH_MASKS)
    mask_by_area: bool = setting(False, LOSS, "Weigh masks by area",
        "A small masked part counts as much as a large one", only=WITH_MASKS)
    prior_loss_weight: float = setting(1.0, LOSS, "Regularisation weight",
        "Of the loss of regularisation images", low=0, high=10, kohya="prior_loss_weight",
        only=given("reg_dir", "a regularisation folder"))
    preserve_weight: float = setting(0.0, LOSS, "Preserve the base",
        "Keeps images without the trigger as they were (no regularisation images needed); 0.5-1, 0 is off; slower",
        low=0, high=10)
    preserve_class: str = setting("", LOSS, "Preserve: class",
        "What stands for the trigger then, e.g. 1girl; empty leaves it out",
        only=given("preserve_weight", "a weight for the base"))
    fixed_loss_images: int = setting(8, LOSS, "Fixed-noise loss: images",
        "Measured after each epoch on the same images and noise; 0 is off",
        low=0, high=256, kohya="max_validation_steps")
    fixed_loss_timesteps: int = setting(4, LOSS, "Fixed-noise loss: noise levels", "Per image, evenly spread",
        low=1, high=32, kohya="validation_timesteps")
    validation_split: float = setting(0.0, LOSS, "Held-out share",
        "Images kept from training, whose fixed-noise loss tells learning from memorising; 0.1-0.2, 0 is off",
        low=0, high=0.5, unit="of the images", kohya="validation_split")
    # fmt: on
