"""diffusion-pipe's TOML: a file of the training, and one of the folders with images that it names.

Source: tdrussell/diffusion-pipe, ``train.py``, ``utils/dataset.py``, ``models/``: alpha is always the rank, noise
levels are drawn by a logit-normal distribution, and of text encoders only SDXL's are trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_lora.adapters.formula import Term, render
from lib_lora.training.config_groups.setting import CAPTIONS, IMAGES, LOSS, NETWORK, NOISE, OPTIMIZER, SCHEDULE
from lib_lora.training.importers.kohya_flow import BY_RESOLUTION, files, positive
from lib_lora.training.importers.kohya_keys import neutral
from lib_lora.training.importers.kohya_optimizer import betas
from lib_lora.training.importers.report import IGNORED, Imported, Line, Reading
from lib_lora.training.importers.tables import Option, choice, flattened, ignored, read_table, setting
from lib_lora.training.importers.values import (
    Unreadable,
    count,
    file_name,
    not_negative,
    numbers,
    shown,
    sides,
    switch,
    text,
)

OF_IT = {"micro_batch_size_per_gpu", "pipeline_stages", "activation_checkpointing", "caching_batch_size",
         "gradient_clipping", "partition_method", "steps_per_print"}  # fmt: skip
DEFAULTS = neutral(NETWORK, OPTIMIZER, SCHEDULE, CAPTIONS, IMAGES, NOISE, LOSS) | {
    "batch_size": 1, "max_steps": 0, "weight_decay": 0.01, "save_every_n_epochs": 0, "sample_every_n_epochs": 0,
    "te_lr": 0.0,
}  # fmt: skip
DATA_DEFAULTS = {"repeats": "1", "shuffle": False, "keep_tokens": 0, "caption_prefix": ""}
OPTIMIZERS = {"adamw": "AdamW", "adamw_optimi": "AdamW", "adamw8bit": "AdamW8bit", "adamw8bitkahan": "AdamW8bit",
              "prodigy": "Prodigy", "lion": "Lion", "came": "CAME", "ademamix": "AdEMAMix"}  # fmt: skip
SCHEDULES = {"constant": "constant", "linear": "linear", "cosine": "cosine"}
PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "float32": "as loaded"}
FILES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
FLOAT8 = ("float8", "float8_e4m3fn", "float8_e5m2")
SDXL = "sdxl"
HERE = ignored("The host decides that")
FILES_HERE = ignored("Files go to the host's LoRA folder, and a run has a folder of its own")
MEASURED = ignored("The fixed-noise loss is measured once per epoch here")
DATASET = "Import that file too: it says which images, how often, how large"
SEVERAL = "Put these folders into one, each named by its repeats, such as 10_name, and choose that one"


def matches(document: dict[str, Any]) -> bool:
    """Whether this is one of its two files."""
    tables = [document.get(name) for name in ("model", "optimizer")]
    return is_dataset(document) or (all(isinstance(table, dict) for table in tables) and bool(OF_IT & document.keys()))


def is_dataset(document: Mapping[str, Any]) -> bool:
    """Whether it says which images, in the way of this program."""
    return bool(_folders(document))


def read(document: dict[str, Any]) -> Imported:
    """Settings of the training, or of the images."""
    if is_dataset(document):
        return dataset(document)
    options = flattened({str(key): value for key, value in document.items()})
    for key in ("model.text_encoders", "eval_datasets"):
        options.pop(key, None)
    flows = str(options.get("model.type")).lower() != SDXL
    levels = {"timestep_distribution": "logit-normal", "timestep_a": 0.0, "timestep_b": 1.0} if flows else {}
    return read_table(options, OPTIONS, {**DEFAULTS, **levels})


def dataset(document: Mapping[str, Any]) -> Imported:
    """Settings about images: those of the first ``[[directory]]`` before those of the file."""
    folders = _folders(document)
    options = {**{key: value for key, value in document.items() if key != "directory"}, **folders[0]}
    found = read_table(options, DATA_OPTIONS, DATA_DEFAULTS)
    if len(folders) == 1:
        return found
    values = {name: value for name, value in found.values.items() if name not in ("data_dir", "repeats")}
    lines = [line for line in found.lines if line.key not in ("path", "num_repeats")]
    lines += [Line("directory.path", folder.get("path"), IGNORED, SEVERAL) for folder in folders]
    return Imported(values, tuple(lines))


def _folders(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    folders = document.get("directory")
    return [one for one in folders if isinstance(one, dict) and "path" in one] if isinstance(folders, list) else []


def _kind(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Algorithm = {value}", algorithm=value)


def _rank(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    whole = given.get("adapter.type") == "lokr" and value >= 10_000  # as its own example says it: rank = 1e6
    rank = min(int(value), 1024)
    said = "LoKr, full" if whole else f"Rank = {rank}, alpha = {rank}"
    reading.translate(key, said, **({"lokr_full": True} if whole else {"rank": rank, "alpha": float(rank)}))


def _rates(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    base = given.get("optimizer.lr", 0.0)
    trained = given.get("model.type", "").lower() == SDXL
    unet = given.get("model.unet_lr", base) if trained else base
    te = given.get("model.text_encoder_1_lr", base) if trained else 0.0
    reading.translate(key, f"U-Net {unet:g}, text encoder {te:g}", unet_lr=unet, te_lr=te)


def _optimizer(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Optimizer = {value}", optimizer=value)


def _betas(reading: Reading, key: str, value: tuple[float, ...], given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Beta 1 = {value[0]}, beta 2 = {value[1]}", beta1=value[0], beta2=value[1])


def _eps(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Optimizer argument eps={value:g}", optimizer_args=f"eps={value:g}")


def _batch(value: Any) -> int:
    """The batch size; of one for each resolution, [[512, 4], [1024, 1]], that of the largest."""
    if isinstance(value, list) and value and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        return count(max(value, key=lambda pair: not_negative(pair[0]))[1])
    return count(value)


def _batch_size(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    reading.apply(key, value, "batch_size")


def _warmup(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    total = given.get("max_steps", 0)
    if not value:
        reading.ignore(key, "0 means that it is not set")
    elif total:
        reading.translate(key, f"Warm-up: {value / total:.3g} of all steps", warmup=value / total)
    else:
        reading.ignore(key, "Warm-up is a share of the steps here, and the file does not say how many")


def _levels(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    if given.get("model.type", "").lower() == SDXL:
        reading.ignore(key, "For another family of models")
        return
    uniform = given.get("model.timestep_sample_method", "logit_normal") == "uniform"
    shift = given.get("model.shift", BY_RESOLUTION if given.get("model.flux_shift") else 1.0)
    kind = "uniform" if uniform else "logit-normal"
    said = f"Timestep distribution = {kind}, {f'shift {shift:g}' if shift else 'shifted by resolution'}"
    reading.translate(key, said, timestep_distribution=kind, flow_shift=shift,
                      timestep_b=1.0 if uniform else given.get("model.sigmoid_scale", 1.0))  # fmt: skip


def _float8(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    on = value.lower() in FLOAT8
    reading.translate(key, f"fp8 base: {'on' if on else 'off'}", fp8_base=on)


def _model(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    name = file_name(value)
    reading.translate(key, f"Model = {name}, if the host has it", model=name)


def _applied(reading: Reading, key: str, value: list[str], given: Mapping[str, Any]) -> None:
    formula = render([Term(name, 1.0, None) for name in value if name])
    reading.translate(key, f"Apply while training = {formula}, if the files are there", apply_loras=formula)


def _checkpointing(value: Any) -> bool:
    return value == "unsloth" or switch(value)


def _to_checkpoint(reading: Reading, key: str, value: bool, given: Mapping[str, Any]) -> None:
    reading.apply(key, value, "gradient_checkpointing")


def _huber(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Loss = huber, constant, {value:g} wide", loss_type="huber", huber_schedule="constant",
                      huber_c=value)  # fmt: skip


def _start_from(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    reading.ignore(key, "Choose that LoRA in “Start from”")


def _resolution(reading: Reading, key: str, value: list[float], given: Mapping[str, Any]) -> None:
    side = round(max(value) / 8) * 8
    others = ", the largest of several" if len(value) > 1 else ""
    reading.translate(key, f"Resolution = {side}{others}", resolution=side)


def _sizes(value: Any) -> list[float]:
    """Sides of squares: [512, [1024, 768]]."""
    sizes = [sides(one) for one in (value if isinstance(value, list) else numbers(value))]
    if not sizes or any(len(size) > 2 for size in sizes):
        raise Unreadable(f"{shown(value)} is no list of sizes")
    return [(size[0] * size[-1]) ** 0.5 for size in sizes]


def _repeats(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    repeats = min(max(round(value), 1), 10000)
    reading.translate(key, f"Repeats = {repeats}", repeats=str(repeats))


def _masks(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    reading.translate(key, "Masks of that folder", masks="files", mask_dir=value)


def _later(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.ignore(key, DATASET)


OPTIONS: dict[str, Option] = {
    "dataset": (text, _later),
    "output_dir": FILES_HERE,
    "epochs": setting("epochs"),
    "max_steps": setting("max_steps"),
    "micro_batch_size_per_gpu": (_batch, _batch_size),
    "gradient_accumulation_steps": setting("gradient_accumulation"),
    "gradient_clipping": setting("max_grad_norm"),
    "warmup_steps": (count, _warmup),
    "lr_scheduler": choice("schedule", SCHEDULES),
    "pseudo_huber_c": (positive, _huber),
    "save_every_n_epochs": setting("save_every_n_epochs"),
    "save_every_n_steps": setting("save_every_n_steps"),
    "save_dtype": choice("save_precision", FILES),
    "activation_checkpointing": (_checkpointing, _to_checkpoint),
    "adapter.type": (choice("algorithm", {"lora": "lora", "lokr": "lokr"})[0], _kind),
    "adapter.rank": (positive, _rank),
    "adapter.dropout": setting("network_dropout"),
    "adapter.rank_dropout": setting("rank_dropout"),
    "adapter.decompose_factor": setting("lokr_factor"),
    "adapter.dtype": ignored("The LoRA is trained in fp32 here"),
    "adapter.init_from_existing": (text, _start_from),
    "optimizer.type": (choice("optimizer", OPTIMIZERS)[0], _optimizer),
    "optimizer.lr": (not_negative, _rates),
    "optimizer.betas": (betas, _betas),
    "optimizer.weight_decay": setting("weight_decay"),
    "optimizer.eps": (positive, _eps),
    "model.type": ignored("Read from the loaded model"),
    "model.dtype": choice("precision", PRECISIONS),
    "model.transformer_dtype": (text, _float8),
    "model.diffusion_model_dtype": (text, _float8),
    **{f"model.{name}": (text, _model) for name in ("checkpoint_path", "transformer_path", "diffusion_model")},
    **{f"model.{name}": (not_negative, _rates) for name in ("unet_lr", "text_encoder_1_lr")},
    "model.min_snr_gamma": setting("min_snr_gamma"),
    "model.debiased_estimation_loss": setting("debiased_estimation"),
    "model.v_pred": ignored("Read from the loaded model"),
    "model.merge_adapters": (files, _applied),
    "model.timestep_sample_method": (text, _levels),
    "model.sigmoid_scale": (positive, _levels),
    "model.shift": (positive, _levels),
    "model.flux_shift": (switch, _levels),
    "model.llm_adapter_lr": ignored("Anima's text adapter is not trained here"),
    **{f"model.{name}": ignored("Read from the loaded model")
       for name in ("vae", "vae_path", "llm_path", "text_encoder_path", "diffusers_path", "ckpt_path", "clip_path",
                    "cache_text_embeddings")},
    **{name: HERE for name in ("pipeline_stages", "partition_method", "partition_split", "compile", "map_num_proc",
                               "reentrant_activation_checkpointing", "caching_batch_size", "blocks_to_swap",
                               "steps_per_print", "logging_steps", "x_axis_examples", "monitoring.",
                               "image_micro_batch_size_per_gpu", "video_clip_mode")},
    **{name: FILES_HERE for name in ("checkpoint_every_n_epochs", "checkpoint_every_n_minutes")},
    **{name: MEASURED for name in ("eval_every_n_epochs", "eval_every_n_steps", "eval_every_n_examples",
                                   "eval_before_first_step", "eval_micro_batch_size_per_gpu",
                                   "eval_gradient_accumulation_steps", "disable_block_swap_for_eval",
                                   "image_eval_micro_batch_size_per_gpu")},
}  # fmt: skip
DATA_OPTIONS: dict[str, Option] = {
    "path": setting("data_dir"),
    "num_repeats": (not_negative, _repeats),
    "resolutions": (_sizes, _resolution),
    "shuffle_tags": setting("shuffle"),
    "caption_prefix": setting("caption_prefix"),
    "mask_path": (text, _masks),
    "enable_ar_bucket": ignored("Always done here"),
    **{name: ignored("Image sizes are sorted by area and step here")
       for name in ("min_ar", "max_ar", "num_ar_buckets", "ar_buckets", "size_buckets")},
    "frame_buckets": ignored("About videos"),
    "cache_shuffle_num": ignored("Tags are shuffled anew each time here"),
    "cache_shuffle_delimiter": ignored("Tags are separated by commas here"),
}  # fmt: skip
