"""kohya's options, as one flat table of names and values, in our settings."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import PureWindowsPath
from typing import Any

from lib_lora.training.config_groups.optimizer import SCHEDULES
from lib_lora.training.importers.kohya_keys import DEFAULTS, DIRECT, IGNORED
from lib_lora.training.importers.kohya_network import network_args, network_module
from lib_lora.training.importers.report import UNKNOWN, Imported, Reading
from lib_lora.training.optimizers import RECIPES, RENAMED

RATES = ("learning_rate", "unet_lr", "text_encoder_lr", "network_train_unet_only", "network_train_text_encoder_only")
_KNOWN_OPTIMIZERS = {name.lower(): name for name in RECIPES} | {
    "dadaptation": "DAdaptAdam", "dadaptadampreprint": "DAdaptAdam", "adamwschedulefree": "ScheduleFreeAdamW",
    "radamschedulefree": "ScheduleFreeRAdam", "sgdschedulefree": "ScheduleFreeSGD", "sgdnesterov": "SGD",
    "pagedadamw": "AdamW", "pagedadamw32bit": "AdamW", "ademamix8bit": "AdEMAMix8bit", "ademamix": "AdEMAMix",
}  # fmt: skip


def translate(
    values: Mapping[str, Any], names: Mapping[str, str] | None = None, defaults: Mapping[str, Any] = DEFAULTS
) -> Imported:
    """Our settings for kohya's, with a line in the report for every key.

    Args:
        values: kohya's options; None and "" mean that an option is not given.
        names: what the file calls an option, where that is not kohya's name.
        defaults: of our settings, for options that are not given.
    """
    reading = Reading(dict(defaults), names=dict(names or {}))
    given = {key: value for key, value in values.items() if value not in (None, "")}
    if any(key in given for key in RATES):
        _learning_rates(reading, given)
    for key, value in values.items():
        if key not in given:
            reading.ignore(key, value, "Empty")
        elif key in RULES:
            RULES[key](reading, key, value, given)
        elif key in DIRECT:
            reading.apply(key, value, DIRECT[key])
        elif key in IGNORED:
            reading.ignore(key, value, "Off" if str(value) in ("False", "0", "0.0") else IGNORED[key])
        elif key not in RATES:
            reading.note(key, value, UNKNOWN, "Not known here; look it up before you rely on the result")
    return reading.result()


def _learning_rates(reading: Reading, given: Mapping[str, Any]) -> None:
    base = float(given.get("learning_rate", DEFAULTS["unet_lr"]))
    te = given.get("text_encoder_lr", base)
    rates = {"unet": float(given.get("unet_lr", base)), "te": float(te[0] if isinstance(te, list) else te)}
    if _on(given.get("network_train_unet_only")):
        rates["te"] = 0.0
    if _on(given.get("network_train_text_encoder_only")):
        rates["unet"] = 0.0
    text = f"U-Net {rates['unet']:g}, text encoder {rates['te']:g}"
    for key in RATES:
        if key in given:
            reading.translate(key, given[key], text)
    reading.values.update(unet_lr=rates["unet"], te_lr=rates["te"])


def _optimizer(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
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


def _optimizer_args(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
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


def _schedule(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    if given.get("lr_scheduler_type"):
        reading.ignore(key, value, "lr_scheduler_type counts")
        return
    name, values = str(value).split(":")[0], {}
    if name == "cosine_with_min_lr":
        name = "cosine"
    elif name == "adafactor":
        name = "constant"
    elif name not in SCHEDULES:
        reading.ignore(key, value, "This schedule is not offered; constant stands for it. The result will differ")
        return
    if name == "constant" and given.get("lr_warmup_steps") and float(given["lr_warmup_steps"]) > 0:
        name = "constant_with_warmup"
    reading.translate(key, value, f"Schedule = {name}", schedule=name, **values)


def _schedule_class(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    if str(value).rsplit(".", 1)[-1] == "CosineAnnealingLR":
        reading.translate(key, value, "Schedule = cosine", schedule="cosine")
    else:
        reading.ignore(key, value, "Schedules are those of the list here. The result will differ")


def _share(setting: str, label: str) -> Callable[..., None]:
    """A rule for a number of steps, or a share of them."""

    def rule(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
        number, total = float(value), float(given.get("max_train_steps") or 0)
        share = number if number < 1 else number / total if total else None
        if share is None:
            reading.ignore(key, value, f"{label} is a share of the steps here, and the file does not say how many")
            return
        reading.translate(key, value, f"{label}: {share:.3g} of all steps", **{setting: min(share, 0.5)})

    return rule


def _resolution(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    sides = value if isinstance(value, list) else str(value).replace("x", ",").split(",")
    numbers = [int(float(side)) for side in sides]
    side = numbers[0] if len(set(numbers)) == 1 else round((numbers[0] * numbers[-1]) ** 0.5 / 8) * 8
    reading.translate(key, value, f"Resolution = {side}", resolution=side)


def _scheduler_args(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    known = {"cycle_multiplier": "cycle_length_factor", "gamma": "cycle_decay", "num_cycles": "cycles",
             "min_lr_ratio": "min_lr", "power": "power"}  # fmt: skip
    arguments = parsed_arguments(value)
    values = {known[name]: v for name, v in arguments.items() if name in known}
    left = sorted(set(arguments) - set(known))
    text = "Cycles, power and lowest rate" + (f"; left out: {', '.join(left)}" if left else "")
    values = {name: int(v) if name == "cycles" else float(v) for name, v in values.items()}
    reading.translate(key, value, text, **values)


def _tokens(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.translate(key, value, f"Longest caption = {int(float(value))}", max_tokens=int(float(value)))


def _model(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    name = PureWindowsPath(str(value)).stem  # both kinds of slashes
    reading.translate(key, value, f"Model = {name}, if the host has it", model=name)


def _precision(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    precision = value if value in ("bf16", "fp16") else "as loaded"
    reading.translate(key, value, f"Precision of the base = {precision}", precision=precision)


def _zero_terminal(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    on = _on(value)
    text = "With kohya's SNR, for the same result; switch that off for the correct one" if on else "Off"
    reading.translate(key, value, text, zero_terminal_snr=on, zero_terminal_old_snr=on)


def _steps(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    why = "The epochs count" if given.get("max_train_epochs") else "Runs are counted in epochs here: set those"
    reading.ignore(key, value, why)


def _clip_skip(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.apply(key, max(1, int(float(value))), "clip_skip")


def _repeats(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.translate(key, value, f"Repeats = {int(value)}", repeats=str(int(value)))


def _rank(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    whole = float(value) > 512 and parsed_arguments(given.get("network_args")).get("algo") == "lokr"
    if whole:  # LyCORIS' way of asking for it: a rank above every layer's width
        reading.translate(key, value, "A LoKr whose second factor is not low-rank", lokr_full=True)
    else:
        reading.apply(key, value, "rank")


def _masks(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    kinds = {"masked_loss": "files", "alpha_mask": "alpha"}  # kohya uses alpha masks whenever there are some
    on = _on(value)
    chosen = kinds[key] if on and not (key == "masked_loss" and _on(given.get("alpha_mask"))) else None
    reading.translate(key, value, f"Masks = {chosen or 'as the other key says' if on else 'off'}")
    if chosen:
        reading.values["masks"] = chosen


def _wildcard(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    on = _on(value)
    reading.translate(key, value, f"Wildcards and random line: {'on' if on else 'off'}", wildcards=on, random_line=on)


def _samples(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    if str(value).endswith((".txt", ".toml", ".json")) and "\n" not in str(value):
        reading.ignore(key, value, "Copy the lines of that file into the sample prompts")
    else:
        reading.apply(key, value, "sample_prompts")


def _state(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.ignore(key, value, "A run can always be continued here")


def _stop_text(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.ignore(key, value, "kohya's trainer ignores it for a LoRA too; here it is “Stop the text encoder after”")


def _on(value: Any) -> bool:
    return value in (True, 1, "True", "true", "1")


RULES: dict[str, Callable[[Reading, str, Any, Mapping[str, Any]], None]] = {
    "network_module": network_module,
    "network_args": network_args,
    "optimizer_type": _optimizer,
    "optimizer_args": _optimizer_args,
    "lr_scheduler": _schedule,
    "lr_scheduler_args": _scheduler_args,
    "lr_scheduler_type": _schedule_class,
    "lr_warmup_steps": _share("warmup", "Warm-up"),
    "lr_decay_steps": _share("decay_share", "Decay"),
    "token_warmup_step": _share("token_warmup", "Token warm-up"),
    "resolution": _resolution,
    "max_token_length": _tokens,
    "pretrained_model_name_or_path": _model,
    "mixed_precision": _precision,
    "zero_terminal_snr": _zero_terminal,
    "max_train_steps": _steps,
    "clip_skip": _clip_skip,
    "num_repeats": _repeats,
    "dataset_repeats": _repeats,
    "sample_prompts": _samples,
    "network_dim": _rank,
    "masked_loss": _masks,
    "alpha_mask": _masks,
    "enable_wildcard": _wildcard,
    "save_state": _state,
    "stop_text_encoder_training": _stop_text,
}
