"""ai-toolkit's jobs, YAML or JSON: ``config.process[0]`` with a table for each part of the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_lora.training.config_groups.setting import CAPTIONS, IMAGES, LOSS, NETWORK, NOISE, OPTIMIZER, SCHEDULE
from lib_lora.training.importers.kohya_keys import neutral
from lib_lora.training.importers.kohya_optimizer import betas
from lib_lora.training.importers.report import IGNORED, Imported, Line, Reading
from lib_lora.training.importers.tables import Option, choice, flattened, ignored, read_table, setting
from lib_lora.training.importers.values import (
    file_name,
    is_nothing,
    not_negative,
    number,
    sides,
    switch,
    text,
)

DEFAULTS = neutral(NETWORK, OPTIMIZER, SCHEDULE, CAPTIONS, IMAGES, NOISE, LOSS) | {
    "rank": 4, "alpha": 1.0, "batch_size": 1, "unet_lr": 1e-6, "te_lr": 1e-6, "weight_decay": 0.01,
    "max_steps": 1000, "save_every_n_epochs": 0, "sample_every_n_epochs": 0,
}  # fmt: skip
OPTIMIZERS = {"adamw": "AdamW", "adam": "AdamW", "adamw8bit": "AdamW8bit", "adam8bit": "AdamW8bit", "lion": "Lion",
              "lion8bit": "Lion8bit", "prodigy": "Prodigy", "prodigy8bit": "Prodigy", "adafactor": "Adafactor",
              "dadaptation": "DAdaptAdam", "dadaptadam": "DAdaptAdam", "dadaptlion": "DAdaptLion"}  # fmt: skip
SCHEDULERS = {"constant": "constant", "constant_with_warmup": "constant_with_warmup", "linear": "linear",
              "cosine": "cosine", "cosine_with_restarts": "cosine_with_restarts", "step": "step"}  # fmt: skip
PRECISIONS = {"bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "float16": "fp16", "fp32": "as loaded",
              "float32": "as loaded", "float": "as loaded"}  # fmt: skip
FAMILY = ignored("For another family of models")
TIMESTEPS = {"sigmoid": "logit-normal", "linear": "uniform", "shift": "shift"}
THERE = ignored("About that program and its computer")


def matches(document: dict[str, Any]) -> bool:
    """Whether this is a training of AI Toolkit; it has other jobs too, such as extracting a LoRA."""
    process = _process(document)
    return "trainer" in str(process.get("type")) or bool({"train", "datasets", "network"} & process.keys())


def read(document: dict[str, Any]) -> Imported:
    """The first process of the job, with the job's name, and its first data set."""
    config = document["config"]
    process = {str(key): value for key, value in _process(document).items()}
    lines: list[Line] = []
    data = process.pop("datasets", None)
    sets = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    if len(sets) > 1:
        said = "Put these folders into one, each named by its repeats, such as 10_name, and choose that one"
        lines += [Line("datasets.folder_path", one.get("folder_path"), IGNORED, said) for one in sets]
        sets = [{key: value for key, value in sets[0].items() if key not in ("folder_path", "num_repeats")}]
    options = {**({"name": config["name"]} if "name" in config else {}), **process}
    options |= {"datasets": sets[0]} if sets else {}
    flat = flattened(options)
    found = read_table(flat, OPTIONS, DEFAULTS)
    if "job" in document:
        lines.append(Line("job", document["job"], IGNORED, "A LoRA is trained here"))
    return Imported(found.values, (*found.lines, *lines))


def _process(document: dict[str, Any]) -> dict[str, Any]:
    config = document.get("config")
    processes = config.get("process") if isinstance(config, dict) else None
    first = processes[0] if isinstance(processes, list) and processes else None
    return first if isinstance(first, dict) else {}


