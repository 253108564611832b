"""kohya's network module and its arguments, LyCORIS' included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_lora.training.importers.report import IGNORED, Reading

ALGORITHMS = {
    "lora": "lora", "locon": "lora", "loha": "loha", "lokr": "lokr", "glora": "glora", "ia3": "ia3", "full": "full",
    "diag-oft": "oft", "oft": "oft", "boft": "boft", "dylora": "lora", "tlora": "lora",
}  # fmt: skip
DIFFERENT = ("dylora", "tlora")
MODULES = {"networks.lora": "lora", "networks.loha": "loha", "networks.lokr": "lokr", "networks.oft": "oft",
           "networks.dylora": "dylora", "networks.lora_fa": "lora"}  # fmt: skip
PRESETS = {"full": "attention+mlp+conv", "attn-mlp": "attention+mlp", "attn-only": "attention",
           "unet-transformer-only": "attention+mlp"}  # fmt: skip
TEXT, NUMBER, WHOLE, SWITCH = "text", "number", "whole", "switch"
ARGUMENTS = {
    "conv_dim": ("conv_rank", WHOLE), "conv_alpha": ("conv_alpha", NUMBER), "dora_wd": ("dora", SWITCH),
    "rs_lora": ("rs_lora", SWITCH), "train_norm": ("train_norm", SWITCH),
    "use_tucker": ("tucker", SWITCH), "use_cp": ("tucker", SWITCH),
    "factor": ("lokr_factor", WHOLE), "full_matrix": ("lokr_full", SWITCH), "decompose_both": ("lokr_both", SWITCH),
    "constraint": ("constraint", NUMBER), "constrain": ("constraint", NUMBER), "dropout": ("network_dropout", NUMBER),
    "rank_dropout": ("rank_dropout", NUMBER), "module_dropout": ("module_dropout", NUMBER),
    "loraplus_unet_lr_ratio": ("loraplus_ratio", NUMBER),
    "loraplus_text_encoder_lr_ratio": ("loraplus_te_ratio", NUMBER),
}  # fmt: skip


def network_module(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """The algorithm; LyCORIS names it in the arguments."""
    if str(value).startswith("lycoris"):
        algo = str(_arguments(given.get("network_args")).get("algo", "lora")).lower()
    else:
        algo = MODULES.get(str(value), "")
    if algo not in ALGORITHMS:
        reading.note(key, value, IGNORED, "This kind of network is not offered; lora stands for it")
        return
    differs = " stands for it. The result will differ" if algo in DIFFERENT else ""
    reading.translate(key, value, f"Algorithm = {ALGORITHMS[algo]}{differs}", algorithm=ALGORITHMS[algo])


def network_args(reading: Reading, key: str, value: Any, given: Mapping[str, Any]) -> None:
    """A line per argument."""
    for name, argument in _arguments(value).items():
        line = f"{key}.{name}"
        if name in ("algo", "type"):
            reading.translate(line, argument, "See the network module")
        elif name == "loraplus_lr_ratio":
            ratio = float(argument)
            reading.translate(line, argument, "LoRA+ ratio of both", loraplus_ratio=ratio, loraplus_te_ratio=ratio)
        elif name == "preset" and argument in PRESETS:
            reading.translate(line, argument, f"Layers = {PRESETS[argument]}", layers=PRESETS[argument])
        elif name == "conv_dim" and float(argument) == 0:
            reading.translate(line, argument, "No convolutions", conv_rank=0)
        elif name in ARGUMENTS:
            setting, kind = ARGUMENTS[name]
            reading.apply(line, float(argument) if kind in (WHOLE, NUMBER) else argument, setting)
        elif name == "wd_on_output":
            reading.ignore(line, argument, "DoRA is kept in the form that every host loads")
        else:
            reading.ignore(line, argument, "Not offered. The result will differ")


def _arguments(value: Any) -> dict[str, Any]:
    """``["a=1"]``, ``"a=1 b=2"`` or a table, as a dict."""
    if not value:
        return {}
    if isinstance(value, dict):
        return value
    words = value if isinstance(value, list) else str(value).split()
    return dict(str(word).partition("=")[::2] for word in words)
