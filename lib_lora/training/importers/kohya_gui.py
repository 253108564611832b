"""The JSON files of bmaltais' kohya_ss GUI: flat, with names of its own and numbers that may be text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lib_lora.training.importers.command import options_of
from lib_lora.training.importers.kohya import is_known, reader_of, translate
from lib_lora.training.importers.kohya_keys import DEFAULTS
from lib_lora.training.importers.report import CANNOT_BE_READ, IGNORED, TRANSLATED, Imported, Line
from lib_lora.training.importers.values import Unreadable, is_nothing, number, text

OF_EVERY_TAB = {"max_resolution", "lr_warmup", "model_list", "save_as_bool", "stop_text_encoder_training_pct",
                "use_wandb"}  # fmt: skip
RENAMED = {"max_resolution": "resolution", "optimizer": "optimizer_type",
           "lora_network_weights": "network_weights"}  # fmt: skip
MODULES = {
    "Standard": "networks.lora", "Kohya LoCon": "networks.lora", "LoRA-FA": "networks.lora_fa",
    "Kohya LoHa": "networks.loha", "Kohya LoKr": "networks.lokr", "Kohya DyLoRA": "networks.dylora",
    "Flux1": "networks.lora_flux", "SD3": "networks.lora_sd3", "Lumina": "networks.lora_lumina",
    "Anima": "networks.lora_anima",
}  # fmt: skip
KINDS = {
    "LyCORIS/LoCon": "lora", "LyCORIS/LoHa": "loha", "LyCORIS/LoKr": "lokr",
    "LyCORIS/GLoRA": "glora", "LyCORIS/iA3": "ia3", "LyCORIS/DyLoRA": "dylora", "LyCORIS/Diag-OFT": "diag-oft",
    "LyCORIS/BOFT": "boft", "LyCORIS/Native Fine-Tuning": "full",
}  # fmt: skip
NETWORK_ARGS = {
    "conv_dim": "conv_dim", "conv_alpha": "conv_alpha", "factor": "factor", "decompose_both": "decompose_both",
    "use_tucker": "use_tucker", "use_cp": "use_cp", "dora_wd": "dora_wd", "rank_dropout": "rank_dropout",
    "module_dropout": "module_dropout", "constrain": "constrain", "LyCORIS_preset": "preset",
    "train_norm": "train_norm",
    "down_lr_weight": "down_lr_weight", "mid_lr_weight": "mid_lr_weight", "up_lr_weight": "up_lr_weight",
    "block_lr_zero_threshold": "block_lr_zero_threshold", "block_dims": "block_dims", "block_alphas": "block_alphas",
    "conv_block_dims": "conv_block_dims", "conv_block_alphas": "conv_block_alphas",
    "loraplus_lr_ratio": "loraplus_lr_ratio", "loraplus_unet_lr_ratio": "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio": "loraplus_text_encoder_lr_ratio",
}  # fmt: skip
ZERO_COUNTS = ("conv_dim", "mid_lr_weight")
CONVOLUTIONAL = ("Kohya LoCon", "LyCORIS/")
NOISE_KEYS = {
    "Original": ("multires_noise_iterations", "multires_noise_discount"),
    "Multires": ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale"),
}
ZERO_MEANS_UNSET = (
    "max_train_steps", "min_snr_gamma", "noise_offset", "ip_noise_gamma", "lr_warmup_steps", "max_train_epochs", "vae",
    "adaptive_noise_scale", "multires_noise_iterations", "v_pred_like_loss", "stop_text_encoder_training_pct",
    "stop_text_encoder_training", "scale_weight_norms", "network_dropout", "seed", "max_timestep", "clip_skip",
    "sample_every_n_epochs", "sample_every_n_steps", "save_every_n_epochs", "save_every_n_steps",
)  # fmt: skip
# The page has the fields of every family at once; its command line takes those of the chosen one
OWN_FIELDS = {"Lumina": "lumina_", "Anima": "anima_"}  # in the place of Flux.1's
LEVELS = ("discrete_flow_shift", "timestep_sampling", "sigmoid_scale")
OF_SD3 = ("weighting_scheme", "logit_mean", "logit_std", "mode_scale")
OF_THE_GUI = "A field of the other program's page that changes nothing in a LoRA of this kind"


@dataclass
class _Page:
    """What has been found on the page so far."""

    document: dict[str, Any]
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def ignore(self, key: str, reason: str) -> None:
        self.lines.append(Line(key, self.document[key], IGNORED, reason))


def matches(document: dict[str, Any]) -> bool:
    """Whether this was saved by the GUI; its other tabs and its first versions do not name a kind of LoRA."""
    return "LoRA_type" in document or len(OF_EVERY_TAB & document.keys()) > 1


def read(document: dict[str, Any]) -> Imported:
    """Settings of the GUI; 0 and "" mean that an option is not given, the warm-up is a percentage."""
    said = document.get("LoRA_type")
    kind = said if isinstance(said, str) else "Standard"
    noise = document.get("noise_offset_type", "")
    unused = NOISE_KEYS.get(noise, ()) if isinstance(noise, str) else ()
    page = _Page(document, kind)
    for key, value in document.items():
        name = _name(key, kind)
        if _is_of_another(key, kind):
            page.ignore(key, "For another family of models")
        elif key in NETWORK_ARGS:
            _argument(page, key, value)
        elif key in unused:
            page.ignore(key, f"Does not count with {noise} noise")
        elif is_nothing(value):
            page.ignore(key, "Empty")
        elif name in ZERO_MEANS_UNSET and _is_zero(value):
            page.ignore(key, "0 means that it is not set")
        elif key in SPECIAL:
            SPECIAL[key](page, key, value)
        elif key == "epoch" and _steps_are_given(document):
            page.ignore(key, "max_train_steps counts")
        elif key in ("unet_lr", "text_encoder_lr") and _is_zero(value) and _no_rate(document):
            page.ignore(key, "learning_rate counts")
        elif _is_page_field(name):
            page.ignore(key, OF_THE_GUI)
        else:
            _option(page, name, key, value)
    page.options.pop("LoRA_type", None)
    if said is not None:
        page.options["network_module"], page.names["network_module"] = MODULES.get(kind, "lycoris.kohya"), "LoRA_type"
    algorithm = {} if kind in MODULES else {"algo": KINDS.get(kind, kind)}
    given = page.options.pop("network_args", [])  # of the additional parameters, which come last on the command line
    own = {**algorithm, **page.arguments}
    page.options["network_args"] = [*([own] if own else []), *(given if isinstance(given, list) else [given])]
    page.names.update({f"network_args.{name}": key for key, name in NETWORK_ARGS.items() if key in document})
    page.names["network_args.algo"] = "LoRA_type"
    found = translate(page.options, page.names, {**DEFAULTS, "max_steps": 0})
    return Imported(found.values, (*found.lines, *page.lines))


def _option(page: _Page, name: str, key: str, value: Any) -> None:
    """A field by kohya's ``name``; of two that say the same counts the first, but for one that cannot be read."""
    if name in page.options:
        try:
            reader_of(name)(page.options[name])
            return
        except Unreadable as error:
            page.ignore(page.names[name], f"{CANNOT_BE_READ}, {error}")
    page.options[name], page.names[name] = value, key


