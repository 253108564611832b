"""Which settings have no meaning for a rectified flow, and why."""

from __future__ import annotations

from dataclasses import replace

from lib_lora.training.config import TrainConfig, settings

WEIGHTS = "a flow is trained on the plain mean square: its signal-to-noise ratio weighs nothing"
ENDS = "a flow begins at pure noise anyway"
OFFSET = "a flow's noise must be white, for its target is noise minus picture"
PREDICTION = "a flow predicts neither noise nor v"
# Setting -> why it has no meaning; the value in the settings' defaults or 0 switches it off
MEANINGLESS = {
    "min_snr_gamma": WEIGHTS,
    "debiased_estimation": WEIGHTS,
    "scale_v_pred_loss": PREDICTION,
    "v_pred_like_loss": PREDICTION,
    "zero_terminal_snr": ENDS,
    "zero_terminal_old_snr": ENDS,
    "noise_offset": OFFSET,
    "multires_iterations": OFFSET,
    "ip_noise_gamma": OFFSET,
}


def meaningful(config: TrainConfig) -> tuple[TrainConfig, list[str]]:
    """The settings without those that have no meaning for a flow, and a sentence for each that was switched on."""
    on = {name: settings()[name].metadata["label"] for name in MEANINGLESS if getattr(config, name)}
    off = {name: type(getattr(config, name))(0) for name in on}
    return replace(config, **off), [f"{label} is left out: {MEANINGLESS[name]}" for name, label in on.items()]
