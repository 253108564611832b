"""A transformer from diffusers' folder, or from a single file with the rest of such a folder; nothing is downloaded."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError

from lib_lora.adapters import container
from lib_lora.adapters.base_weights import places
from lib_lora.errors import UserError
from lib_lora.hosts.standalone.dit.calls import Calls, all_calls
from lib_lora.hosts.standalone.dit.model import StandaloneTransformer
from lib_lora.models.families import families, family

INDEXES = ("model_index.json", "modular_model_index.json")
PARTS = ("transformer", "vae", "scheduler", "text_", "tokenizer", "t5_tokenizer")
GET = "Put the model's folder in diffusers' format (with model_index.json) among the checkpoints"


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder of diffusers with a transformer in it."""
    return (path / "transformer" / "config.json").is_file() and any((path / name).is_file() for name in INDEXES)


def folders_in(place: Path) -> list[Path]:
    """All such folders in ``place``, and it itself."""
    found = {index.parent for name in INDEXES for index in place.rglob(name)}
    return sorted(folder for folder in found if is_folder(folder))


def load_folder(path: Path, name: str, device: torch.device, dtype: torch.dtype) -> StandaloneTransformer:
    """The model in diffusers' folder ``path``.

    Raises:
        UserError: a class that is not known here, or a part that cannot be loaded.
    """
    calls = _calls_of(path)
    return _assembled(name, path, path, calls, {}, device, dtype)


def load_file(
    path: Path, name: str, folders: Sequence[Path], device: torch.device, dtype: torch.dtype
) -> StandaloneTransformer:
    """The transformer in ``path``, with text encoders and VAE of the first of ``folders`` that is of its family.

    Raises:
        UserError: the file is no transformer, or there is no such folder.
    """
    wanted = transformer_family(path)
    if wanted is None:
        raise UserError("This is not a transformer's checkpoint", where=path, fix="Choose another file")
    label = family(wanted).label
    for folder in folders:
        calls = _calls_of(folder)
        if calls.family(_config(folder)) != wanted:
            continue
        kind = _class("diffusers", calls.transformer)
        try:
            transformer = kind.from_single_file(
                str(path), config=str(folder), subfolder="transformer", torch_dtype=_wide(dtype), local_files_only=True
            )
        except (RuntimeError, ValueError, KeyError, OSError) as e:
            what = f"The file does not fit {label}"
            raise UserError(what, where=path, fix=f"Choose a checkpoint of the size in {folder.name}") from e
        return _assembled(name, path, folder, calls, {"transformer": transformer}, device, dtype)
    what = f"{label} in one file has no text encoder and no VAE"
    raise UserError(what, where=path, fix=GET)


def transformer_family(path: Path) -> str | None:
    """The family of a single file with a diffusion transformer; None for all others, such as Stable Diffusion."""
    try:
        found, _ = places({name: entry.shape for name, entry in container.open_container(path).entries.items()})
    except UserError:
        return None
    return None if found[0].chunks else found[0].name


def _calls_of(folder: Path) -> Calls:
    config = _config(folder)
    calls = all_calls().get(str(config.get("_class_name")))
    if calls is None or calls.family(config) not in families():
        known = ", ".join(sorted({one.transformer for one in all_calls().values()}))
        what = f"A transformer of class {config.get('_class_name')} cannot be trained here"
        raise UserError(what, where=folder, fix=f"Choose one of {known}")
    return calls


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "transformer" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError("The transformer's config.json cannot be read", where=folder, fix=GET) from e
    kind = getattr(import_module("diffusers"), str(config.get("_class_name")), None)
    if kind is None:
        return config
    defaults = {
        name: p.default for name, p in inspect.signature(kind.__init__).parameters.items() if p.default is not p.empty
    }
    return {**defaults, **config}


def _assembled(
    name: str,
    path: Path,
    folder: Path,
    calls: Calls,
    parts: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype,
) -> StandaloneTransformer:
    index = json.loads(next(folder / name for name in INDEXES if (folder / name).is_file()).read_text("utf-8"))
    for key, entry in index.items():
        if key not in parts and key.startswith(PARTS) and _names_a_class(entry):
            parts[key] = _part(folder, key, entry[0], entry[1], torch.float32 if key == "vae" else _wide(dtype))
    for key in ("transformer", "vae"):
        if key not in parts:
            raise UserError(f"The folder has no {key}", where=folder, fix="Download it again, complete")
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.to(device).eval().requires_grad_(False)
    pipe: Any = SimpleNamespace(**parts)
    if calls.pipeline:
        kind = _class("diffusers", calls.pipeline)
        known = inspect.signature(kind.__init__).parameters
        pipe = kind(
            **parts, **{k: v for k, v in index.items() if k in known and k not in parts and not _names_a_class(v)}
        )
    return StandaloneTransformer(name, path, pipe, parts, calls, _shift(parts.get("scheduler")))


def _names_a_class(entry: Any) -> bool:
    """Whether an entry of the index is a part, [library, class], and no setting of the pipeline, as Krea 2 has some."""
    return isinstance(entry, list) and len(entry) >= 2 and all(isinstance(word, str) for word in entry[:2])


def _part(folder: Path, key: str, library: str, name: str, dtype: torch.dtype) -> Any:
    kind = _class(library, name)
    where = str(folder / key)
    try:
        if not issubclass(kind, torch.nn.Module):
            return kind.from_pretrained(where, local_files_only=True)
        return kind.from_pretrained(where, local_files_only=True, torch_dtype=dtype)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as e:
        raise UserError(f"The {key} cannot be loaded", where=folder / key, fix="Download it again, complete") from e


def _class(library: str, name: str) -> Any:
    found = getattr(import_module(library), name, None) if library in ("diffusers", "transformers") else None
    if found is None:
        fix = f"Update {library}" if library in ("diffusers", "transformers") else "Choose another model"
        raise UserError(f"The installed {library} has no {name}", where=name, fix=fix)
    return found


def _wide(dtype: torch.dtype) -> torch.dtype:
    """These models overflow in float16."""
    return torch.bfloat16 if dtype == torch.float16 else dtype


def _shift(scheduler: Any) -> float:
    """Of the times when sampling; 0 where it goes by the resolution."""
    config = getattr(scheduler, "config", {})
    return 0.0 if config.get("use_dynamic_shifting") else float(config.get("shift", 1.0))
