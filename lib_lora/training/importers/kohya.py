"""kohya's options, as one flat table of names and values, in our settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lib_lora.training.arguments import pairs
from lib_lora.training.config import settings
from lib_lora.training.importers import kohya_flow, kohya_network
from lib_lora.training.importers.kohya_keys import DEFAULTS, DIRECT, IGNORED
from lib_lora.training.importers.kohya_optimizer import (
    OPTIMIZER_ARGS,
    OPTIMIZER_READERS,
    RATES,
    SCHEDULER_ARGS,
    SCHEDULER_READERS,
    cycles,
    learning_rates,
    lowest_share,
    optimizer,
    optimizer_argument,
    plain,
    rate,
    schedule,
    schedule_class,
    scheduler_argument,
    share,
    share_of_steps,
)
from lib_lora.training.importers.report import UNKNOWN, Imported, Reading
from lib_lora.training.importers.values import (
    Unreadable,
    anything,
    count,
    file_name,
    is_nothing,
    number,
    numbers,
    of_setting,
    shown,
    sides,
    switch,
    text,
    whole,
)

Reader = Callable[[Any], Any]
Rule = Callable[[Reading, str, Any, Mapping[str, Any]], None]
LISTS_OF_ARGUMENTS = ("network_args", "optimizer_args", "lr_scheduler_args")


def translate(
    values: Mapping[str, Any], names: Mapping[str, str] | None = None, defaults: Mapping[str, Any] = DEFAULTS
) -> Imported:
    """Our settings for kohya's, with a line in the report for every key.

    Args:
        values: kohya's options; None, "" and "None" mean that an option is not given.
        names: what the file calls an option, where that is not kohya's name.
        defaults: of our settings, for options that are not given.
    """
    options = dict(_single(values))
    reading = Reading(dict(defaults), options, dict(names or {}))
    given = reading.given(reader_of)
    learning_rates(reading, given)
    for key, value in given.items():
        if rule := _rule_of(key):
            rule(reading, key, value, given)
    if kohya_flow.flows(given):
        kohya_flow.as_flow(reading, given)
    return reading.result()


def is_known(key: str) -> bool:
    """Whether ``key`` is an option of kohya's trainer."""
    return key in RULES or key in DIRECT or key in IGNORED or key in RATES or key in LISTS_OF_ARGUMENTS


