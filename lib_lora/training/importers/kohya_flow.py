"""kohya's and musubi-tuner's options for rectified flow: which noise levels, and which of the others mean nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_lora.adapters.formula import Term, render
from lib_lora.training.config import TrainConfig
from lib_lora.training.flow import MEANINGLESS
from lib_lora.training.importers.kohya_keys import DIRECT
from lib_lora.training.importers.report import IGNORED, Line, Reading
from lib_lora.training.importers.values import Unreadable, file_name, number, shown, text

MODULES = "networks.lora_"  # one for each family of models, all of which flow but the first
NOT_FLOWING = ("networks.lora_fa",)
OF_LEVELS = ("timestep_sampling", "weighting_scheme", "discrete_flow_shift", "sigmoid_scale", "logit_mean", "logit_std")
OF_FAMILY = {"flux1": ("networks.lora_flux", "flux_train_network.py"),
             "lumina2": ("networks.lora_lumina", "lumina_train_network.py"),
             "anima": ("networks.lora_anima", "anima_train_network.py")}  # fmt: skip
USUAL_SHIFT = 3.0  # kohya's
BY_RESOLUTION = 0.0


def flows(given: Mapping[str, Any]) -> bool:
    """Whether the network is for a family that is trained by rectified flow."""
    module = str(given.get("network_module", ""))
    return module.startswith(MODULES) and module not in NOT_FLOWING


def levels(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """Which noise levels are drawn, from all keys that say something about it."""
    if not flows(given):
        reading.ignore(key, "For another family of models")
        return
    sampling = str(given.get("timestep_sampling", "sigma")).lower()
    scheme = str(given.get("weighting_scheme", "none")).lower()
    shift = given.get("discrete_flow_shift", USUAL_SHIFT)
    normal = {"timestep_distribution": "logit-normal", "timestep_a": 0.0, "timestep_b": given.get("sigmoid_scale", 1.0)}
    uniform = {"timestep_distribution": "uniform"}
    if sampling == "sigma":
        if scheme == "logit_normal":
            normal |= {"timestep_a": given.get("logit_mean", 0.0), "timestep_b": given.get("logit_std", 1.0)}
        drawn = {**(normal if scheme == "logit_normal" else uniform), "flow_shift": shift}
    elif sampling == "uniform":
        drawn = {**uniform, "flow_shift": 1.0}
    elif sampling == "sigmoid":
        drawn = {**normal, "flow_shift": 1.0}
    elif sampling == "shift":
        drawn = {**normal, "flow_shift": shift}
    elif sampling.endswith("_shift"):  # flux_shift and its relatives
        drawn = {**normal, "flow_shift": BY_RESOLUTION}
    else:
        reading.ignore(key, "This way to draw noise levels is not offered. The result will differ")
        return
    said = (
        f"{drawn['timestep_distribution']}, shift {drawn['flow_shift']:g}" if drawn["flow_shift"] else "by resolution"
    )
    reading.translate(key, f"Timestep distribution = {said}", **drawn)


def to_kohya(config: TrainConfig) -> dict[str, Any]:
    """The options of kohya's trainers for flows that say what :func:`levels` reads; without levels they do not have."""
    # the guidance of a distilled model, and the loss, as they are here always
    options: dict[str, Any] = {"guidance_scale": 1.0, "model_prediction_type": "raw"}
    mean, width, shift = config.timestep_a, config.timestep_b, config.flow_shift
    shifted = {"discrete_flow_shift": shift}
    if config.timestep_distribution == "uniform" and shift == 1:
        return {**options, "timestep_sampling": "uniform"}
    if config.timestep_distribution == "uniform" and shift != BY_RESOLUTION:
        return {**options, "timestep_sampling": "sigma", "weighting_scheme": "none", **shifted}
    if config.timestep_distribution != "logit-normal" or width <= 0 or (mean and shift == BY_RESOLUTION):
        return options
    if mean:
        normal = {"weighting_scheme": "logit_normal", "logit_mean": mean, "logit_std": width}
        return {**options, "timestep_sampling": "sigma", **normal, **shifted}
    options["sigmoid_scale"] = width
    if shift == BY_RESOLUTION:
        return {**options, "timestep_sampling": "flux_shift"}
    return {**options, "timestep_sampling": "shift", **shifted}


def positive(value: Any) -> float:
    """A number above 0."""
    found = number(value)
    if found <= 0:
        raise Unreadable(f"{shown(value)} is not above 0")
    return found


def files(value: Any) -> list[str]:
    """Names of LoRA files, in a list or one text."""
    parts = value if isinstance(value, list) else text(value).split("\n")
    return [file_name(text(part).strip()) for part in parts]


def base_weights(reading: Reading, key: str, value: list[str], given: Mapping[str, Any]) -> None:
    """LoRAs that act while this one is trained."""
    weights = given.get("base_weights_multiplier", [])
    terms = [Term(name, weights[i] if i < len(weights) else 1.0, None) for i, name in enumerate(value) if name]
    formula = render(terms)
    reading.translate(key, f"Apply while training = {formula}, if the files are there", apply_loras=formula)


def as_flow(reading: Reading, given: Mapping[str, Any]) -> None:
    """The usual levels where nothing is said; what means nothing for a flow is off, with the reason in its line."""
    if not any(key in given for key in OF_LEVELS):
        reading.values["flow_shift"] = USUAL_SHIFT
    kohya = {setting: key for key, setting in DIRECT.items()} | {"zero_terminal_snr": "zero_terminal_snr"}
    for setting, reason in MEANINGLESS.items():
        value = reading.values.get(setting)
        if not value:
            continue
        reading.values[setting] = type(value)(0)
        named = reading.names.get(kohya.get(setting, ""), kohya.get(setting, ""))
        reading.lines = [
            Line(line.key, line.value, IGNORED, f"Left out: {reason}") if line.key == named else line
            for line in reading.lines
        ]
