"""kohya's options for the optimizer, its rates and its schedule."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from lib_lora.training.config_groups.optimizer import SCHEDULES
from lib_lora.training.importers.kohya_keys import DEFAULTS
from lib_lora.training.importers.report import Reading
from lib_lora.training.optimizers import RECIPES, RENAMED

RATES = ("learning_rate", "unet_lr", "text_encoder_lr", "network_train_unet_only", "network_train_text_encoder_only")
_KNOWN_OPTIMIZERS = {name.lower(): name for name in RECIPES} | {
    "dadaptation": "DAdaptAdam", "dadaptadampreprint": "DAdaptAdam", "adamwschedulefree": "ScheduleFreeAdamW",
    "radamschedulefree": "ScheduleFreeRAdam", "sgdschedulefree": "ScheduleFreeSGD", "sgdnesterov": "SGD",
    "pagedadamw": "AdamW", "pagedadamw32bit": "AdamW", "ademamix8bit": "AdEMAMix8bit", "ademamix": "AdEMAMix",
}  # fmt: skip


def learning_rates(reading: Reading, given: Mapping[str, Any]) -> None:
    """Both rates, as all of the options that set or switch them say."""
    base = float(given.get("learning_rate", DEFAULTS["unet_lr"]))
    te = given.get("text_encoder_lr", base)
    rates = {"unet": float(given.get("unet_lr", base)), "te": float(te[0] if isinstance(te, list) else te)}
    if switched_on(given.get("network_train_unet_only")):
        rates["te"] = 0.0
    if switched_on(given.get("network_train_text_encoder_only")):
        rates["unet"] = 0.0
    text = f"U-Net {rates['unet']:g}, text encoder {rates['te']:g}"
    for key in RATES:
        if key in given:
            reading.translate(key, given[key], text)
    reading.values.update(unet_lr=rates["unet"], te_lr=rates["te"])


def optimizer(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """The optimizer, by any of its spellings."""
    short = str(value).rsplit(".", 1)[-1].lower()
    if short == "adafactor":
        relative = parsed_arguments(given.get("optimizer_args")).get("relative_step", True)
        name = "Adafactor (relative step)" if relative else "Adafactor"
        reading.translate(key, value, f"{name}, as the relative_step of its arguments says", optimizer=name)
    elif short in _KNOWN_OPTIMIZERS:
        name = _KNOWN_OPTIMIZERS[short]
        reading.translate(key, value, f"Optimizer = {name}", optimizer=name)
    else:
        reading.ignore(key, value, "This optimizer is not offered; AdamW stands for it. The result will differ")


def optimizer_args(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """Its arguments, among them those with a setting of their own here."""
    arguments = parsed_arguments(value)
    values: dict[str, Any] = {}
    if "weight_decay" in arguments:
        values["weight_decay"] = float(arguments.pop("weight_decay"))
    if "betas" in arguments:
        betas = arguments.pop("betas")
        values.update(beta1=float(betas[0]), beta2=float(betas[1]))
    relative = arguments.pop("relative_step", None)
    if relative is not None and arguments.get("scale_parameter") == relative:
        del arguments["scale_parameter"]  # as each form of Adafactor has it anyway
    words = [f"{RENAMED.get(name, name)}={v!r}".replace(" ", "") for name, v in arguments.items()]
    reading.translate(
        key, value, "Weight decay, betas and optimizer arguments", optimizer_args=" ".join(words), **values
    )


def parsed_arguments(value: Any) -> dict[str, Any]:
    """``["a=1", "b=True"]``, ``"a=1 b=True"`` or a table, as a dict of Python values."""
    if not value:
        return {}
    words = value if isinstance(value, (list, dict)) else str(value).split()
    pairs = words.items() if isinstance(words, dict) else (str(word).partition("=")[::2] for word in words)
    return {name.strip(): _literal(v) for name, v in pairs}


def _literal(value: Any) -> Any:
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        return value


def schedule(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """The schedule, if ``lr_scheduler_type`` does not name another."""
    if given.get("lr_scheduler_type"):
        reading.ignore(key, value, "lr_scheduler_type counts")
        return
    name = str(value).split(":")[0]
    if name == "cosine_with_min_lr":
        name = "cosine"
    elif name == "adafactor":
        name = "constant"
    elif name not in SCHEDULES:
        reading.ignore(key, value, "This schedule is not offered; constant stands for it. The result will differ")
        return
    if name == "constant" and given.get("lr_warmup_steps") and float(given["lr_warmup_steps"]) > 0:
        name = "constant_with_warmup"
    reading.translate(key, value, f"Schedule = {name}", schedule=name)


def schedule_class(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """A schedule by the name of its class."""
    if str(value).rsplit(".", 1)[-1] == "CosineAnnealingLR":
        reading.translate(key, value, "Schedule = cosine", schedule="cosine")
    else:
        reading.ignore(key, value, "Schedules are those of the list here. The result will differ")


def share_of_steps(setting: str, label: str) -> Callable[..., None]:
    """A rule for a number of steps, or a share of them."""

    def rule(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
        number, total = float(value), float(given.get("max_train_steps") or 0)
        share = number if number < 1 else number / total if total else None
        if share is None:
            reading.ignore(key, value, f"{label} is a share of the steps here, and the file does not say how many")
            return
        reading.translate(key, value, f"{label}: {share:.3g} of all steps", **{setting: min(share, 0.5)})

    return rule


def scheduler_args(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """Cycles, power and the lowest rate."""
    known = {"cycle_multiplier": "cycle_length_factor", "gamma": "cycle_decay", "num_cycles": "cycles",
             "min_lr_ratio": "min_lr", "power": "power"}  # fmt: skip
    arguments = parsed_arguments(value)
    values = {known[name]: v for name, v in arguments.items() if name in known}
    left = sorted(set(arguments) - set(known))
    text = "Cycles, power and lowest rate" + (f"; left out: {', '.join(left)}" if left else "")
    values = {name: int(v) if name == "cycles" else float(v) for name, v in values.items()}
    reading.translate(key, value, text, **values)


def switched_on(value: Any) -> bool:
    """Whether a switch is on, in any spelling of yes."""
    return value in (True, 1, "True", "true", "1")
