"""kohya's and musubi-tuner's options for rectified flow: which noise levels, and which of the others mean nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lib_lora.adapters.formula import Term, render
from lib_lora.training.config import TrainConfig, default_of, settings
from lib_lora.training.flow import MEANINGLESS
from lib_lora.training.importers.kohya_keys import DIRECT
from lib_lora.training.importers.report import IGNORED, Line, Reading, nearest
from lib_lora.training.importers.values import Unreadable, file_name, number, shown, text

MODULES = "networks.lora_"  # one for each family of models, all of which flow but the first
NOT_FLOWING = ("networks.lora_fa",)
NOT_OF_SD3 = ("timestep_sampling", "discrete_flow_shift", "sigmoid_scale")
WEIGHTED = ("sigma_sqrt", "cosmap")  # schemes that weigh the loss
BY_RESOLUTION = 0.0
BOUNDS = ("min_timestep", "max_timestep")


@dataclass(frozen=True)
class Trainer:
    """One of kohya's or musubi-tuner's trainers: what it does where a config says nothing.

    Attributes:
        sampling, shift: how noise levels are drawn.
        bounded: whether it heeds ``min_timestep`` and ``max_timestep``.
    """

    sampling: str = "sigma"
    shift: float = 1.0
    bounded: bool = True


SD3 = Trainer()  # has its own way: no other sampling, and its shift is training_shift
MUSUBI = Trainer()
TRAINERS = {"networks.lora_flux": Trainer("sigma", 3.0, bounded=False),
            "networks.lora_lumina": Trainer("shift", 6.0, bounded=False),
            "networks.lora_anima": Trainer("sigmoid", 1.0, bounded=False),
            "networks.lora_sd3": SD3}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Where a family's config goes: kohya's module and script, and what that needs to train as is done here."""

    module: str
    script: str
    options: Mapping[str, Any] = field(default_factory=dict)


_RAW = {"model_prediction_type": "raw"}  # the loss, as it is here always
_SD3 = Target("networks.lora_sd3", "sd3_train_network.py")
OF_FAMILY = {
    # guidance: of a distilled model as here always; Chroma was distilled without, and masks T5's padding
    "flux1": Target("networks.lora_flux", "flux_train_network.py", {"guidance_scale": 1.0, **_RAW}),
    "chroma": Target("networks.lora_flux", "flux_train_network.py",
                     {"model_type": "chroma", "guidance_scale": 0.0, "apply_t5_attn_mask": True, **_RAW}),
    "lumina2": Target("networks.lora_lumina", "lumina_train_network.py", _RAW),
    "anima": Target("networks.lora_anima", "anima_train_network.py"),
    "sd35_medium": _SD3,
    "sd35_large": _SD3,
}  # fmt: skip


def flows(given: Mapping[str, Any]) -> bool:
    """Whether the network is for a family that is trained by rectified flow."""
    module = str(given.get("network_module", ""))
    return module.startswith(MODULES) and module not in NOT_FLOWING


