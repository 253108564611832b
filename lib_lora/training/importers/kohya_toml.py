"""kohya's TOML files: options in tables of any name, and dataset files with ``[[datasets]]`` and ``subsets``.

The hollowstrawberry and Linaqruf notebooks write the same two files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_lora.training.importers.kohya import translate
from lib_lora.training.importers.kohya_keys import DEFAULTS
from lib_lora.training.importers.report import IGNORED, Imported, Line

RENAMED = {"batch_size": "train_batch_size", "image_dir": "train_data_dir"}
DATA_DEFAULTS = {n: DEFAULTS[n] for n in ("batch_size", "bucket_min", "bucket_max", "shuffle", "keep_tokens")}
PATHS = ("image_dir", "class_tokens", "metadata_file", "custom_attributes", "cache_info", "network_multiplier")


def matches(document: dict[str, Any]) -> bool:
    """Any table is one of kohya's, if no other format claims it."""
    return True


def read(document: dict[str, Any]) -> Imported:
    """Options of every table, whatever its name; of two of the same name the later one counts, as in kohya."""
    if "datasets" in document:
        return dataset(document)
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat.update(value if isinstance(value, dict) else {key: value})
    return translate(flat)


def dataset(document: dict[str, Any], defaults: Mapping[str, Any] = DATA_DEFAULTS) -> Imported:
    """A dataset file: subset before dataset before ``[general]``; here one folder is read, the parent of its subsets.

    Settings come from the first subset; where another one differs, the report says so.
    """
    datasets = document["datasets"]
    subsets = [(d, s) for d in datasets for s in d.get("subsets", [])] or [(datasets[0], {})]
    general = document.get("general", {})
    every = [{**general, **{k: v for k, v in d.items() if k != "subsets"}, **s} for d, s in subsets]
    rows = [row for row in every if not row.get("is_reg")] or every
    regularisation = [row for row in every if row not in rows]
    first = rows[0]
    lines = [
        Line(f"subsets[{i}].{key}", row[key], IGNORED, f"All subsets are read with the first one's, {first.get(key)!r}")
        for i, row in enumerate(rows)
        for key in row
        if key not in ("image_dir", "class_tokens", "num_repeats") and row[key] != first.get(key)
    ]
    folders = [str(row["image_dir"]) for row in rows if "image_dir" in row]
    options = {RENAMED.get(key, key): value for key, value in first.items() if key not in PATHS}
    options.pop("is_reg", None)
    if len(regularisation) == 1:
        options["reg_data_dir"] = regularisation[0].get("image_dir", "")
    elif regularisation:
        text = "Put the regularisation folders into one and choose that"
        lines += [Line("is_reg", row.get("image_dir"), IGNORED, text) for row in regularisation]
    if len(folders) == 1:
        options["train_data_dir"] = folders[0]
    elif folders:
        options.pop("num_repeats", None)
        text = "Put these folders into one, each named by its repeats, such as 10_name, and choose that one"
        lines += [Line("image_dir", f"{row.get('num_repeats', 1)} × {row['image_dir']}", IGNORED, text) for row in rows]
    lines += [Line(key, first[key], IGNORED, "Given by the folder's name here") for key in PATHS[1:] if key in first]
    names = {ours: theirs for theirs, ours in RENAMED.items()}
    found = translate(options, names, defaults)
    return Imported(found.values, (*found.lines, *lines))
