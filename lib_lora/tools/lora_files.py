"""LoRA files by name, as the host's folders have them."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..adapters.file import LoraFile
from ..adapters.network import Network
from ..errors import UserError

SUFFIX = ".safetensors"
BAD_NAME = re.compile(r'[<>:"|?*\x00-\x1f]|(^|[/\\])\.|[. ]$')
Folders = Path | Sequence[Path]  # one, or several in the order in which they are searched


def list_loras(folders: Folders) -> dict[str, Path]:
    """Name -> file, sub-folders and linked folders included.

    The name is the file's own. Where several share it, they carry their path below the folder; where they share that
    too, the folder's name as well.
    """
    files = list(_files(folders))
    stems = Counter(path.stem for _, path in files)
    names = Counter(_below(folder, path) for folder, path in files)
    long = Counter(f"{folder.name}/{_below(folder, path)}" for folder, path in files)

    def name(folder: Path, path: Path) -> str:
        below = _below(folder, path)
        if stems[path.stem] == 1:
            return path.stem
        if names[below] == 1:
            return below
        whole = f"{folder.name}/{below}"
        return whole if long[whole] == 1 else _without_suffix(path.as_posix())

    return {name(folder, path): path for folder, path in files}


def find_lora(name: str, folders: Folders) -> Path:
    """The file of a LoRA called ``name``: a name of :func:`list_loras`, also with folder or ending.

    Where several folders have a file of that name, the first one's is meant.

    Raises:
        UserError: there is none, or several; lists those that are meant perhaps.
    """
    wanted = _without_suffix(name.replace("\\", "/"))
    known = list_loras(folders)
    if wanted in known:
        return known[wanted]
    for folder in _each(folders):
        for path in known.values():
            if folder in path.parents and _below(folder, path) == wanted:
                return path
    namesakes = [name for name, path in known.items() if path.stem == wanted]
    close = namesakes or difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    where = " or ".join(map(str, _each(folders)))
    fix = f"Did you mean {', '.join(close)}?" if close else f"Put the file into {where}."
    raise UserError(f"There is no LoRA called {name!r}", where=where, fix=fix)


def subfolders(folders: Folders) -> list[Path]:
    """``folders`` and all below them, linked ones included, each once; those that exist."""
    return [folder for top in _walked(folders) for folder, _ in top]


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


def _each(folders: Folders) -> Sequence[Path]:
    return [folders] if isinstance(folders, Path) else folders


def _walked(folders: Folders) -> Iterator[Iterator[tuple[Path, list[str]]]]:
    """For each of ``folders``, the folders in it with the names of their files; none twice, so links may go round."""
    seen: set[str] = set()
    return (_walk(folder, seen) for folder in _each(folders))


def _walk(top: Path, seen: set[str]) -> Iterator[tuple[Path, list[str]]]:
    for folder, below, names in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        yield Path(folder), names


def _files(folders: Folders) -> Iterator[tuple[Path, Path]]:
    """Each of ``folders`` with every LoRA file below it, sorted by path."""
    for top, walk in zip(_each(folders), _walked(folders), strict=True):
        paths = (folder / name for folder, names in walk for name in names if _is_lora(name))
        yield from ((top, path) for path in sorted(paths) if path.is_file())


def _is_lora(name: str) -> bool:
    return name.lower().endswith(SUFFIX) and not name.startswith(".")


def _below(folder: Path, path: Path) -> str:
    return _without_suffix(path.relative_to(folder).as_posix())


def _without_suffix(name: str) -> str:
    return name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else name
