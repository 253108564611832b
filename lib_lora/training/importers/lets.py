"""The TOML files of LoRA Easy Training Scripts: ``[[subsets]]``, and groups with ``.args`` and ``.dataset_args``."""

from __future__ import annotations

from typing import Any

from lib_lora.training.importers.kohya import translate
from lib_lora.training.importers.kohya_toml import dataset
from lib_lora.training.importers.report import IGNORED, Imported, Line

GROUPS = ("general_args", "network_args", "optimizer_args", "saving_args", "bucket_args", "noise_args", "sample_args",
          "logging_args", "extra_args", "flux_args")  # fmt: skip
RENAMED = {"warmup_ratio": "lr_warmup_steps", "batch_size": "train_batch_size"}
SCHEDULERS = {"rexannealingwarmrestarts": "rex_with_restarts", "cosineannealingwarmrestarts": "cosine_with_restarts",
              "cosine restarts": "cosine_with_restarts", "rex": "rex"}  # fmt: skip


def matches(document: dict[str, Any]) -> bool:
    return any(isinstance(document.get(group), dict) and "args" in document[group] for group in GROUPS)


def read(document: dict[str, Any]) -> Imported:
    """All groups, flattened into kohya's options, then the folders."""
    options: dict[str, Any] = {}
    names: dict[str, str] = {}
    lines = [Line("train_mode", document["train_mode"], IGNORED, "LoRA")] if "train_mode" in document else []
    for group in GROUPS:
        for part in ("args", "dataset_args"):
            for key, value in document.get(group, {}).get(part, {}).items():
                name = RENAMED.get(key, key)
                options[name] = value
                names[name] = key
    if "algo" in (options.get("network_args") or {}):
        options.setdefault("network_module", "lycoris.kohya")
    _schedule(options, names)
    found = translate(options, names)
    values, lines = dict(found.values), [*found.lines, *lines]
    if document.get("subsets"):
        subsets = [{k: v for k, v in s.items() if k != "name"} for s in document["subsets"]]
        folders = dataset({"datasets": [{"subsets": subsets}]}, defaults={})
        values.update(folders.values)
        lines += folders.lines
    return Imported(values, tuple(lines))


def _schedule(options: dict[str, Any], names: dict[str, str]) -> None:
    """Schedules of its own are named by module and class."""
    for key in ("lr_scheduler_type", "lr_scheduler"):
        short = str(options.get(key, "")).rsplit(".", 1)[-1].lower()
        if short in SCHEDULERS:
            options.pop("lr_scheduler_type", None)
            options["lr_scheduler"] = SCHEDULERS[short]
            names["lr_scheduler"] = key
