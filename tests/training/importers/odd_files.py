"""Config files as nobody would write them, from the real keys of every format: a seeded generator."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from lib_lora.training.config import GROUPS, settings
from lib_lora.training.importers import ai_toolkit, diffusion_pipe, kohya_gui, lets, lets_json, onetrainer
from lib_lora.training.importers.kohya import OPTIONS
from lib_lora.training.importers.kohya_blocks import RANKS, RATES, THRESHOLD
from lib_lora.training.importers.kohya_keys import DIRECT, IGNORED
from lib_lora.training.importers.kohya_network import ARGUMENTS

Path = tuple[Any, ...]

ODD = [
    "", None, "None", "null", True, False, "true", "False", "yes", 0, 1, -1, 8, 512, 0.5, 1e-4, "1e-4", "0,0001", "10%",
    "1,000", "1.5.2", "512,768", "512x", [512, 512], [], {}, "(0.9, 0.99)", "0.9,0.99", [0.9], ["a"], [[1]], {"a": 1},
    float("inf"), float("nan"), 10**30, -(10**30), "9" * 5000, "nan", "x" * 300, "a\x00b", "日本語", "C:\\Users\\me",
    "weight_decay=0.1 betas=0.9,0.99", ["conv_dim=4", "algo=loha"], "conv_dim= algo=", "algo=x \"dropout=0.1",
    {"weight_decay": "0.1"}, ["a=b=c"], "=", "cosine", "AdamW8bit", "Prodigy", "bf16", "float", "lycoris.kohya",
    "LORA", "EPOCH", "STEP", "[trigger] a", [{"prompt": "a"}], [{"image_dir": "a", "num_repeats": "x"}], [None, 3], 2.5,
    [{"subsets": [{"image_dir": 5}, 7]}], "2024-01-01", "\ud800", "--a b", "0x10", "1_000", "٣", "１２", "1e400",
]  # fmt: skip
UNREADABLE = [[{"a": 1}]]  # no key of any format takes it

KOHYA = [(key,) for key in (*OPTIONS, *DIRECT, *IGNORED, "network_args", "optimizer_args", "lr_scheduler_args",
                            "learning_rate", "unet_lr", "text_encoder_lr", "network_train_unet_only")]  # fmt: skip
IN_ARGUMENTS = [
    ("network_args", name)
    for name in (*ARGUMENTS, "algo", "preset", "conv_alpha", "loraplus_lr_ratio", *RATES, *RANKS, THRESHOLD)
]
IN_ARGUMENTS += [("optimizer_args", name) for name in ("weight_decay", "betas", "d_coef", "relative_step", "decouple")]
IN_ARGUMENTS += [("lr_scheduler_args", name) for name in ("gamma", "num_cycles", "min_lr_ratio", "power", "T_max")]
KEYS: dict[str, list[Path]] = {
    "kohya": [*KOHYA, *IN_ARGUMENTS, *(("some_arguments", *key) for key in KOHYA)],
    "kohya dataset": [("general", "resolution"), ("datasets", 0, "batch_size"), ("datasets", 0, "keep_tokens"),
                      ("datasets", 0, "subsets", 0, "image_dir"), ("datasets", 0, "subsets", 0, "num_repeats"),
                      ("datasets", 0, "subsets", 1, "image_dir"), ("datasets", 0, "subsets", 0, "is_reg"),
                      ("datasets", 0, "image_directory"), ("datasets", 0, "bucket_reso_steps")],
    "kohya_ss GUI": [(key,) for key in (*kohya_gui.RENAMED, *kohya_gui.NETWORK_ARGS, *kohya_gui.ZERO_MEANS_UNSET,
                                        *kohya_gui.SPECIAL, *DIRECT, "epoch", "learning_rate", "unet_lr",
                                        "noise_offset_type", "optimizer_args", "text_encoder_lr", "lr_scheduler")],
    "LoRA Easy Training Scripts": [
        *((group, part, key[0]) for group in lets.GROUPS[:4] for part in ("args", "dataset_args") for key in KOHYA),
        ("subsets", 0, "image_dir"), ("subsets", 0, "num_repeats"), ("subsets", 0, "keep_tokens"), ("train_mode",)],
    "LoRA Easy Training Scripts, first version": [(key,) for key in (*lets_json.RENAMED, "optimizer_args",
                                                                     "learning_rate", "noise_offset")],
    "OneTrainer": [tuple(key.split(".")) for key in onetrainer.OPTIONS if not key.endswith(".")],
    "ai-toolkit": [("config", "process", 0, *key.split(".")) if "datasets" not in key
                   else ("config", "process", 0, "datasets", 0, key.split(".")[1])
                   for key in ai_toolkit.OPTIONS if not key.endswith(".")],
    "diffusion-pipe": [tuple(key.split(".")) for key in diffusion_pipe.OPTIONS if not key.endswith(".")],
    "diffusion-pipe dataset": [*((key,) for key in diffusion_pipe.DATA_OPTIONS),
                               *(("directory", 0, key) for key in diffusion_pipe.DATA_OPTIONS)],
    "LoRA Workbench": [*((name,) for name in settings()), *((f.metadata["group"], n) for n, f in settings().items())],
}  # fmt: skip
CERTAIN: dict[str, list[tuple[Path, Any]]] = {  # what the format is recognised by
    "kohya": [(("network_dim",), 8)],
    "kohya dataset": [(("datasets", 0, "subsets", 0, "flip_aug"), True)],
    "kohya_ss GUI": [(("LoRA_type",), "Standard")],
    "LoRA Easy Training Scripts": [(("general_args", "args", "seed"), 3)],
    "LoRA Easy Training Scripts, first version": [(("net_dim",), 8), (("img_folder",), "a"), (("num_epochs",), 3)],
    "OneTrainer": [(("training_method",), "LORA"), (("model_type",), "STABLE_DIFFUSION_15")],
    "ai-toolkit": [(("config", "process", 0, "type"), "sd_trainer"), (("job",), "extension")],
    "diffusion-pipe": [(("steps_per_print",), 1), (("model", "type"), "sdxl"), (("optimizer", "type"), "AdamW")],
    "diffusion-pipe dataset": [(("directory", 0, "path"), "/pics")],
    "LoRA Workbench": [((GROUPS[0], "seed"), 5)],
}


def documents(count: int, seed: int) -> Iterator[tuple[str, list[tuple[Path, Any]]]]:
    """Names of formats, and places with values that a document of this format has."""
    draw = random.Random(seed)
    for _ in range(count):
        name = draw.choice(list(KEYS))
        places = draw.sample(KEYS[name], min(draw.randint(0, 12), len(KEYS[name])))
        yield name, [*((place, draw.choice(ODD)) for place in places), *CERTAIN[name]]


def built(entries: list[tuple[Path, Any]]) -> dict[str, Any]:
    """The document that has each value at its place; a table there wins over a value."""
    document: dict[Any, Any] = {}
    for place, value in entries:
        table = document
        for key in place[:-1]:
            if not isinstance(table.get(key), dict):
                table[key] = {}
            table = table[key]
        table[place[-1]] = value
    return _lists(document)


def take_out(document: Any, place: Path) -> None:
    """Take a value out of a document, and leave its table."""
    for key in place[:-1]:
        if not isinstance(document, (dict, list)) or (isinstance(document, list) and key >= len(document)):
            return
        document = document[key]
    if isinstance(document, dict):
        document.pop(place[-1], None)


def _lists(value: Any) -> Any:
    """Tables whose keys are whole numbers as the lists that they stand for."""
    if not isinstance(value, dict):
        return value
    if value and all(isinstance(key, int) for key in value):
        return [_lists(value[key]) for key in sorted(value)]
    return {key: _lists(part) for key, part in value.items()}


def as_json(document: dict[str, Any], draw: random.Random) -> str:
    text = json.dumps(document, ensure_ascii=draw.random() < 0.5, indent=draw.choice([None, 2]))
    return text if draw.random() < 0.9 else text[: draw.randrange(len(text))]


def as_toml(document: dict[str, Any], draw: random.Random) -> str:
    """TOML with what TOML does not allow: no value, NaN in other words, a path in quotes, a lone bracket."""
    odd = ["/a/b.toml", '"C:\\Users\\me"', "", "None", "[1, ", "1,5", "1e400", "9" * 5000, "'a\x00'", '"a']
    lines: list[str] = []
    for key, value in document.items():
        if isinstance(value, dict) and value and draw.random() < 0.7:
            lines += [f"[{key}]", *(f"{name} = {_toml(part, draw, odd)}" for name, part in value.items())]
        else:
            lines.insert(0, f"{key} = {_toml(value, draw, odd)}")
    return draw.choice(["\n", "\r\n"]).join(lines)


def _toml(value: Any, draw: random.Random, odd: list[str]) -> str:
    if value is None or draw.random() < 0.05:
        return draw.choice(odd)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml(v, draw, odd)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(part, draw, odd) for part in value) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def as_yaml(document: Any, draw: random.Random, indent: int = 0) -> str:
    lines = []
    pad = " " * indent
    for key, value in document.items():
        if isinstance(value, dict) and value:
            lines.append(f"{pad}{key}:\n{as_yaml(value, draw, indent + 2)}")
        else:
            odd = draw.choice(["&a", "*a", "!!python/object:os.system x", "{a: ", "2024-99-99", "- x", "\t"])
            lines.append(f"{pad}{key}: {odd if draw.random() < 0.05 else json.dumps(value)}")
    return "\n".join(lines)
