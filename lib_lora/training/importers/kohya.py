"""kohya's options, as one flat table of names and values, in our settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PureWindowsPath
from typing import Any

from lib_lora.training.importers.kohya_keys import DEFAULTS, DIRECT, IGNORED
from lib_lora.training.importers.kohya_network import network_args, network_module
from lib_lora.training.importers.kohya_optimizer import (
    RATES,
    learning_rates,
    optimizer,
    optimizer_args,
    parsed_arguments,
    schedule,
    schedule_class,
    scheduler_args,
    share_of_steps,
    switched_on,
)
from lib_lora.training.importers.report import UNKNOWN, Imported, Reading


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
        learning_rates(reading, given)
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


def _resolution(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    sides = value if isinstance(value, list) else str(value).replace("x", ",").split(",")
    numbers = [int(float(side)) for side in sides]
    side = numbers[0] if len(set(numbers)) == 1 else round((numbers[0] * numbers[-1]) ** 0.5 / 8) * 8
    reading.translate(key, value, f"Resolution = {side}", resolution=side)


def _tokens(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.translate(key, value, f"Longest caption = {int(float(value))}", max_tokens=int(float(value)))


def _model(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    name = PureWindowsPath(str(value)).stem  # both kinds of slashes
    reading.translate(key, value, f"Model = {name}, if the host has it", model=name)


def _precision(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    precision = value if value in ("bf16", "fp16") else "as loaded"
    reading.translate(key, value, f"Precision of the base = {precision}", precision=precision)


def _zero_terminal(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    on = switched_on(value)
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
    on = switched_on(value)
    chosen = kinds[key] if on and not (key == "masked_loss" and switched_on(given.get("alpha_mask"))) else None
    reading.translate(key, value, f"Masks = {chosen or 'as the other key says' if on else 'off'}")
    if chosen:
        reading.values["masks"] = chosen


def _wildcard(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    on = switched_on(value)
    reading.translate(key, value, f"Wildcards and random line: {'on' if on else 'off'}", wildcards=on, random_line=on)


def _samples(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    if str(value).endswith((".txt", ".toml", ".json")) and "\n" not in str(value):
        reading.ignore(key, value, "Copy the lines of that file into the sample prompts")
    else:
        reading.apply(key, value, "sample_prompts")


def _state(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.ignore(key, value, "A run can always be continued here")


def _fp8_unet(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    on = switched_on(value)
    reading.translate(key, value, f"fp8 base: {'on' if on else 'as fp8_base says'}, of the U-Net as here always")
    if on:
        reading.values["fp8_base"] = True


def _stop_text(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.ignore(key, value, "kohya's trainer ignores it for a LoRA too; here it is “Stop the text encoder after”")


RULES: dict[str, Callable[[Reading, str, Any, Mapping[str, Any]], None]] = {
    "network_module": network_module,
    "network_args": network_args,
    "optimizer_type": optimizer,
    "optimizer_args": optimizer_args,
    "lr_scheduler": schedule,
    "lr_scheduler_args": scheduler_args,
    "lr_scheduler_type": schedule_class,
    "lr_warmup_steps": share_of_steps("warmup", "Warm-up"),
    "lr_decay_steps": share_of_steps("decay_share", "Decay"),
    "token_warmup_step": share_of_steps("token_warmup", "Token warm-up"),
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
    "fp8_base_unet": _fp8_unet,
    "save_state": _state,
    "stop_text_encoder_training": _stop_text,
}
