"""kohya's options for the optimizer, its rates and its schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from lib_lora.training.arguments import literal
from lib_lora.training.config_groups.optimizer import CLASS_NAME, SCHEDULES
from lib_lora.training.importers.report import Reading
from lib_lora.training.importers.values import (
    DECIMAL_COMMA,
    Unreadable,
    not_negative,
    number,
    numbers,
    shown,
    switch,
    whole,
)
from lib_lora.training.optimizers import RECIPES, RENAMED

RATES = ("learning_rate", "unet_lr", "text_encoder_lr", "network_train_unet_only", "network_train_text_encoder_only")
OPTIMIZER_ARGS, SCHEDULER_ARGS = "optimizer_args.", "lr_scheduler_args."
BASE_RATE = 2e-6  # where nothing is said
_KNOWN_OPTIMIZERS = {name.lower(): name for name in RECIPES} | {
    "dadaptation": "DAdaptAdam", "dadaptadampreprint": "DAdaptAdam", "adamwschedulefree": "ScheduleFreeAdamW",
    "radamschedulefree": "ScheduleFreeRAdam", "sgdschedulefree": "ScheduleFreeSGD", "sgdnesterov": "SGD",
    "pagedadamw": "AdamW", "pagedadamw32bit": "AdamW", "ademamix8bit": "AdEMAMix8bit", "ademamix": "AdEMAMix",
}  # fmt: skip
# What the packages that kohya's trainer takes have where nothing is said, and ours are given otherwise
_UNLIKE_OURS = {"Prodigy": {"bias_correction": False, "safeguard_warmup": False},
                "DAdaptAdam": {"weight_decouple": False}}  # fmt: skip
OF_PYTORCH_OPTIMIZER = ("CAME", "AdEMAMix")  # kohya's trainer takes them by their dotted names
_DECAYING = ("AdamW", "AdamW8bit", "PagedAdamW8bit", "AdEMAMix", "AdEMAMix8bit")  # by 0.01 where nothing is said
_BETA2 = {"Lion": 0.99, "Lion8bit": 0.99}  # of the others 0.999


def rate(value: Any) -> float:
    """A learning rate, or the first of several."""
    if isinstance(value, str) and "," not in value.strip(","):
        value = value.split()[0] if value.split() else value
    return not_negative(numbers(value)[0] if isinstance(value, (list, tuple)) else _one_rate(value))


def _one_rate(value: Any) -> float:
    try:
        return number(value)
    except Unreadable:
        if isinstance(value, str) and "," in value:
            return numbers(value)[0]
        raise


def betas(value: Any) -> tuple[float, ...]:
    """Two decays, or three."""
    found = numbers(value)
    if len(found) not in (2, 3) or not all(0 <= beta < 1 for beta in found):
        raise Unreadable(f"{shown(value)} are no betas")
    return tuple(found)


def share(value: Any) -> float:
    """A number of steps, or a share of them below 1."""
    return not_negative(value)


def plain(value: Any) -> Any:
    """A number, a switch or a few numbers, as optimizers take them."""
    if isinstance(value, str):
        value = number(value) if DECIMAL_COMMA.fullmatch(value) else literal(value)
    parts = value if isinstance(value, (list, tuple)) else [value]
    if len(parts) > 16 or not all(isinstance(part, (bool, int, float)) for part in parts):
        raise Unreadable(f"{shown(value)} is no number")
    for part in parts:
        number(int(part) if isinstance(part, bool) else part)  # a finite one
    return value


OPTIMIZER_READERS: dict[str, Callable[[Any], Any]] = {
    "weight_decay": not_negative, "betas": betas, "relative_step": switch, "scale_parameter": switch,
}  # fmt: skip
SCHEDULER_SETTINGS = {"cycle_multiplier": "cycle_length_factor", "gamma": "cycle_decay", "num_cycles": "cycles",
                      "min_lr_ratio": "min_lr", "min_lr_rate": "min_lr", "power": "power"}  # fmt: skip
SCHEDULER_READERS: dict[str, Callable[[Any], Any]] = dict.fromkeys(
    (*SCHEDULER_SETTINGS, "min_lr", "min_lr_rate", "eta_min", "T_max"), not_negative
) | {"num_cycles": whole}
LOWEST = ("min_lr", "eta_min")  # as rates, where the settings have shares of one
# kohya's schedules that heed a lowest share; for them its cycles are waves of a cosine
WITH_LOWEST = ("cosine_with_min_lr", "warmup_stable_decay")


def learning_rates(reading: Reading, given: Mapping[str, Any]) -> None:
    """Both rates, as all of the options that set or switch them say."""
    base = given.get("learning_rate", BASE_RATE)
    rates = {"unet": given.get("unet_lr", base), "te": given.get("text_encoder_lr", base)}
    if given.get("network_train_unet_only"):
        rates["te"] = 0.0
    if given.get("network_train_text_encoder_only"):
        rates["unet"] = 0.0
    text = f"U-Net {rates['unet']:g}, text encoder {rates['te']:g}"
    several = isinstance(reading.raw.get("text_encoder_lr"), list) and len(reading.raw["text_encoder_lr"]) > 1
    for key in RATES:
        if key in given:
            first = ", the first of the list" if several and key == "text_encoder_lr" else ""
            reading.translate(key, text + first, unet_lr=rates["unet"], te_lr=rates["te"])


def optimizer(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    """The optimizer, by any of its spellings; with its own defaults for what the arguments do not say."""
    short = value.strip().rsplit(".", 1)[-1].lower()
    if short == "adafactor":
        relative = given.get(f"{OPTIMIZER_ARGS}relative_step", True)
        name = "Adafactor (relative step)" if relative else "Adafactor"
        text = f"{name}, as the relative_step of its arguments says"
    elif short in _KNOWN_OPTIMIZERS:
        name = _KNOWN_OPTIMIZERS[short]
        text = f"Optimizer = {name}"
    elif name := _class_named(value.strip()):
        text = f"Optimizer = {name}, if its package is installed"
    else:
        reading.ignore(key, "This optimizer is not offered; AdamW stands for it. The result will differ")
        return
    given_arguments = {RENAMED.get(name, name) for name in _names_of_arguments(given)}
    unlike = {k: v for k, v in _UNLIKE_OURS.get(name, {}).items() if k not in given_arguments}
    words = " ".join(f"{k}={v!r}" for k, v in unlike.items())
    args = f"{words} {reading.values.get('optimizer_args', '')}".strip()
    reading.translate(key, text, optimizer=name, optimizer_args=args)
    if f"{OPTIMIZER_ARGS}weight_decay" not in given:
        reading.values["weight_decay"] = 0.01 if name in _DECAYING else 0.0
    if f"{OPTIMIZER_ARGS}betas" not in given:
        reading.values["beta2"] = _BETA2.get(name, 0.999)


def _class_named(value: str) -> str:
    """``module.Class``, which is not imported for that; for kohya a bare name is a class of torch's."""
    if CLASS_NAME.fullmatch(value):
        return value
    return f"torch.optim.{value}" if isinstance(getattr(torch.optim, value, None), type) else ""


