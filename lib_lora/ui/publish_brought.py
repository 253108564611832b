"""What somebody brings to Publish: a LoRA file from anywhere, to look at, and pictures of their own to publish."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree

from lib_lora.access import admit
from lib_lora.errors import UserError
from lib_lora.files import make_folder, move
from lib_lora.tools.examples import Example
from lib_lora.ui.dataset.uploads import Uploads
from lib_lora.workbench import Workbench

LORAS, PICTURES = (".safetensors",), (".png", ".jpg", ".jpeg", ".webp")
NO_LORA = "Choose the LoRA first, then drop its pictures"


def named_by_path(name: str | None) -> Path | None:
    """The file, where the name of a LoRA is the path of one."""
    text = (name or "").strip().strip('"')
    return Path(text).expanduser() if text.lower().endswith(LORAS) and Path(text).expanduser().is_absolute() else None


class Brought:
    """Files that were dropped; ``uploads``: receives them, None where there are no uploads."""

    def __init__(self, workbench: Workbench, uploads: Uploads | None):
        self.workbench = workbench
        self.uploads = uploads

    def path(self, name: str) -> Path:
        """The LoRA of a name in the folder, or of a path.

        Raises:
            UserError: there is none, or it may not be named from here.
        """
        path = named_by_path(name)
        if path is None:
            return self.workbench.lora_path(name)
        admit(path, "LoRA to look at or publish")
        if not path.is_file():
            raise UserError("There is no such file", where=path, fix="Check the path")
        return path

    def pictures(self, lora: Path) -> tuple[Example, ...]:
        """The own pictures of a LoRA, in the order in which they came."""
        folder = self._folder(lora)
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return tuple(Example(path, "own") for path in found if path.suffix.lower() in PICTURES)

    def take(self, key: str, lora: str | None) -> tuple[str | None, Sequence[str]]:
        """What was dropped under ``key``: the LoRA to show, and the names of new pictures of it.

        Raises:
            UserError: pictures came, but no LoRA is chosen that they could be of.
        """
        assert self.uploads is not None
        folder = self.uploads.find(key).folder
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        loras = [path for path in files if path.suffix.lower() in LORAS]
        shown = str(loras[0]) if loras else lora
        if not shown:
            raise UserError("No LoRA is chosen", where="LoRA to look at or publish", fix=NO_LORA)
        place = self._folder(self.path(shown))
        names = []
        for picture in (path for path in files if path.suffix.lower() in PICTURES):
            make_folder(place)
            target = _free(place / picture.name)
            move(picture, target)
            names.append(target.name)
        if not loras:
            rmtree(folder, ignore_errors=True)  # all that was wanted of it is elsewhere
        return shown, names

    def _folder(self, lora: Path) -> Path:
        return self.workbench.host.paths.places.examples / lora.stem


def _free(path: Path) -> Path:
    number, found = 2, path
    while found.exists():
        number, found = number + 1, path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found
