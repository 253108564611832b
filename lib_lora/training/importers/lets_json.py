"""The JSON files of the first LoRA Easy Training Scripts: flat, with names of its own; null where nothing is given."""

from __future__ import annotations

from typing import Any

from lib_lora.training.importers.kohya import translate
from lib_lora.training.importers.report import IGNORED, Imported, Line

RENAMED = {
    "base_model": "pretrained_model_name_or_path", "img_folder": "train_data_dir", "reg_img_folder": "reg_data_dir",
    "output_folder": "output_dir", "change_output_name": "output_name", "shuffle_captions": "shuffle_caption",
    "train_resolution": "resolution", "buckets": "enable_bucket", "min_bucket_resolution": "min_bucket_reso",
    "max_bucket_resolution": "max_bucket_reso", "batch_size": "train_batch_size",
    "max_clip_token_length": "max_token_length", "max_steps": "max_train_steps", "num_epochs": "epoch",
    "num_workers": "max_data_loader_n_workers", "persistent_workers": "persistent_data_loader_workers",
    "test_seed": "seed", "gradient_acc_steps": "gradient_accumulation_steps", "log_dir": "logging_dir",
    "scheduler": "lr_scheduler", "cosine_restarts": "lr_scheduler_num_cycles", "scheduler_power": "lr_scheduler_power",
    "warmup_lr_ratio": "lr_warmup_steps", "no_meta": "no_metadata", "save_as": "save_model_as",
    "lora_model_for_resume": "network_weights", "net_dim": "network_dim", "alpha": "network_alpha",
    "unet_only": "network_train_unet_only", "text_only": "network_train_text_encoder_only",
}  # fmt: skip
OWN = {"base_model", "img_folder", "net_dim", "train_resolution", "num_epochs", "test_seed", "gradient_acc_steps",
       "max_clip_token_length", "warmup_lr_ratio", "cosine_restarts", "unet_only", "min_bucket_resolution"}  # fmt: skip
OF_THE_SCRIPT = {"save_json_folder", "load_json_path", "multi_run_folder", "json_load_skip_list", "save_json_only",
                 "tag_occurrence_txt_file", "sort_tag_occurrence_alphabetically", "use_8bit_adam", "use_lion",
                 "list_of_json_paths"}  # fmt: skip


def matches(document: dict[str, Any]) -> bool:
    """Whether at least three of the options that only these files have are there."""
    return len(OWN & document.keys()) >= 3


def read(document: dict[str, Any]) -> Imported:
    """The options under kohya's names; a maximum of steps counts before the epochs."""
    options: dict[str, Any] = {}
    names: dict[str, str] = {}
    lines: list[Line] = []
    for key, value in document.items():
        name = RENAMED.get(key, key)
        if key in OF_THE_SCRIPT:
            lines.append(Line(key, value, IGNORED, "Changes nothing in the result"))
        else:
            options[name], names[name] = value, key
    module = options.get("network_module")
    if isinstance(module, str):  # its own copies of kohya's and LyCORIS' modules
        options["network_module"] = module.removeprefix("sd_scripts.")
    found = translate(options, names)
    return Imported(found.values, (*found.lines, *lines))