def _single(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options, each argument of a list of arguments as an option of its own."""
    for key, value in values.items():
        if key not in LISTS_OF_ARGUMENTS or is_nothing(value):
            yield key, value
            continue
        arguments, rest = pairs(value)
        if rest or not arguments:
            yield key, rest or value
        for name, argument in arguments.items():
            yield f"{key}.{name}", argument


def reader_of(key: str) -> Reader:
    """What reads the value of kohya's option ``key``, or raises :class:`Unreadable`."""
    prefix, dot, name = key.partition(".")
    if dot and prefix == "network_args":
        return kohya_network.READERS.get(name, text if name in ("algo", "type", "preset") else anything)
    if dot and prefix == "optimizer_args":
        return OPTIMIZER_READERS.get(name, plain)
    if dot and prefix == "lr_scheduler_args":
        return SCHEDULER_READERS.get(name, anything)
    if key in LISTS_OF_ARGUMENTS:
        return _no_arguments
    if key in DIRECT:
        return of_setting(settings()[DIRECT[key]])
    return READERS.get(key, anything)


def _rule_of(key: str) -> Rule | None:
    if key.startswith(kohya_network.PREFIX):
        return kohya_network.argument
    if key.startswith(OPTIMIZER_ARGS):
        return optimizer_argument
    if key.startswith(SCHEDULER_ARGS):
        return scheduler_argument
    if key in DIRECT:
        return _direct
    if key in IGNORED:
        return _ignored
    return None if key in RATES else RULES.get(key, _unknown)


def _direct(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.apply(key, value, DIRECT[key])


def _ignored(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    off = isinstance(value, (bool, int, float, str)) and shown(value) in ("False", "0", "0.0", "'0'", "'False'")
    reading.ignore(key, "Off" if off else IGNORED[key])


def _unknown(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.note(key, UNKNOWN, "Not known here; look it up before you rely on the result")


def _no_arguments(value: Any) -> Any:
    raise Unreadable(f"{shown(value)} is no name=value")


def _sides(value: Any) -> list[float]:
    found = sides(value)
    if len(found) > 2:
        raise Unreadable(f"{shown(value)} is no size of one image")
    return found


def _resolution(reading: Reading, key: str, value: list[float], given: Mapping[str, Any]) -> None:
    square = len(set(value)) == 1
    side = int(value[0]) if square else round((value[0] * value[-1]) ** 0.5 / 8) * 8
    reading.translate(key, f"Resolution = {side}", resolution=side)


def _tokens(value: Any) -> int:
    found = whole(value)
    if found not in (75, 150, 225):
        raise Unreadable(f"{shown(value)} is none of 75, 150, 225")
    return found


def _max_tokens(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    reading.apply(key, value, "max_tokens")


def _model(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    name = file_name(value)
    reading.translate(key, f"Model = {name}, if the host has it", model=name)


def _precision(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    precision = value.lower() if value.lower() in ("bf16", "fp16") else "as loaded"
    reading.translate(key, f"Precision of the base = {precision}", precision=precision)


def _zero_terminal(reading: Reading, key: str, value: bool, given: Mapping[str, Any]) -> None:
    said = "With kohya's SNR, for the same result; switch that off for the correct one" if value else "Off"
    reading.translate(key, said, zero_terminal_snr=value, zero_terminal_old_snr=value)


def _steps(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    if value == 0:
        reading.ignore(key, "0 means that it is not set")
    elif given.get("max_train_epochs"):
        reading.ignore(key, "max_train_epochs counts")
    else:
        reading.apply(key, value, "max_steps")


def _epochs(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    if value == 0:
        reading.ignore(key, "0 means that it is not set")
    elif key == "epoch" and (given.get("max_train_epochs") or given.get("max_train_steps")):
        reading.ignore(key, "max_train_epochs or max_train_steps counts")
    else:
        reading.values["max_steps"] = 0
        reading.apply(key, value, "epochs")


def _seed(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    if value < 0:
        reading.ignore(key, "It asks for a random one; the seed stays as it is")
    else:
        reading.apply(key, value, "seed")


def _clip_skip(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    reading.apply(key, max(1, value), "clip_skip")


def _repeats(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    found = min(max(value, 1), 10000)
    reading.translate(key, f"Repeats = {found}", repeats=str(found))


def _masks(reading: Reading, key: str, value: bool, given: Mapping[str, Any]) -> None:
    kinds = {"masked_loss": "files", "alpha_mask": "alpha"}  # kohya uses alpha masks whenever there are some
    chosen = kinds[key] if value and not (key == "masked_loss" and given.get("alpha_mask")) else None
    reading.translate(key, f"Masks = {chosen or 'as the other key says' if value else 'off'}")
    if chosen:
        reading.values["masks"] = chosen


def _wildcard(reading: Reading, key: str, value: bool, given: Mapping[str, Any]) -> None:
    said = f"Wildcards and random line: {'on' if value else 'off'}"
    reading.translate(key, said, wildcards=value, random_line=value)


def _prompts(value: Any) -> str:
    return "\n".join(text(line) for line in value) if isinstance(value, list) else text(value)


def _samples(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    if value.endswith((".txt", ".toml", ".json")) and "\n" not in value:
        reading.ignore(key, "Copy the lines of that file into the sample prompts")
    else:
        reading.apply(key, value, "sample_prompts")


def _caption_extension(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    if value.lower().startswith(".none"):
        reading.ignore(key, "No caption files: the words in the folder's name stand for them")
        return
    reading.apply(key, value if value.startswith(".") else f".{value}", "caption_extension")


def _state(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.ignore(key, "A run can always be continued here")


def _fp8_unet(reading: Reading, key: str, value: bool, given: Mapping[str, Any]) -> None:
    reading.translate(key, f"fp8 base: {'on' if value else 'as fp8_base says'}, of the U-Net as here always")
    if value:
        reading.values["fp8_base"] = True


def _stop_text(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.ignore(key, "kohya's trainer ignores it for a LoRA too; here it is “Stop the text encoder after”")


def _dataset_config(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.ignore(key, "Import that file too: it says which images, how often, how large")


def _save_precision(value: Any) -> str:
    return str(of_setting(settings()["save_precision"])("fp32" if value == "float" else value))


def _file_precision(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    reading.apply(key, value, "save_precision")


def _of_base_weights(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.translate(key, "Weights of the base weights")


OPTIONS: dict[str, tuple[Reader, Rule]] = {
    "network_module": (text, kohya_network.network_module),
    "optimizer_type": (text, optimizer),
    "lr_scheduler": (text, schedule),
    "lr_scheduler_type": (text, schedule_class),
    "lr_scheduler_min_lr_ratio": (of_setting(settings()["min_lr"]), lowest_share),
    "lr_scheduler_num_cycles": (of_setting(settings()["cycles"]), cycles),
    "lr_warmup_steps": (share, share_of_steps("warmup", "Warm-up")),
    "lr_decay_steps": (share, share_of_steps("decay_share", "Decay")),
    "token_warmup_step": (share, share_of_steps("token_warmup", "Token warm-up")),
    "resolution": (_sides, _resolution),
    "max_token_length": (_tokens, _max_tokens),
    "pretrained_model_name_or_path": (text, _model),
    "mixed_precision": (text, _precision),
    "zero_terminal_snr": (switch, _zero_terminal),
    "max_train_steps": (count, _steps),
    "max_train_epochs": (count, _epochs),
    "epoch": (count, _epochs),
    "seed": (whole, _seed),
    "clip_skip": (count, _clip_skip),
    "num_repeats": (whole, _repeats),
    "dataset_repeats": (whole, _repeats),
    "sample_prompts": (_prompts, _samples),
    "network_dim": (count, kohya_network.rank),
    "network_alpha": (of_setting(settings()["alpha"]), kohya_network.alpha),
    "use_timestep_mask": (switch, kohya_network.timed_ranks),
    "min_rank": (count, kohya_network.timed_ranks),
    "alpha_rank_scale": (number, kohya_network.timed_ranks),
    "save_precision": (_save_precision, _file_precision),
    "masked_loss": (switch, _masks),
    "alpha_mask": (switch, _masks),
    "enable_wildcard": (switch, _wildcard),
    "fp8_base_unet": (switch, _fp8_unet),
    "save_state": (anything, _state),
    "stop_text_encoder_training": (anything, _stop_text),
    "caption_extension": (text, _caption_extension),
    "dataset_config": (text, _dataset_config),
    "timestep_sampling": (text, kohya_flow.levels),
    "weighting_scheme": (text, kohya_flow.levels),
    "discrete_flow_shift": (kohya_flow.positive, kohya_flow.levels),
    "sigmoid_scale": (kohya_flow.positive, kohya_flow.levels),
    "logit_mean": (number, kohya_flow.levels),
    "logit_std": (kohya_flow.positive, kohya_flow.levels),
    "training_shift": (kohya_flow.positive, kohya_flow.levels),
    "base_weights": (kohya_flow.files, kohya_flow.base_weights),
    "base_weights_multiplier": (numbers, _of_base_weights),
}
READERS: dict[str, Reader] = {key: reader for key, (reader, _) in OPTIONS.items()} | {
    "learning_rate": rate,
    "unet_lr": rate,
    "text_encoder_lr": rate,
    "network_train_unet_only": switch,
    "network_train_text_encoder_only": switch,
}
RULES: dict[str, Rule] = {key: rule for key, (_, rule) in OPTIONS.items()}