def _rates(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    base = given.get("train.lr", DEFAULTS["unet_lr"])
    unet = given.get("train.unet_lr", base) if given.get("train.train_unet", True) else 0.0
    te = given.get("train.text_encoder_lr", base) if given.get("train.train_text_encoder", False) else 0.0
    reading.translate(key, f"U-Net {unet:g}, text encoder {te:g}", unet_lr=unet, te_lr=te)


def _alpha(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    if key == "network.alpha" and "network.linear_alpha" in given:
        reading.ignore(key, "linear_alpha counts")
    else:
        reading.apply(key, value or float(given.get("network.linear", given.get("network.rank", 4))), "alpha")


def _kind(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Algorithm = {value}", algorithm=value)


def _optimizer(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Optimizer = {value}", optimizer=value)
    if "train.optimizer_params.weight_decay" not in given:
        reading.values["weight_decay"] = 0.01 if value.startswith("AdamW") else 0.0


def _betas(reading: Reading, key: str, value: tuple[float, ...], given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Beta 1 = {value[0]}, beta 2 = {value[1]}", beta1=value[0], beta2=value[1])


def _ema(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    decay = given.get("train.ema_config.ema_decay", 0.999) if given.get("train.ema_config.use_ema") else 0.0
    reading.translate(key, f"Moving average = {decay:g}", ema_decay=decay)


def _preserve(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    on = given.get("train.diff_output_preservation", False)
    weight = given.get("train.diff_output_preservation_multiplier", 1.0) if on else 0.0
    said = f"Preserve the base = {weight:g}"
    reading.translate(key, said, preserve_weight=weight,
                      preserve_class=given.get("train.diff_output_preservation_class", "") if on else "")  # fmt: skip


def _resolution(reading: Reading, key: str, value: list[float], given: Mapping[str, Any]) -> None:
    side = round(value[-1] / 8) * 8
    others = ", the last of several" if len(value) > 1 else ""
    reading.translate(key, f"Resolution = {side}{others}", resolution=side)


def _extension(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    reading.apply(key, value if value.startswith(".") else f".{value}", "caption_extension")


def _levels(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    if given.get("train.noise_scheduler", "ddpm") != "flowmatch":
        reading.ignore(key, "For another family of models")
    elif value == "shift":
        reading.translate(key, "Flow shift by resolution", timestep_distribution="uniform", flow_shift=0.0)
    else:
        reading.translate(key, f"Timestep distribution = {value}", timestep_distribution=value)


def _repeats(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    repeats = min(max(round(value), 1), 10000)
    reading.translate(key, f"Repeats = {repeats}", repeats=str(repeats))


def _model(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    name = file_name(value)
    reading.translate(key, f"Model = {name}, if the host has it", model=name)


def _masks(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    if key.endswith("alpha_mask"):
        reading.translate(
            key, "Masks = alpha" if value else "Not masked by it", **({"masks": "alpha"} if value else {})
        )
    else:
        reading.translate(key, "Masks of that folder", masks="files", mask_dir=value)


def _loss(reading: Reading, key: str, value: str, given: Mapping[str, Any]) -> None:
    reading.translate(key, f"Loss = {value}", loss_type=value)


def _prompt_rows(value: Any) -> list[dict[str, Any]]:
    rows = value if isinstance(value, list) else [value]
    rows = [row if isinstance(row, dict) else {"prompt": row} for row in rows if not is_nothing(row)]
    return [{**row, "prompt": text(row["prompt"])} for row in rows if not is_nothing(row.get("prompt"))]


def _prompts(reading: Reading, key: str, value: list[dict[str, Any]], given: Mapping[str, Any]) -> None:
    trigger = given.get("trigger_word", "")
    names = {"neg": "n", "width": "w", "height": "h", "sample_steps": "s", "guidance_scale": "l"}
    lines = []
    for i, row in enumerate(value):
        seed = given.get("sample.seed", 42) + (i if given.get("sample.walk_seed") else 0)
        words = {name: row.get(name, given.get(f"sample.{name}")) for name in names}
        options = [f"--{names[name]} {word}" for name, word in words.items() if not is_nothing(word)]
        prompt = row["prompt"].replace("[trigger]", trigger)
        lines.append(" ".join([*prompt.split(), *" ".join([*options, f"--d {row.get('seed', seed)}"]).split()]))
    reading.translate(key, f"{len(lines)} sample prompts", sample_prompts="\n".join(lines)[:100_000])


def _of_samples(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    reading.translate(key, "Of the sample prompts")


def _whole_seed(value: Any) -> int:
    return int(number(value))


SAMPLE: Option = (text, _of_samples)
OPTIONS: dict[str, Option] = {
    "name": setting("name"),
    "trigger_word": setting("trigger"),
    "network.type": (choice("algorithm", {"lora": "lora", "locon": "lora", "lokr": "lokr", "loha": "loha"})[0], _kind),
    "network.linear": setting("rank"),
    "network.rank": setting("rank"),
    "network.linear_alpha": (not_negative, _alpha),
    "network.alpha": (not_negative, _alpha),
    "network.conv": setting("conv_rank"),
    "network.conv_alpha": setting("conv_alpha"),
    "network.dropout": setting("network_dropout"),
    "network.lokr_full_rank": setting("lokr_full"),
    "network.lokr_factor": setting("lokr_factor"),
    "train.lr": (not_negative, _rates),
    "train.unet_lr": (not_negative, _rates),
    "train.text_encoder_lr": (not_negative, _rates),
    "train.train_unet": (switch, _rates),
    "train.train_text_encoder": (switch, _rates),
    "train.batch_size": setting("batch_size"),
    "train.steps": setting("max_steps"),
    "train.gradient_accumulation": setting("gradient_accumulation"),
    "train.gradient_accumulation_steps": setting("gradient_accumulation"),
    "train.gradient_checkpointing": setting("gradient_checkpointing"),
    "train.max_grad_norm": setting("max_grad_norm"),
    "train.optimizer": (choice("optimizer", OPTIMIZERS)[0], _optimizer),
    "train.optimizer_params.weight_decay": setting("weight_decay"),
    "train.optimizer_params.betas": (betas, _betas),
    "train.lr_scheduler": choice("schedule", SCHEDULERS),
    "train.min_snr_gamma": setting("min_snr_gamma"),
    "train.noise_offset": setting("noise_offset"),
    "train.min_denoising_steps": setting("min_timestep"),
    "train.max_denoising_steps": setting("max_timestep"),
    "train.loss_type": (choice("loss_type", {"mse": "l2", "mae": "l1", "l1": "l1", "l2": "l2"})[0], _loss),
    "train.dtype": choice("precision", PRECISIONS),
    "train.ema_config.use_ema": (switch, _ema),
    "train.ema_config.ema_decay": (not_negative, _ema),
    "train.diff_output_preservation": (switch, _preserve),
    "train.diff_output_preservation_multiplier": (not_negative, _preserve),
    "train.diff_output_preservation_class": (text, _preserve),
    "save.dtype": choice("save_precision", {**PRECISIONS, "fp32": "fp32", "float32": "fp32", "float": "fp32"}),
    "save.save_every": setting("save_every_n_steps"),
    "save.": THERE,
    "model.name_or_path": (text, _model),
    "model.is_flux": FAMILY,
    "model.arch": FAMILY,
    "model.": THERE,
    "datasets.folder_path": setting("data_dir"),
    "datasets.dataset_path": setting("data_dir"),
    "datasets.caption_ext": (text, _extension),
    "datasets.caption_dropout_rate": setting("caption_dropout"),
    "datasets.token_dropout_rate": setting("tag_dropout"),
    "datasets.shuffle_tokens": setting("shuffle"),
    "datasets.keep_tokens": setting("keep_tokens"),
    "datasets.resolution": (sides, _resolution),
    "datasets.num_repeats": (not_negative, _repeats),
    "datasets.flip_x": setting("flip"),
    "datasets.mask_path": (text, _masks),
    "datasets.alpha_mask": (switch, _masks),
    "datasets.mask_min_value": setting("unmasked_weight"),
    "datasets.cache_latents": ignored("Always done here"),
    "datasets.cache_latents_to_disk": ignored("Always done here"),
    "datasets.buckets": ignored("Always done here"),
    "datasets.control_path": ignored("Pictures that go with pictures are not read here. The result will differ"),
    "train.cache_text_embeddings": ignored("Done where captions stay the same"),
    "train.unload_text_encoder": ignored("It waits in main memory where it is not needed"),
    "train.bypass_guidance_embedding": ignored("A built-in guidance is trained at 1"),
    "sample.prompts": (_prompt_rows, _prompts),
    "sample.samples": (_prompt_rows, _prompts),
    **{f"sample.{name}": SAMPLE for name in ("neg", "width", "height", "sample_steps", "guidance_scale")},
    "sample.seed": (_whole_seed, _of_samples),
    "sample.walk_seed": (switch, _of_samples),
    "sample.sample_every": setting("sample_every_n_steps"),
    "sample.": ignored("Samples are drawn with the host's sampler"),
    "train.noise_scheduler": (text, lambda r, k, v, g: r.ignore(k, "Read from the loaded model")),
    "train.timestep_type": (choice("timestep_distribution", TIMESTEPS)[0], _levels),
    "train.xformers": ignored("The host decides that"),
    "train.sdp": ignored("The host decides that"),
    **{name: THERE for name in ("type", "device", "training_folder", "performance_log_every",
                                "logging.", "sqlite_db_path")},
}  # fmt: skip