def _renamed(name: str, given: Mapping[str, Any]) -> str:
    """An argument's name here; that of a class by its own name stays."""
    short = str(given.get("optimizer_type", "")).strip().rsplit(".", 1)[-1].lower()
    ours = short in _KNOWN_OPTIMIZERS or short == "adafactor" or "optimizer_type" not in given
    return RENAMED.get(name, name) if ours else name


def _names_of_arguments(given: Mapping[str, Any]) -> list[str]:
    return [key.removeprefix(OPTIMIZER_ARGS) for key in given if key.startswith(OPTIMIZER_ARGS)]


def as_kohya(optimizer: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Our further arguments of an optimizer under kohya's names, with those that it would have otherwise."""
    if optimizer not in RECIPES or optimizer in OF_PYTORCH_OPTIMIZER:
        return dict(arguments)
    ours = {k: v for k, v in RECIPES[optimizer].arguments.items() if k in _UNLIKE_OURS.get(optimizer, {})}
    theirs = {ours: kohya for kohya, ours in RENAMED.items()}
    return {theirs.get(name, name): value for name, value in {**ours, **arguments}.items()}


def optimizer_argument(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """One of the optimizer's arguments: a setting of its own here, or a word of the further ones."""
    name = key.removeprefix(OPTIMIZER_ARGS)
    relative = given.get(f"{OPTIMIZER_ARGS}relative_step")
    if name in ("lr", "params"):
        reading.ignore(key, "The rates are settings of their own, and the trainer refuses this one")
    elif name == "weight_decay":
        reading.apply(key, value, "weight_decay")
    elif name == "betas":
        reading.translate(key, f"Beta 1 = {value[0]}, beta 2 = {value[1]}", beta1=value[0], beta2=value[1])
    elif name == "relative_step":
        reading.translate(key, "Says which Adafactor it is")
    elif (name == "scale_parameter" and value == relative) or _as_ours(_renamed(name, given), value, given):
        reading.translate(key, "As this optimizer has it here anyway")
    else:
        word = f"{_renamed(name, given)}={value!r}".replace(" ", "")
        words = f"{reading.values.get('optimizer_args', '')} {word}".strip()
        reading.translate(key, f"Optimizer argument {word}", optimizer_args=words)


def _as_ours(name: str, value: Any, given: Mapping[str, Any]) -> bool:
    """Whether our optimizer has an argument so without being told."""
    short = str(given.get("optimizer_type", "")).rsplit(".", 1)[-1].lower()
    recipe = RECIPES.get(_KNOWN_OPTIMIZERS.get(short, ""))
    return recipe is not None and name in recipe.arguments and recipe.arguments[name] == value


def schedule(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    """The schedule, if ``lr_scheduler_type`` does not name another."""
    if given.get("lr_scheduler_type"):
        reading.ignore(key, "lr_scheduler_type counts")
        return
    name = value.strip().split(":")[0].lower()
    name = {"cosine_with_min_lr": "cosine", "adafactor": "constant"}.get(name, name)
    if name not in SCHEDULES:
        reading.ignore(key, "This schedule is not offered; constant stands for it. The result will differ")
        return
    if name == "constant" and given.get("lr_warmup_steps", 0) > 0:
        name = "constant_with_warmup"
    reading.translate(key, f"Schedule = {name}", schedule=name)


def schedule_class(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    """A schedule by the name of its class."""
    if value.rsplit(".", 1)[-1] == "CosineAnnealingLR":
        reading.translate(key, "Schedule = cosine", schedule="cosine")
    else:
        reading.ignore(key, "Schedules are those of the list here. The result will differ")


def share_of_steps(setting: str, label: str) -> Callable[..., None]:
    """A rule for a number of steps, or a share of them."""

    def rule(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
        total = given.get("max_train_steps") or 0
        share = value if value < 1 else value / total if total else None
        if share is None:
            reading.ignore(key, f"{label} is a share of the steps here, and the file does not say how many")
            return
        reading.translate(key, f"{label}: {share:.3g} of all steps", **{setting: share})

    return rule


def lowest_share(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    """``lr_scheduler_min_lr_ratio``, which most schedules do not heed."""
    if value and _schedule_of(given) not in WITH_LOWEST:
        reading.ignore(key, f"Counts with {' and '.join(WITH_LOWEST)} only")
    else:
        reading.apply(key, value, "min_lr")


def cycles(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    """``lr_scheduler_num_cycles``, which is not the same in every schedule."""
    if value != 1 and _schedule_of(given) in WITH_LOWEST:
        reading.ignore(key, "A cosine that rises again is not offered. The result will differ")
    else:
        reading.apply(key, value, "cycles")


def _schedule_of(given: Mapping[str, Any]) -> str:
    return str(given.get("lr_scheduler", "constant")).strip().lower()


def scheduler_argument(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """Cycles, power, the lowest rate."""
    name = key.removeprefix(SCHEDULER_ARGS)
    if name in LOWEST:
        share = min(value / (given.get("learning_rate", BASE_RATE) or BASE_RATE), 1.0)
        reading.translate(key, f"Lowest rate = {share:.3g} of the rate", min_lr=share)
    elif name == "T_max" and value == given.get("max_train_steps"):
        reading.translate(key, "As long as the training, as here always")
    elif name in SCHEDULER_SETTINGS:
        reading.apply(key, value if name == "num_cycles" else float(value), SCHEDULER_SETTINGS[name])
    else:
        reading.ignore(key, "Not offered. The result may differ")
