"""A :class:`TrainConfig` as a TOML file: one table per group, one key per setting.

Table names do not matter when reading (as in kohya's files); an unknown key is an error, so a typing mistake cannot
silently train with a default.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib_lora.bounds import as_float, check_kind
from lib_lora.errors import UserError
from lib_lora.files import write_text
from lib_lora.training.config import TrainConfig, default_of, settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib  # every venv of a web UI has pip; tomli itself may be missing

# settings that change what is written or shown, but not one bit of the training itself; images are known by content
NOT_TRAINING = ("data_dir", "sample_prompts", "sample_every_n_epochs", "state_every_n_steps", "save_every_n_epochs",
                "save_every_n_steps", "sample_every_n_steps", "sample_first")  # fmt: skip


def config_to_toml(config: TrainConfig) -> str:
    """The whole config as TOML text, grouped, each key with its help as a comment."""
    groups: dict[str, list[str]] = {}
    for name, f in settings().items():
        lines = groups.setdefault(f.metadata["group"], [])
        lines += [f"# {f.metadata['help']}", f"{name} = {_toml_value(getattr(config, name))}"]
    return "\n".join(f'["{group}"]\n' + "\n".join(lines) + "\n" for group, lines in groups.items())


def config_from_toml(text: str, *, where: str | Path = "config") -> TrainConfig:
    """Read what :func:`config_to_toml` wrote; keys that are missing keep their defaults.

    Raises:
        UserError: not TOML, or a key that is no setting.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits, and nesting without end
        raise UserError(f"This is not a TOML file ({error})", where=where) from error
    return config_from_dict(_flattened(document), where=where)


def config_from_dict(values: dict[str, Any], *, where: str | Path = "config") -> TrainConfig:
    """A config from setting name → value; whole numbers are accepted for decimal settings."""
    known = settings()
    if unknown := sorted(values.keys() - known.keys()):
        raise UserError(f"Unknown setting {unknown[0]!r}", where=where, fix="Correct its name or remove the line")
    decimal = {name for name in values if type(default_of(known[name])) is float and type(values[name]) is int}
    given: dict[str, Any] = {name: as_float(v, name) if name in decimal else v for name, v in values.items()}
    for name, value in given.items():
        at = name if isinstance(where, str) else f"{name} in {where}"
        check_kind(value, type(default_of(known[name])), at, known[name].metadata["label"])
    return TrainConfig(**given)


def read_config(path: str | Path) -> TrainConfig:
    """Read a ``config.toml``."""
    try:
        if not Path(path).is_file():  # a pipe would be waited for
            raise UserError("There is no such settings file", where=path)
        return replace(_parsed(Path(path).read_text(encoding="utf-8"), Path(path)))
    except OSError as error:
        raise UserError(f"The settings file cannot be read ({error.strerror})", where=path) from error
    except UnicodeDecodeError as error:
        raise UserError("The settings file is not UTF-8 text", where=path) from error


@lru_cache(maxsize=256)
def _parsed(text: str, path: Path) -> TrainConfig:
    """A list of runs reads the same files again and again, and parsing takes far longer than reading."""
    return config_from_toml(text, where=path)


def write_config(path: str | Path, config: TrainConfig) -> None:
    """Write ``config`` as TOML, atomically."""
    write_text(path, config_to_toml(config))


def training_hash(config: TrainConfig) -> str:
    """Identifies everything that influences the trained weights; a saved state fits only the same hash."""
    known = settings()
    # defaults are left out, so that a setting which a later version adds does not make older runs look changed
    values = {n: v for n, v in asdict(config).items() if n not in NOT_TRAINING and v != default_of(known[n])}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON strings are TOML strings
    return repr(value)


def _flattened(document: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat.update(value if isinstance(value, dict) else {key: value})
    return flat
