"""Signatures of pictures kept between two searches, so that only new pictures are decoded."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from lib_lora.dataset.collection.picture import Picture
from lib_lora.errors import UserError
from lib_lora.files import atomic_write
from lib_lora.small_files import UNREADABLE

WAY = 2  # of making grids; those made in another way cannot be compared
Grids = tuple[np.ndarray, np.ndarray, float]  # coarse and fine mean colours, width ÷ height


class SignatureStore:
    """An ``.npz`` file for pictures as they are, or for those without their backgrounds; a damaged one is made anew."""

    def __init__(self, folder: Path, ignore_background: bool):
        self._file = Path(folder) / f"signatures{'-content' if ignore_background else ''}.npz"
        self._known = _read(self._file)
        self._changed = False

    def get(self, picture: Picture) -> Grids | None:
        """The grids of a picture that has not changed since; None where they are not known."""
        return self._known.get(_key(picture))

    def put(self, picture: Picture, grids: Grids) -> None:
        """Remember grids; they are written by :meth:`save`."""
        self._known[_key(picture)] = grids
        self._changed = True

    def save(self) -> None:
        """Write what is new; a full disk or missing rights cost only the time of the next search."""
        if not self._changed:
            return
        keys, grids = list(self._known), list(self._known.values())
        coarse, fine = (np.stack([grid[part] for grid in grids]) for part in (0, 1))
        with suppress(OSError, UserError), atomic_write(self._file, durable=False) as part, open(part, "wb") as file:
            np.savez(
                file, way=WAY, keys=np.array(keys), coarse=coarse, fine=fine, aspects=np.array([g[2] for g in grids])
            )
        self._changed = False


def _key(picture: Picture) -> str:
    path = str(picture.path).encode(errors="surrogateescape").decode(errors="replace")
    return f"{path}|{picture.modified}|{picture.bytes}"


def _read(file: Path) -> dict[str, Grids]:
    try:
        with np.load(file) as data:
            if int(data["way"]) != WAY:
                return {}
            rows = zip(data["keys"], data["coarse"], data["fine"], data["aspects"], strict=True)
            return {str(key): (coarse, fine, float(aspect)) for key, coarse, fine, aspect in rows}
    except (OSError, *UNREADABLE, EOFError, MemoryError, zipfile.BadZipFile):
        return {}
