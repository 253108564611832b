"""OneTrainer's JSON files: its whole configuration, or a preset with a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_lora.training.config_groups.setting import CAPTIONS, IMAGES, LOSS, NETWORK, NOISE, OPTIMIZER, SCHEDULE
from lib_lora.training.importers import onetrainer_parts
from lib_lora.training.importers.kohya_keys import neutral
from lib_lora.training.importers.onetrainer_data import concepts, samples, tables
from lib_lora.training.importers.report import Imported, Reading
from lib_lora.training.importers.tables import Option, choice, flattened, ignored, read_table, setting
from lib_lora.training.importers.values import (
    count,
    file_name,
    not_negative,
    number,
    sides,
    switch,
    text,
    whole,
)

DEFAULTS = neutral(NETWORK, OPTIMIZER, SCHEDULE, CAPTIONS, IMAGES, NOISE, LOSS) | {
    "rank": 16, "alpha": 1.0, "batch_size": 1, "epochs": 100, "unet_lr": 3e-6, "te_lr": 3e-6, "weight_decay": 0.01,
    "stop_te_after": 30, "max_steps": 0,
}  # fmt: skip
OPTIMIZERS = {
    "ADAMW": "AdamW", "ADAM": "AdamW", "ADAMW_8BIT": "AdamW8bit", "ADAM_8BIT": "AdamW8bit", "LION": "Lion",
    "LION_8BIT": "Lion8bit", "PRODIGY": "Prodigy", "DADAPT_ADAM": "DAdaptAdam", "DADAPT_LION": "DAdaptLion",
    "DADAPT_SGD": "DAdaptSGD", "DADAPT_ADA_GRAD": "DAdaptAdaGrad", "CAME": "CAME", "ADEMAMIX": "AdEMAMix",
    "ADEMAMIX_8BIT": "AdEMAMix8bit", "SCHEDULE_FREE_ADAMW": "ScheduleFreeAdamW", "SGD": "SGD",
    "SCHEDULE_FREE_SGD": "ScheduleFreeSGD", "ADAFACTOR": "Adafactor",
}  # fmt: skip
SCHEDULERS = {"CONSTANT": "constant", "LINEAR": "linear", "COSINE": "cosine", "REX": "rex", "ADAFACTOR": "constant",
              "COSINE_WITH_RESTARTS": "cosine_with_restarts",
              "COSINE_WITH_HARD_RESTARTS": "cosine_with_restarts"}  # fmt: skip
PRECISIONS = {"FLOAT_16": "fp16", "BFLOAT_16": "bf16", "FLOAT_32": "as loaded", "TFLOAT_32": "as loaded"}
THERE = ignored("About that program and its computer")


def matches(document: dict[str, Any]) -> bool:
    """Whether at least two of the options that are OneTrainer's own are there."""
    own = {"training_method", "model_type", "base_model_name", "learning_rate_scheduler", "concept_file_name",
           "loss_weight_fn", "output_model_destination", "lora_rank", "train_dtype", "workspace_dir"}  # fmt: skip
    return len(own & document.keys()) >= 2


def read(document: dict[str, Any]) -> Imported:
    """The file's settings over OneTrainer's defaults. Parts of models are tables of their own."""
    options = dict(document)
    if isinstance(options.get("optimizer"), str):  # the first versions
        options["optimizer"] = {"optimizer": options["optimizer"]}
    options.pop("optimizer_defaults", None)
    return read_table(flattened(options), OPTIONS, DEFAULTS)


