"""A look into folders in passing: the first picture of each, small, for the list of *Browse*.

The page asks for each by a key that only the list gives out, when the row is in view. What takes too long is left out:
a folder on a slow drive has no picture, and keeps neither the list nor the rest of the page waiting.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from secrets import token_urlsafe
from threading import Lock
from typing import Any

from PIL import Image

from lib_lora.access import EVERYTHING, Access, permits
from lib_lora.dataset.oddities import IMAGE_EXTENSIONS
from lib_lora.tools.card_files import jpeg, thumbnail

ROUTE = "lora_workbench/glance"
SIDE = 72  # px
LOOKED = 2000  # entries of a folder
TRIED = 3  # pictures of it, where the first cannot be read
LARGEST = 20_000_000  # bytes of a file that is read for one
PIXELS = 40_000_000  # of one
KEPT = 2000  # keys
WORKERS = 2
WAITING = 12  # looks at once; where a drive does not answer, further ones are not waited for
PATIENCE = 2.0  # s


@dataclass
class _Asked:
    """A folder or picture, with the rules of whoever was shown it, and what was found once somebody looked."""

    path: Path
    context: Context
    found: Future[bytes | None] | None = None


class Glances:
    """One for the process; threads may ask at once."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._pool = ThreadPoolExecutor(WORKERS, "lw-glance")
        self._waiting = 0
        self._lock = Lock()

    def url(self, path: Path) -> str:
        """The address, relative to the page, of the first picture of a folder, or of a picture; nothing is read yet."""
        with self._lock:
            key = token_urlsafe(12)
            self._asked[key] = _Asked(path, copy_context())
            while len(self._asked) > KEPT:
                self._asked.popitem(last=False)
        return f"{ROUTE}/{key}"

    def picture(self, key: str) -> bytes | None:
        """A small JPEG; None where there is none, or none soon enough."""
        with self._lock:
            asked = self._asked.get(key)
            if asked is None or (asked.found is None and self._waiting >= WAITING):
                return None
            begun = asked.found is None
            if asked.found is None:
                self._waiting += 1
                asked.found = self._pool.submit(asked.context.run, _look, asked.path)
            found = asked.found
        if begun:  # not under the lock: of a look that has ended already it is called at once
            found.add_done_callback(self._done)
        try:
            return found.result(self.patience)
        except Exception:  # too late, or whatever is wrong with a file that is only looked at in passing
            return None

    def serve_on(self, app: Any, access: Access = EVERYTHING) -> None:
        """Add the route to the page's FastAPI app; it asks for the page's login, where there is one."""
        from fastapi import Depends, HTTPException
        from fastapi.responses import Response

        from lib_lora.api.guard import Guard

        def glance(key: str):
            data = self.picture(key)
            if data is None:
                raise HTTPException(404)
            return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

        login = [Depends(Guard(app, access).check)]
        app.add_api_route(f"/{ROUTE}/{{key}}", glance, methods=["GET"], dependencies=login, response_model=None)

    def _done(self, _: Future[bytes | None]) -> None:
        with self._lock:
            self._waiting -= 1


def first_pictures(folder: Path, count: int) -> list[Path]:
    """The first pictures by name among the first entries of ``folder``, without those that are large for a look.

    Raises:
        OSError: it cannot be read.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in islice(entries, LOOKED))
    files = (folder / name for name in names if os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS)
    return list(islice((path for path in files if permits(path) and path.stat().st_size <= LARGEST), count))


def _look(path: Path) -> bytes | None:
    """The first picture that can be read of a folder, or a picture itself."""
    for picture in first_pictures(path, TRIED) if path.is_dir() else [path]:
        if _is_quick(picture) and (small := thumbnail(picture, SIDE)) is not None:
            return jpeg(small)
    return None


def _is_quick(picture: Path) -> bool:
    try:
        with Image.open(picture) as image:
            return image.width * image.height <= PIXELS
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


GLANCES = Glances()
