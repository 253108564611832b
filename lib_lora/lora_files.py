"""LoRA files by name, as the host's folders have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lib_lora.adapters.file import LoraFile, open_lora
from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.lora_index import INDEX, SUFFIX, without_suffix
from lib_lora.names import check_name

Folders = Path | Sequence[Path]  # one, or several in the order in which they are searched


def list_loras(folders: Folders) -> dict[str, Path]:
    """Name -> file, sub-folders and linked folders included; see :class:`~lib_lora.lora_index.LoraNames`."""
    return dict(INDEX.names(_each(folders)).files)


def find_lora(name: str, folders: Folders) -> Path:
    """The file of a LoRA called ``name``: a name of :func:`list_loras`, also with folder or ending.

    Where several folders have a file of that name, the first one's is meant.

    Raises:
        UserError: there is none, or several; lists those that are meant perhaps.
    """
    given = name.replace("\\", "/")
    wanted = without_suffix(given)
    names = INDEX.names(_each(folders))
    found = names.files.get(given) or names.find(wanted)  # a name may itself look like one with its ending
    if found is not None:
        return found
    close = names.like(wanted)
    where = " or ".join(map(str, _each(folders)))
    fix = f"Did you mean {', '.join(close)}?" if close else f"Put the file into {where}."
    raise UserError(f"There is no LoRA called {name!r}", where=where, fix=fix)


def subfolders(folders: Folders) -> list[Path]:
    """``folders`` and all below them, linked ones included, each once; those that exist."""
    return INDEX.folders(_each(folders))


def new_lora_path(name: str, folder: Path) -> Path:
    """Where a new LoRA called ``name`` goes.

    Raises:
        UserError: the name cannot be a file's, or is taken.
    """
    return new_path(name, folder, SUFFIX, "LoRA")


def new_path(name: str, folder: Path, suffix: str, kind: str) -> Path:
    """Where a new file called ``name`` goes; ``kind`` says what it is in messages. Errors as :func:`new_lora_path`."""
    name = name.strip().removesuffix(suffix).replace("\\", "/")
    for part in name.split("/"):
        check_name(part, "name")
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


def remarks_on(files: Mapping[str, Path]) -> list[str]:
    """What a user of these files should know, as :attr:`LoraFile.remarks`; what is true of several is said once.

    Args:
        files: heading -> file.
    """
    headings: dict[str, list[str]] = {}
    for heading, path in files.items():
        file = open_lora(path)
        for remark in file.remarks:
            headings.setdefault(remark.removeprefix(f"{file.name}: "), []).append(heading)
    return [f"{', '.join(those)}: {remark}" for remark, those in headings.items()]


def _each(folders: Folders) -> Sequence[Path]:
    return [folders] if isinstance(folders, Path) else folders