def _every(setting: str, unit_key: str, usual: str) -> Option:
    def use(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
        unit = given.get(unit_key, usual).upper()
        if unit in ("EPOCH", "STEP") and value:
            reading.apply(key, value, f"{setting}_{unit.lower()}s")
        else:
            reading.ignore(key, "Off" if unit == "NEVER" or not value else "Counted in epochs or steps here")

    return count, use


def _scheduler(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    name = value
    if name == "constant" and given.get("learning_rate_warmup_steps", 200) > 0:
        name = "constant_with_warmup"
    reading.translate(key, f"Schedule = {name}", schedule=name)


def _warmup(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    if value > 1:
        reading.ignore(key, "Warm-up is a share of the steps here, and the file does not say how many")
    else:
        reading.translate(key, f"Warm-up: {value:g} of all steps", warmup=value)


def _resolution(reading: Reading, key: str, value: list[float], given: Mapping[str, Any]) -> None:
    side = round(value[0] / 8) * 8
    others = ", the first of several" if len(set(value)) > 1 else ""
    reading.translate(key, f"Resolution = {side}{others}", resolution=side)


def _named(setting: str) -> Option:
    def use(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
        name = file_name(value)
        reading.translate(key, f"{setting.capitalize()} = {name}", **{setting: name})

    return text, use


def _method(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    if value.upper() == "LORA":
        reading.translate(key, "LoRA")
    else:
        reading.ignore(key, f"The file is for {value}, and a LoRA is trained here. The rates may not fit")


def _optimizer(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    name = "Adafactor (relative step)" if value == "Adafactor" and given.get("optimizer.relative_step") else value
    reading.translate(key, f"Optimizer = {name}", optimizer=name)
    if "optimizer.weight_decay" not in given:
        decays = name in ("AdamW", "AdamW8bit", "AdEMAMix", "AdEMAMix8bit")
        reading.values["weight_decay"] = 0.01 if decays else 0.0


def _loss_weight(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    kind = value.upper()
    if kind in ("MIN_SNR_GAMMA", "MIN_SNR"):
        gamma = given.get("loss_weight_strength", 5.0)
        reading.translate(key, f"Min-SNR gamma = {gamma:g}", min_snr_gamma=gamma)
    elif kind == "DEBIASED_ESTIMATION":
        reading.translate(key, "Debiased estimation: on", debiased_estimation=True)
    elif kind == "CONSTANT":
        reading.translate(key, "All noise levels alike")
    else:
        reading.ignore(key, "This balance of the noise levels is not offered. The result will differ")


def _mae(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    if value and not given.get("mse_strength", 1.0):
        reading.translate(key, "Loss = l1", loss_type="l1")
    else:
        reading.ignore(key, "Off" if not value else "One kind of loss at a time here. The result will differ")


def _ema(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    decay = 0.0 if value.upper() == "OFF" else given.get("ema_decay", 0.999)
    reading.translate(key, f"Moving average = {decay:g}", ema_decay=decay)


def _distribution(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    weight, bias = given.get("noising_weight", 0.0), given.get("noising_bias", 0.0)
    kind = value.upper()
    if kind == "LOGIT_NORMAL":
        reading.translate(key, "Logit-normal", timestep_distribution="logit-normal", timestep_a=bias,
                          timestep_b=weight + 1)  # fmt: skip
    elif kind == "SIGMOID":
        reading.translate(key, "Sigmoid", timestep_distribution="sigmoid", timestep_a=weight, timestep_b=bias + 0.5)
    elif kind == "UNIFORM":
        reading.translate(key, "Uniform", timestep_distribution="uniform")
    else:
        reading.ignore(key, "This distribution is not offered; uniform stands for it. The result will differ")


def _dynamic_shift(reading: Reading, key: str, value: bool, given: Mapping[str, Any]) -> None:
    if value:
        reading.values["flow_shift"] = 0.0
    reading.translate(key, "Flow shift by resolution" if value else "Off")


def _strength(setting: str) -> Option:
    def use(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
        reading.translate(key, f"Timestep {round(value * 1000)}", **{setting: round(value * 1000)})

    return not_negative, use


def _checkpointing(value: Any) -> bool:
    return True if isinstance(value, str) and value.upper() == "CPU_OFFLOADED" else switch(value)


def _masked(reading: Reading, key: str, value: bool, given: Mapping[str, Any]) -> None:
    values = {"masks": "files", "unmasked_weight": given.get("unmasked_weight", 0.1)} if value else {"masks": "off"}
    reading.translate(key, "Masks beside the images" if value else "Masks = off", **values)


def _block_size(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    if _block_counts(given):
        reading.translate(key, f"Rank = {value}", rank=value)
    else:
        reading.ignore(key, "Of OFT")


def _rank(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    if _block_counts(given):
        reading.ignore(key, "The size of OFT's blocks counts")
    else:
        reading.apply(key, value, "rank")


def _block_counts(given: Mapping[str, Any]) -> bool:
    return given.get("peft_type") == "oft" and given.get("oft_block_size", 0) > 0


def _skip(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Clip skip = {value + 1}", clip_skip=value + 1)


def _argument(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    name = {"use_bias_correction": "bias_correction", "decouple": "weight_decouple"}.get(key[10:], key[10:])
    kind = given.get("optimizer.optimizer", "AdamW")
    adaptive = ("d_coef", "bias_correction", "safeguard_warmup", "weight_decouple", "growth_rate")
    if kind.startswith(("Prodigy", "DAdapt")) and name in adaptive:
        words = f"{reading.values.get('optimizer_args', '')} {name}={value!r}".strip()
        reading.translate(key, f"Optimizer argument {name}={value!r}", optimizer_args=words)
    else:
        reading.ignore(key, "As this optimizer has it here")


def _flag_or_number(value: Any) -> bool | float:
    return value if isinstance(value, bool) else number(value)


_ADAPTIVE = {
    f"optimizer.{n}": (_flag_or_number, _argument)
    for n in ("d_coef", "use_bias_correction", "safeguard_warmup", "decouple", "growth_rate")
}
OPTIONS: dict[str, Option] = {
    "training_method": (text, _method),
    **onetrainer_parts.OPTIONS,
    "epochs": setting("epochs"),
    "batch_size": setting("batch_size"),
    "gradient_accumulation_steps": setting("gradient_accumulation"),
    "clip_grad_norm": setting("max_grad_norm"),
    "resolution": (sides, _resolution),
    "base_model_name": _named("model"),
    "output_model_destination": _named("name"),
    "lora_model_name": setting("start_from"),
    "lora_rank": (setting("rank")[0], _rank),
    "lokr_dim": ignored("The rank counts"),
    "oft_block_size": (count, _block_size),
    "lora_alpha": setting("alpha"),
    "lora_decompose": setting("dora"),
    "peft_type": choice("algorithm", {"LORA": "lora", "LOHA": "loha", "LOKR": "lokr", "OFT_2": "oft"}),
    "lokr_decompose_both": setting("lokr_both"),
    "lokr_decompose_factor": setting("lokr_factor"),
    "lokr_use_tucker": setting("tucker"),
    "lokr_full_matrix": setting("lokr_full"),
    "dropout_probability": setting("network_dropout"),
    "learning_rate_scheduler": (choice("schedule", SCHEDULERS)[0], _scheduler),
    "learning_rate_warmup_steps": (not_negative, _warmup),
    "learning_rate_cycles": (lambda value: max(1, whole(value)), setting("cycles")[1]),
    "learning_rate_min_factor": setting("min_lr"),
    "loss_weight_fn": (text, _loss_weight),
    "loss_weight_strength": (not_negative, lambda r, k, v, g: r.translate(k, "Of the balance of the noise levels")),
    "mse_strength": (not_negative, lambda r, k, v, g: r.ignore(k, "The usual loss" if v else "See the other losses")),
    "mae_strength": (not_negative, _mae),
    "ema": (text, _ema),
    "ema_decay": (not_negative, lambda r, k, v, g: r.translate(k, "Of the moving average")),
    "offset_noise_weight": setting("noise_offset"),
    "perturbation_noise_weight": setting("ip_noise_gamma"),
    "rescale_noise_scheduler_to_zero_terminal_snr": setting("zero_terminal_snr"),
    "timestep_distribution": (text, _distribution),
    "noising_weight": (number, lambda r, k, v, g: r.translate(k, "Of the distribution")),
    "noising_bias": (number, lambda r, k, v, g: r.translate(k, "Of the distribution")),
    "min_noising_strength": _strength("min_timestep"),
    "max_noising_strength": _strength("max_timestep"),
    "gradient_checkpointing": (_checkpointing, setting("gradient_checkpointing")[1]),
    "unet.gradient_checkpointing": (_checkpointing, setting("gradient_checkpointing")[1]),
    "masked_training": (switch, _masked),
    "unmasked_weight": (not_negative, lambda r, k, v, g: r.translate(k, "Of the masks")),
    "normalize_masked_area_loss": setting("mask_by_area"),
    "text_encoder_layer_skip": (count, _skip),
    "train_dtype": choice("precision", PRECISIONS),
    "output_dtype": choice("save_precision", {**PRECISIONS, "FLOAT_32": "fp32"}),
    "save_every": _every("save_every_n", "save_every_unit", "NEVER"),
    "sample_after": _every("sample_every_n", "sample_after_unit", "MINUTE"),
    "save_every_unit": (text, lambda r, k, v, g: r.translate(k, "Says how the number beside it counts")),
    "sample_after_unit": (text, lambda r, k, v, g: r.translate(k, "Says how the number beside it counts")),
    "optimizer.optimizer": (choice("optimizer", OPTIMIZERS)[0], _optimizer),
    "optimizer.beta1": setting("beta1"),
    "optimizer.beta2": setting("beta2"),
    "optimizer.weight_decay": setting("weight_decay"),
    "optimizer.relative_step": (switch, lambda r, k, v, g: r.translate(k, "Says which Adafactor it is")),
    **_ADAPTIVE,
    "concepts": (tables, concepts),
    "samples": (tables, samples),
    "concept_file_name": ignored("Choose the folder with the images here"),
    "sample_definition_file_name": ignored("Copy its prompts into the sample prompts"),
    "optimizer.": ignored("As this optimizer has it here"),
    "learning_rate_scaler": ignored("Rates are those of the settings, not scaled by the batch"),
    "custom_learning_rate_scheduler": ignored("Schedules are those of the list here"),
    "force_v_prediction": ignored("Read from the loaded model"),
    "force_epsilon_prediction": ignored("Read from the loaded model"),
    "model_type": ignored("The model is the one that the host has loaded"),
    "aspect_ratio_bucketing": ignored("Always done here"),
    "image_caching": ignored("Always done here"),
    "timestep_shift": setting("flow_shift"),
    "dynamic_timestep_shifting": (switch, _dynamic_shift),
    **{name: THERE for name in ("__version", "workspace_dir", "cache_dir", "debug_mode", "debug_dir", "tensorboard",
                                "tensorboard_expose", "tensorboard_port", "tensorboard_always_on", "train_device",
                                "temp_device", "cloud.", "secrets.", "backup_after", "backup_after_unit", "compile",
                                "rolling_backup", "rolling_backup_count", "backup_before_save", "continue_last_backup",
                                "include_train_config", "output_model_format", "multi_gpu", "device_indexes",
                                "only_cache", "clear_cache_before_training", "dataloader_threads", "unet.",
                                "text_encoder.", "attention_mechanism", "async_offloading", "caching_threads",
                                "weight_dtype", "latent_caching")},
}  # fmt: skip