def _name(key: str, kind: str) -> str:
    """kohya's name of a field."""
    own = OWN_FIELDS.get(kind, "")
    bare = key.removeprefix(own)
    return bare if own and bare != key and bare in LEVELS else RENAMED.get(key, key)


def _is_of_another(key: str, kind: str) -> bool:
    """Whether a field says noise levels of a family that is not trained."""
    if key in LEVELS:
        return kind != "Flux1" or key == "sigmoid_scale"
    return key in OF_SD3 and kind != "SD3"


def _argument(page: _Page, key: str, value: Any) -> None:
    if key.startswith("conv_") and not page.kind.startswith(CONVOLUTIONAL):
        page.ignore(key, f"{page.kind} has no convolutions")
    elif is_nothing(value) or value is False or (_is_zero(value) and key not in ZERO_COUNTS):
        page.ignore(key, "Not set")
    else:
        page.arguments[NETWORK_ARGS[key]] = value


def _is_zero(value: Any) -> bool:
    try:
        return value is False or number(value) == 0
    except Unreadable:
        return False


def _is_number(value: Any) -> bool:
    try:
        return number(value) > 0
    except Unreadable:
        return False


def _steps_are_given(document: dict[str, Any]) -> bool:
    return _is_number(document.get("max_train_steps")) and not _is_number(document.get("max_train_epochs"))


def _no_rate(document: dict[str, Any]) -> bool:
    both = (document.get("unet_lr", 0), document.get("text_encoder_lr", 0))
    return all(_is_zero(rate) or is_nothing(rate) for rate in both) and _is_number(document.get("learning_rate"))


def _warmup(page: _Page, key: str, value: Any) -> None:
    if _is_zero(value):
        page.ignore(key, "0 means that it is not set")
        return
    if _is_number(page.document.get("lr_warmup_steps")):
        page.ignore(key, "lr_warmup_steps counts")
        return
    try:
        percent = number(value)
    except Unreadable as error:
        page.ignore(key, f"{CANNOT_BE_READ}, {error}")
        return
    share = percent if isinstance(value, str) and "%" in value else percent / 100
    page.options["lr_warmup_steps"], page.names["lr_warmup_steps"] = share, key


def _attention(page: _Page, key: str, value: Any) -> None:
    page.ignore(key, "The host decides that")


def _own_arguments(page: _Page, key: str, value: Any) -> None:
    """Options of kohya's command line, as one text."""
    try:
        found = options_of(text(value))
    except (Unreadable, ValueError) as error:  # ValueError: a quote that is not closed
        page.ignore(key, f"{CANNOT_BE_READ}, {error}")
        return
    page.options.update(found)
    page.names.update({name: f"{key}.{name}" for name in found})
    page.lines.append(Line(key, value, TRANSLATED if found else IGNORED, "See its parts" if found else "Empty"))


SPECIAL: dict[str, Callable[[_Page, str, Any], None]] = {
    "lr_warmup": _warmup, "xformers": _attention, "additional_parameters": _own_arguments,
}  # fmt: skip
PAGE_FIELDS = {
    "bypass_mode", "caption_metadata_filename",
    "latent_metadata_filename", "model_list", "rescaled", "train_on_input", "train_lora_ggpo", "unit",
    "use_scalar", "in_json", "stop_text_encoder_training_pct", "use_wandb", "learning_rate_te", "learning_rate_te1",
    "learning_rate_te2", "img_attn_dim", "img_mlp_dim", "img_mod_dim", "in_dims", "single_dim", "single_mod_dim",
    "save_as_bool", "txt_attn_dim", "txt_mlp_dim", "txt_mod_dim", "train_blocks", "train_double_block_indices",
    "train_single_block_indices", "split_mode", "split_qkv", "ggpo_beta", "ggpo_sigma",
}  # fmt: skip
PAGE_PREFIXES = ("flux1_", "sdxl_", "sd3_", "lumina_", "anima_", "hunyuan_", "huggingface_", "dynamo_",
                 "text_encoder_batch")  # fmt: skip


def _is_page_field(key: str) -> bool:
    return not is_known(key) and (key in PAGE_FIELDS or key.startswith(PAGE_PREFIXES))
