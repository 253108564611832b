"""The TOML files of LoRA Easy Training Scripts: ``[[subsets]]``, and groups with ``.args`` and ``.dataset_args``."""

from __future__ import annotations

from typing import Any

from lib_lora.training.importers.kohya import translate
from lib_lora.training.importers.kohya_toml import dataset
from lib_lora.training.importers.report import CANNOT_BE_READ, IGNORED, Imported, Line
from lib_lora.training.importers.values import shown

GROUPS = ("general_args", "network_args", "optimizer_args", "saving_args", "bucket_args", "noise_args", "sample_args",
          "logging_args", "extra_args", "flux_args")  # fmt: skip
RENAMED = {"warmup_ratio": "lr_warmup_steps", "batch_size": "train_batch_size"}
SCHEDULERS = {"rexannealingwarmrestarts": "rex_with_restarts", "cosineannealingwarmrestarts": "cosine_with_restarts",
              "cosine restarts": "cosine_with_restarts", "rex": "rex"}  # fmt: skip


def matches(document: dict[str, Any]) -> bool:
    """Whether one of the groups is there with arguments."""
    return any(isinstance(document.get(g), dict) and document[g].keys() & {"args", "dataset_args"} for g in GROUPS)


def read(document: dict[str, Any]) -> Imported:
    """All groups, flattened into kohya's options, then the folders."""
    options: dict[str, Any] = {}
    names: dict[str, str] = {}
    lines = [Line("train_mode", document["train_mode"], IGNORED, "LoRA")] if "train_mode" in document else []
    for group in GROUPS:
        for part in ("args", "dataset_args"):
            table = document[group].get(part, {}) if isinstance(document.get(group), dict) else {}
            if not isinstance(table, dict):
                said = f"{CANNOT_BE_READ}, {shown(table)} is no table"
                lines.append(Line(f"{group}.{part}", table, IGNORED, said))
                continue
            for key, value in table.items():
                name = RENAMED.get(key, str(key))
                options[name] = value
                names[name] = str(key)
    network = options.get("network_args")
    if isinstance(network, dict) and "algo" in network:
        options.setdefault("network_module", "lycoris.kohya")
    _schedule(options, names)
    found = translate(options, names)
    subsets = document.get("subsets")
    if isinstance(subsets, list) and subsets:
        rows = [{k: v for k, v in s.items() if k != "name"} for s in subsets if isinstance(s, dict)]
        found = found.and_then(dataset({"datasets": [{"subsets": rows}]}, defaults={}))
    return Imported(found.values, (*found.lines, *lines))


def _schedule(options: dict[str, Any], names: dict[str, str]) -> None:
    """Schedules of its own are named by module and class."""
    for key in ("lr_scheduler_type", "lr_scheduler"):
        value = options.get(key)
        short = value.rsplit(".", 1)[-1].lower() if isinstance(value, str) else ""
        if short in SCHEDULERS:
            options.pop("lr_scheduler_type", None)
            options["lr_scheduler"] = SCHEDULERS[short]
            names["lr_scheduler"] = key
