"""kohya's network module and its arguments, LyCORIS' included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lib_lora.training.config import settings
from lib_lora.training.importers import kohya_blocks
from lib_lora.training.importers.report import IGNORED, Reading
from lib_lora.training.importers.values import number, of_setting

ALGORITHMS = {
    "lora": "lora", "locon": "lora", "loha": "loha", "lokr": "lokr", "glora": "glora", "ia3": "ia3", "full": "full",
    "diag-oft": "oft", "oft": "oft", "boft": "boft", "dylora": "lora", "tlora": "lora",
}  # fmt: skip
DIFFERENT = ("dylora", "tlora")
MODULES = {"networks.lora": "lora", "networks.loha": "loha", "networks.lokr": "lokr", "networks.oft": "oft",
           "networks.dylora": "dylora", "networks.lora_fa": "lora"}  # fmt: skip
PRESETS = {"full": "attention+mlp+conv", "attn-mlp": "attention+mlp", "attn-only": "attention",
           "unet-transformer-only": "attention+mlp"}  # fmt: skip
ARGUMENTS = {
    "conv_dim": "conv_rank", "dora_wd": "dora", "rs_lora": "rs_lora", "rank_stabilized": "rs_lora",
    "train_norm": "train_norm", "use_tucker": "tucker", "use_cp": "tucker", "factor": "lokr_factor",
    "full_matrix": "lokr_full", "decompose_both": "lokr_both", "constraint": "constraint", "constrain": "constraint",
    "dropout": "network_dropout", "rank_dropout": "rank_dropout", "module_dropout": "module_dropout",
    "loraplus_unet_lr_ratio": "loraplus_ratio", "loraplus_text_encoder_lr_ratio": "loraplus_te_ratio",
}  # fmt: skip
PREFIX = "network_args."
# an argument of kohya's or LyCORIS' -> what reads it
READERS: dict[str, Callable[[Any], Any]] = {
    argument: of_setting(settings()[setting]) for argument, setting in ARGUMENTS.items()
} | {
    "conv_alpha": of_setting(settings()["conv_alpha"]),
    **dict.fromkeys(kohya_blocks.RATES, kohya_blocks.rates),
    **dict.fromkeys(kohya_blocks.RANKS, kohya_blocks.dims),
    kohya_blocks.THRESHOLD: number,
    "loraplus_lr_ratio": of_setting(settings()["loraplus_ratio"]),
}


def algorithm_of(given: Mapping[str, Any]) -> str:
    """kohya's or LyCORIS' name of the algorithm; "" where it is not known."""
    module = str(given.get("network_module", "networks.lora"))
    if module.startswith("lycoris"):
        return str(given.get(f"{PREFIX}algo", "lora")).lower()
    if module.startswith("networks.lora_"):  # musubi-tuner has one for each family of models
        return "lora"
    return MODULES.get(module, "")


def network_module(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """The algorithm; LyCORIS names it in the arguments."""
    algo = algorithm_of(given)
    if algo not in ALGORITHMS:
        reading.note(key, IGNORED, "This kind of network is not offered; lora stands for it")
        return
    differs = " stands for it. The result will differ" if algo in DIFFERENT else ""
    reading.translate(key, f"Algorithm = {ALGORITHMS[algo]}{differs}", algorithm=ALGORITHMS[algo])
    if str(value).startswith("lycoris"):
        _lycoris_convolutions(reading, given)


def _lycoris_convolutions(reading: Reading, given: Mapping[str, Any]) -> None:
    """LyCORIS adapts convolutions where nothing is said, with the rank and alpha of the other layers."""
    if f"{PREFIX}conv_dim" not in given and given.get(f"{PREFIX}preset", "full") == "full":
        reading.values["conv_rank"] = min(given.get("network_dim", 4), 512)
    if f"{PREFIX}conv_alpha" not in given:
        reading.values["conv_alpha"] = min(given.get("network_alpha", 1.0) or float(given.get("network_dim", 4)), 512.0)


def rank(reading: Reading, key: str, value: int, given: Mapping[str, Any]) -> None:
    """The rank; for a LoKr, one above 512 asks for full matrices."""
    if value > 512 and algorithm_of(given) == "lokr":  # LyCORIS' way of asking for it: above every layer's width
        reading.translate(key, "A LoKr whose second factor is not low-rank", lokr_full=True)
    else:
        reading.apply(key, value, "rank")


def alpha(reading: Reading, key: str, value: float, given: Mapping[str, Any]) -> None:
    """The alpha; 0 means the rank."""
    if value == 0:
        whole = given.get("network_dim", 4)
        reading.translate(key, f"0 means the rank: Alpha = {whole}", alpha=float(whole))
    else:
        reading.apply(key, value, "alpha")


def timed_ranks(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """T-LoRA, as offshoots of kohya's trainer spell it: a switch, the least rank (1), and an exponent (1)."""
    if key == "alpha_rank_scale" and value != 1 and given.get("use_timestep_mask"):
        reading.ignore(key, "Ranks fall evenly with the noise here. The result will differ")
    elif key != "use_timestep_mask" or not value:
        reading.translate(key, "See use_timestep_mask" if key != "use_timestep_mask" else "Off")
    else:
        least = min(max(1, given.get("min_rank", 1)), given.get("network_dim", 4))
        reading.translate(key, f"T-LoRA = {least}", tlora_rank=least)


def argument(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """One of the network's arguments; its reader has been at it."""
    name = key.removeprefix(PREFIX)
    if name in ("algo", "type"):
        reading.translate(key, "See the network module")
    elif name == "loraplus_lr_ratio":
        reading.translate(key, "LoRA+ ratio of both", loraplus_ratio=value, loraplus_te_ratio=value)
    elif name == "preset" and value in PRESETS:
        reading.translate(key, f"Layers = {PRESETS[value]}", layers=PRESETS[value])
    elif name == "conv_alpha" and value == 0:
        whole = given.get(f"{PREFIX}conv_dim", 1)
        reading.translate(key, f"0 means the rank: Convolution alpha = {whole}", conv_alpha=float(whole))
    elif name == "conv_alpha":
        reading.apply(key, value, "conv_alpha")
    elif name in ARGUMENTS:
        reading.apply(key, value, ARGUMENTS[name])
    elif name in kohya_blocks.RATES:
        kohya_blocks.block_rates(reading, key, value, given)
    elif name in kohya_blocks.RANKS:
        kohya_blocks.block_ranks(reading, key, value, given)
    elif name == kohya_blocks.THRESHOLD:
        reading.translate(key, "Rates of blocks up to this are 0")
    elif name == "wd_on_output":
        reading.ignore(key, "DoRA is kept in the form that every host loads")
    else:
        reading.ignore(key, "Not offered. The result will differ")
