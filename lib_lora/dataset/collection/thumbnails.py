"""Small JPEGs of the pictures, made when they are first looked at."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.images import load_rgb
from lib_lora.files import atomic_write

END = b"\xff\xd9"  # of a JPEG
SIDE = 256  # pixels of the longer side


class Thumbnails:
    """A folder of thumbnails, named by path, time and length of the picture: a changed picture gets a new one."""

    def __init__(self, folder: Path, side: int = SIDE):
        self.folder = Path(folder)
        self.side = side

    def path(self, picture: Picture) -> Path:
        """The thumbnail's file, made now if it is missing or cut off.

        Raises:
            BadFile: the picture is damaged.
        """
        key = f"{picture.path}|{picture.modified}|{picture.bytes}"
        path = self.folder / f"{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:24]}.jpg"
        if not _whole(path):
            image = load_rgb(picture.path, at_least=self.side)
            image.thumbnail((self.side, self.side))
            with atomic_write(path, durable=False) as part:
                image.save(part, "JPEG", quality=85)
        return path


def _whole(path: Path) -> bool:
    """Whether there is a JPEG that has its end: written without waiting for the disk, it may not after a crash."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(END), os.SEEK_END)
            return file.read() == END
    except OSError:
        return False
