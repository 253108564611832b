"""kohya's TOML files: options in tables of any name, and dataset files with ``[[datasets]]`` and ``subsets``.

The hollowstrawberry and Linaqruf notebooks write the same two files, musubi-tuner writes its own in their manner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_lora.training.importers.kohya import is_known, translate
from lib_lora.training.importers.kohya_keys import COMMON, DATA_DEFAULTS, OF_THE_COMPUTER
from lib_lora.training.importers.report import CANNOT_BE_READ, IGNORED, Imported, Line
from lib_lora.training.importers.values import Unreadable, is_nothing, shown, text

RENAMED = {"batch_size": "train_batch_size", "image_dir": "train_data_dir", "image_directory": "train_data_dir"}
FOLDERS = ("image_dir", "image_directory")
BY_NAME = ("class_tokens", "metadata_file", "cache_info", "network_multiplier", "cache_directory")


def matches(document: dict[str, Any]) -> bool:
    """Whether any option is one that only kohya's trainer has, or at least half of them are its, about training."""
    keys = set(_flat(document)) if not is_dataset(document) else {"datasets"}
    known = {key for key in keys if is_known(key)}
    of_training = {key for key in known if key not in OF_THE_COMPUTER}
    return keys == {"datasets"} or bool(of_training - COMMON) or 0 < len(keys) <= 2 * len(of_training)


def read(document: dict[str, Any]) -> Imported:
    """Options of every table, whatever its name; of two of the same name the later one counts, as in kohya."""
    return dataset(document) if is_dataset(document) else translate(_flat(document))


def dataset(document: Mapping[str, Any], defaults: Mapping[str, Any] = DATA_DEFAULTS) -> Imported:
    """A dataset file: subset before dataset before ``[general]``; here one folder is read, the parent of its subsets.

    Settings come from the first subset; where another one differs, the report says so.
    """
    rows, regularisation = _rows(document)
    first = rows[0]
    own = (*FOLDERS, "class_tokens", "num_repeats", "cache_directory")  # of each folder
    lines = [
        Line(f"subsets[{i}].{key}", row[key], IGNORED, f"All are read with the first one's, {shown(first.get(key))}")
        for i, row in enumerate(rows)
        for key in row
        if key not in own and row[key] != first.get(key)
    ]
    options = {RENAMED.get(key, key): value for key, value in first.items() if key not in BY_NAME}
    for key in ("is_reg", "train_data_dir"):
        options.pop(key, None)
    folders = _folders(rows, lines)
    of_regularisation = _folders(regularisation, lines)
    if len(of_regularisation) == 1:
        options["reg_data_dir"] = of_regularisation[0][1]
    elif of_regularisation:
        said = "Put the regularisation folders into one and choose that"
        lines += [Line("is_reg", folder, IGNORED, said) for _, folder in of_regularisation]
    if len(folders) == 1:
        options["train_data_dir"] = folders[0][1]
    elif folders:
        options.pop("num_repeats", None)
        said = "Put these folders into one, each named by its repeats, such as 10_name, and choose that one"
        lines += [
            Line("image_dir", f"{shown(row.get('num_repeats', 1))} × {folder}", IGNORED, said)
            for row, folder in folders
        ]
    lines += [Line(key, first[key], IGNORED, "Given by the folder's name here") for key in BY_NAME if key in first]
    names = {ours: theirs for theirs, ours in RENAMED.items() if any(theirs in row for row in rows)}
    found = translate(options, names, defaults)
    return Imported(found.values, (*found.lines, *lines))


def _rows(document: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The options of each folder with images, and of each with regularisation images."""
    general = document.get("general")
    general = general if isinstance(general, dict) else {}
    every: list[dict[str, Any]] = []
    for one in _tables(document.get("datasets")):
        above = {**general, **{key: value for key, value in one.items() if key != "subsets"}}
        every += [{**above, **subset} for subset in _tables(one.get("subsets")) or [{}]]
    rows = [row for row in every if row.get("is_reg") is not True] or every or [dict(general)]
    return rows, [row for row in every if row not in rows]


def _tables(value: Any) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _folders(rows: list[dict[str, Any]], lines: list[Line]) -> list[tuple[dict[str, Any], str]]:
    """The rows with a folder, and their folder; those whose folder cannot be read get a line."""
    found = []
    for row in rows:
        for key in FOLDERS:
            if is_nothing(row.get(key)):
                continue
            try:
                found.append((row, text(row[key])))
                break
            except Unreadable as error:
                lines.append(Line(key, row[key], IGNORED, f"{CANNOT_BE_READ}, {error}"))
    return found


def is_dataset(document: Mapping[str, Any]) -> bool:
    """Whether it says which images, in kohya's way."""
    rows = [
        {**one, **subset} for one in _tables(document.get("datasets")) for subset in _tables(one.get("subsets")) or [{}]
    ]
    return any(is_known(RENAMED.get(key, key)) or key in BY_NAME for row in rows for key in row)


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat.update(value if isinstance(value, dict) and not is_known(key) else {key: value})
    return {str(key): value for key, value in flat.items()}