def levels(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """Which noise levels are drawn, from all keys that say something about it."""
    if not flows(given):
        reading.ignore(key, "For another family of models")
        return
    if key in (NOT_OF_SD3 if _trainer(given) is SD3 else ("training_shift",)):
        reading.ignore(key, "The trainer of this family has no such option")
    elif key == "weighting_scheme" and value.lower() in WEIGHTED:
        reading.ignore(key, "These weights of the loss are not offered. The result will differ")
    elif (found := drawn(given)) is None:
        reading.ignore(key, "This way to draw noise levels is not offered. The result will differ")
    else:
        shift = found["flow_shift"]
        said = f"{found['timestep_distribution']}, {f'shift {shift:g}' if shift else 'shifted by resolution'}"
        reading.translate(key, f"Timestep distribution = {said}", **found)


def drawn(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Our settings for the noise levels that a config asks for; None where they are not offered.

    Sources: sd-scripts ``flux_train_utils.py``, ``lumina_train_util.py``, ``sd3_train_utils.py``; musubi-tuner
    ``trainer_base.py``. By "sigma" a scheme's draw runs from most noise to least, so its mean has the other sign here;
    not so in SD3's trainer.
    """
    trainer = _trainer(given)
    sampling = str(given.get("timestep_sampling", trainer.sampling)).lower()
    shift = given.get("discrete_flow_shift", trainer.shift)
    if trainer is SD3:
        sampling, shift = "sigma", given.get("training_shift", trainer.shift)
    scheme = str(given.get("weighting_scheme", "none")).lower()
    mean, width = given.get("logit_mean", 0.0), given.get("logit_std", 1.0)
    scale = given.get("sigmoid_scale", 1.0)
    if sampling == "sigma" and scheme == "logit_normal":
        return _normal(mean if trainer is SD3 else 0.0 - mean, width, shift)
    if sampling == "sigma":
        return None if scheme == "mode" else _uniform(shift)
    if sampling == "logsnr":
        return _normal(0.0 - mean / 2, width / 2, 1.0)
    known = {"uniform": _uniform(1.0), "nextdit_shift": _uniform(BY_RESOLUTION), "sigmoid": _normal(0.0, scale, 1.0),
             "shift": _normal(0.0, scale, shift)}  # fmt: skip
    by_resolution = ("flux_shift", "flux2_shift", "qwen_shift", "krea2_shift")
    return _normal(0.0, scale, BY_RESOLUTION) if sampling in by_resolution else known.get(sampling)


def to_kohya(config: TrainConfig, target: Target) -> dict[str, Any]:
    """The options of kohya's trainers for flows that say what :func:`levels` reads; without levels they do not have."""
    trainer = TRAINERS[target.module]
    return {**target.options, **(_of_sd3(config) if trainer is SD3 else _levels_of(config, trainer))}


def _of_sd3(config: TrainConfig) -> dict[str, Any]:
    if config.flow_shift == BY_RESOLUTION or config.timestep_distribution not in ("uniform", "logit-normal"):
        return {}
    normal = {"weighting_scheme": "logit_normal", "logit_mean": config.timestep_a, "logit_std": config.timestep_b}
    scheme = normal if config.timestep_distribution == "logit-normal" else {"weighting_scheme": "uniform"}
    return {**scheme, "training_shift": config.flow_shift} if config.timestep_b > 0 or len(scheme) == 1 else {}


def _levels_of(config: TrainConfig, trainer: Trainer) -> dict[str, Any]:
    mean, width, shift = config.timestep_a, config.timestep_b, config.flow_shift
    shifted = {"discrete_flow_shift": shift}
    found: dict[str, Any] = {}
    if config.timestep_distribution == "uniform":
        if shift == 1:
            found = {"timestep_sampling": "uniform"}
        elif shift != BY_RESOLUTION:
            found = {"timestep_sampling": "sigma", "weighting_scheme": "none", **shifted}
        elif trainer is TRAINERS["networks.lora_lumina"]:
            found = {"timestep_sampling": "nextdit_shift"}
    elif config.timestep_distribution == "logit-normal" and width > 0:
        if not mean:
            found = {"timestep_sampling": "shift", **shifted} if shift else {"timestep_sampling": "flux_shift"}
            found["sigmoid_scale"] = width
        elif shift != BY_RESOLUTION:
            normal = {"weighting_scheme": "logit_normal", "logit_mean": 0.0 - mean, "logit_std": width}
            found = {"timestep_sampling": "sigma", **normal, **shifted}
    return found


def _trainer(given: Mapping[str, Any]) -> Trainer:
    return TRAINERS.get(str(given.get("network_module", "")), MUSUBI)


def _uniform(shift: float) -> dict[str, Any]:
    return {"timestep_distribution": "uniform", "flow_shift": shift}


def _normal(mean: float, width: float, shift: float) -> dict[str, Any]:
    return {"timestep_distribution": "logit-normal", "timestep_a": mean, "timestep_b": width, "flow_shift": shift}


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
    """The noise levels, said or not; what means nothing for a flow is off, with the reason in its line."""
    for name, value in (drawn(given) or {}).items():
        reading.values[name] = nearest(settings()[name], value)
    unheeded = () if _trainer(given).bounded else BOUNDS
    kohya = {setting: key for key, setting in DIRECT.items()} | {"zero_terminal_snr": "zero_terminal_snr"}
    reasons = {**MEANINGLESS, **dict.fromkeys(unheeded, "the trainer of this family does not heed it")}
    for setting, reason in reasons.items():
        usual = default_of(settings()[setting]) if setting in unheeded else type(reading.values.get(setting, 0))(0)
        if reading.values.get(setting, usual) == usual:
            continue
        reading.values[setting] = usual
        named = reading.names.get(kohya.get(setting, ""), kohya.get(setting, ""))
        reading.lines = [
            Line(line.key, line.value, IGNORED, f"Left out: {reason}") if line.key == named else line
            for line in reading.lines
        ]
