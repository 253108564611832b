"""The JSON files of bmaltais' kohya_ss GUI: flat, with names of its own and numbers that may be text."""

from __future__ import annotations

import shlex
from typing import Any

from lib_lora.training.importers.kohya import translate
from lib_lora.training.importers.report import IGNORED, TRANSLATED, Imported, Line

RENAMED = {"epoch": "max_train_epochs", "max_resolution": "resolution", "optimizer": "optimizer_type",
           "lora_network_weights": "network_weights"}  # fmt: skip
KINDS = {
    "Standard": "lora", "Kohya LoCon": "lora", "LoRA-FA": "lora", "Kohya LoHa": "loha", "Kohya LoKr": "lokr",
    "Kohya DyLoRA": "dylora", "LyCORIS/LoCon": "lora", "LyCORIS/LoHa": "loha", "LyCORIS/LoKr": "lokr",
    "LyCORIS/GLoRA": "glora", "LyCORIS/iA3": "ia3", "LyCORIS/DyLoRA": "dylora", "LyCORIS/Diag-OFT": "diag-oft",
    "LyCORIS/BOFT": "boft", "LyCORIS/Native Fine-Tuning": "full",
}  # fmt: skip
NETWORK_ARGS = {
    "conv_dim": "conv_dim", "conv_alpha": "conv_alpha", "factor": "factor", "decompose_both": "decompose_both",
    "use_tucker": "use_tucker", "use_cp": "use_cp", "dora_wd": "dora_wd", "rank_dropout": "rank_dropout",
    "module_dropout": "module_dropout", "constrain": "constrain", "LyCORIS_preset": "preset",
    "train_norm": "train_norm",
    "loraplus_lr_ratio": "loraplus_lr_ratio", "loraplus_unet_lr_ratio": "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio": "loraplus_text_encoder_lr_ratio",
}  # fmt: skip
CONVOLUTIONAL = ("Kohya LoCon", "LyCORIS/")
NOISE_KEYS = {
    "Original": ("multires_noise_iterations", "multires_noise_discount"),
    "Multires": ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale"),
}
ZERO_MEANS_UNSET = (
    "max_train_steps", "min_snr_gamma", "noise_offset", "ip_noise_gamma", "lr_warmup_steps", "max_train_epochs", "vae",
    "adaptive_noise_scale", "multires_noise_iterations", "v_pred_like_loss", "stop_text_encoder_training_pct",
    "stop_text_encoder_training", "scale_weight_norms", "network_dropout", "seed",
)  # fmt: skip
OF_THE_GUI = "A field of the other program's page that changes nothing in a LoRA of this kind"


def matches(document: dict[str, Any]) -> bool:
    return "LoRA_type" in document


def read(document: dict[str, Any]) -> Imported:
    """Settings of the GUI; 0 and "" mean that an option is not given, the warm-up is a percentage."""
    kind = str(document["LoRA_type"])
    unused = NOISE_KEYS.get(document.get("noise_offset_type", ""), ())
    options: dict[str, Any] = {}
    names: dict[str, str] = {}
    arguments: dict[str, Any] = {}
    lines: list[Line] = []
    for key, value in document.items():
        name = RENAMED.get(key, key)
        if key in NETWORK_ARGS:
            _argument(key, value, kind, arguments, lines)
        elif key in unused:
            lines.append(Line(key, value, IGNORED, f"Does not count with {document['noise_offset_type']} noise"))
        elif value in ("", None):
            lines.append(Line(key, value, IGNORED, "Empty"))
        elif name in ZERO_MEANS_UNSET and _is_zero(value):
            lines.append(Line(key, value, IGNORED, "0 means that it is not set"))
        elif key in SPECIAL:
            SPECIAL[key](key, value, options, names, lines)
        elif name in document and key != name and not _is_zero(document[name] or 0):
            lines.append(Line(key, value, IGNORED, f"{name} counts"))
        elif _is_page_field(key):
            lines.append(Line(key, value, IGNORED, OF_THE_GUI))
        else:
            options[name], names[name] = value, key
    options["network_module"], names["network_module"] = "lycoris.kohya", "LoRA_type"
    options["network_args"] = {"algo": KINDS.get(kind, kind), **arguments}
    names.update({f"network_args.{name}": key for key, name in NETWORK_ARGS.items() if key in document})
    names["network_args.algo"] = "LoRA_type"
    options.pop("LoRA_type", None)
    found = translate(options, names)
    return Imported(found.values, (*found.lines, *lines))


def _argument(key: str, value: Any, kind: str, arguments: dict[str, Any], lines: list[Line]) -> None:
    if key.startswith("conv_") and not kind.startswith(CONVOLUTIONAL):
        lines.append(Line(key, value, IGNORED, f"{kind} has no convolutions"))
    elif value in ("", None, False) or (_is_zero(value) and key != "conv_dim"):
        lines.append(Line(key, value, IGNORED, "Not set"))
    else:
        arguments[NETWORK_ARGS[key]] = value


def _is_zero(value: Any) -> bool:
    try:
        return float(value) == 0
    except (TypeError, ValueError):
        return False


def _warmup(key: str, value: Any, options: dict, names: dict, lines: list[Line]) -> None:
    if _is_zero(value) or value == "":
        lines.append(Line(key, value, IGNORED, "0 means that it is not set"))
    else:
        options.setdefault("lr_warmup_steps", float(value) / 100)
        names.setdefault("lr_warmup_steps", key)


def _attention(key: str, value: Any, options: dict, names: dict, lines: list[Line]) -> None:
    lines.append(Line(key, value, IGNORED, "The host decides that"))


def _own_arguments(key: str, value: Any, options: dict, names: dict, lines: list[Line]) -> None:
    """Options of kohya's command line, as one text."""
    found = _command_line(str(value))
    options.update(found)
    names.update({name: f"{key}.{name}" for name in found})
    lines.append(Line(key, value, TRANSLATED if found else IGNORED, "See its parts" if found else "Empty"))


def _command_line(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    name = ""
    for word in shlex.split(text):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            found[name] = value or True
        elif name:
            found[name] = word
    return found


SPECIAL = {"lr_warmup": _warmup, "xformers": _attention, "additional_parameters": _own_arguments}
PAGE_FIELDS = {
    "block_alphas", "block_dims", "block_lr_zero_threshold", "bypass_mode", "caption_metadata_filename",
    "conv_block_alphas", "conv_block_dims", "dataset_config", "down_lr_weight", "mid_lr_weight", "up_lr_weight",
    "latent_metadata_filename", "model_list", "rescaled", "train_on_input", "train_lora_ggpo", "unit",
    "use_scalar", "in_json", "stop_text_encoder_training_pct", "use_wandb", "learning_rate_te", "learning_rate_te1",
    "learning_rate_te2", "img_attn_dim", "img_mlp_dim", "img_mod_dim", "in_dims", "single_dim", "single_mod_dim",
    "save_as_bool", "txt_attn_dim", "txt_mlp_dim", "txt_mod_dim", "train_blocks", "train_double_block_indices",
    "train_single_block_indices", "split_mode", "split_qkv", "ggpo_beta", "ggpo_sigma",
}  # fmt: skip
PAGE_PREFIXES = ("flux1_", "sdxl_", "sd3_", "lumina_", "huggingface_", "dynamo_", "text_encoder_batch")


def _is_page_field(key: str) -> bool:
    return key in PAGE_FIELDS or key.startswith(PAGE_PREFIXES)
