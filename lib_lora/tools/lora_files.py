"""LoRA files by name, as the host's folder has them."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from ..adapters.file import LoraFile
from ..adapters.network import Network
from ..errors import UserError

SUFFIX = ".safetensors"
BAD_NAME = re.compile(r'[<>:"|?*\x00-\x1f]|(^|[/\\])\.|[. ]$')


def list_loras(folder: Path) -> dict[str, Path]:
    """Name -> file, sub-folders included. The name is the file's own; where two share it, both carry their folder."""
    files = [p for p in sorted(folder.rglob(f"*{SUFFIX}")) if not p.name.startswith(".")]
    stems = [p.stem for p in files]
    return {p.stem if stems.count(p.stem) == 1 else _relative(p, folder): p for p in files}


def find_lora(name: str, folder: Path) -> Path:
    """The file of a LoRA called ``name``: a name of :func:`list_loras`, also with folder or ending.

    Raises:
        UserError: there is none, or several; lists those that are meant perhaps.
    """
    wanted = name.replace("\\", "/").removesuffix(SUFFIX)
    known = list_loras(folder)
    exact = folder / f"{wanted}{SUFFIX}"
    if wanted in known:
        return known[wanted]
    if exact in known.values():
        return exact
    namesakes = [name for name, path in known.items() if path.stem == wanted]
    close = namesakes or difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    fix = f"Did you mean {', '.join(close)}?" if close else f"Put the file into {folder}."
    raise UserError(f"There is no LoRA called {name!r}", where=folder, fix=fix)


def new_lora_path(name: str, folder: Path) -> Path:
    """Where a new LoRA called ``name`` goes.

    Raises:
        UserError: the name cannot be a file's, or is taken.
    """
    return new_path(name, folder, SUFFIX, "LoRA")


def new_path(name: str, folder: Path, suffix: str, kind: str) -> Path:
    """Where a new file called ``name`` goes; ``kind`` says what it is in messages. Errors as :func:`new_lora_path`."""
    name = name.strip().removesuffix(suffix)
    if not name or BAD_NAME.search(name):
        raise UserError(f"{name!r} cannot be the name of a file", where="name", fix="Use letters, digits, - and _.")
    path = folder / f"{name}{suffix}"
    if folder.resolve() not in path.resolve().parents:
        raise UserError(f"The name leads out of the {kind} folder", where=name, fix="Use letters, digits, - and _.")
    if path.exists():
        raise UserError(f"There is a {kind} of this name already", where=path, fix="Choose another name.")
    return path


def load_network(file: Path | LoraFile) -> Network:
    """The network of a LoRA file, which generated pictures mention by its name.

    It is float32, whatever the file: CPUs multiply half-precision matrices many times more slowly.
    """
    network = Network.from_file(file)
    for adapter in network.adapters.values():
        adapter.float()
    return network


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
