"""Uploads: ``POST lora_workbench/upload`` begins a set, ``POST lora_workbench/upload/KEY`` fills it. What is dropped on
Publish (``for=publish``) is no set: LoRA files and pictures of them.

The body of the second is the file itself, its name with folders is in ``?path=``; the page's script sends file after
file (javascript/lora_workbench_upload.js). Where paths are restricted there are no uploads at all.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from pathlib import Path
from secrets import token_urlsafe
from shutil import rmtree
from threading import Lock
from typing import Any

from lib_lora.access import EVERYTHING, Access
from lib_lora.dataset.intake import LORA, Intake, free_bytes
from lib_lora.dataset.oddities import IMAGE_EXTENSIONS
from lib_lora.errors import UserError
from lib_lora.places import Places

ROUTE = "lora_workbench/upload"
PUBLISH = "publish"
MOST = 32  # sets that are being filled at once
RESERVE = 1 << 30  # bytes that stay free on the disk
LOOKED_AT = 7 * 24 * 3600  # s that a copy of a LoRA which was dropped to be looked at stays


class Uploads:
    """The sets that are being filled, by the keys that their pages were given."""

    def __init__(self, places: Places):
        self.places = places
        self._open: OrderedDict[str, Intake] = OrderedDict()
        self._lock = Lock()

    def begin(self, name: str, purpose: str = "") -> str:
        """A new set, or with ``purpose`` ``"publish"`` what is dropped there; returns its key."""
        key = token_urlsafe(12)
        with self._lock:
            if purpose == PUBLISH:
                _tidy(self.places.brought)
                self._open[key] = Intake(self.places.brought, name, (*IMAGE_EXTENSIONS, LORA))
            else:
                self._open[key] = Intake(self.places.sets, name)
            while len(self._open) > MOST:
                self._open.popitem(last=False)
        return key

    def find(self, key: str) -> Intake:
        """The set of that key.

        Raises:
            UserError: it was forgotten.
        """
        with self._lock:
            if key not in self._open:
                raise UserError("This upload was begun before a restart", fix="Drop the pictures again")
            return self._open[key]

    def put(self, key: str, path: str, received: Path) -> None:
        """Take a file; one after another, so that two of one name never meet."""
        intake = self.find(key)
        with self._lock:
            intake.put(path, received)

    def serve_on(self, app: Any, access: Access = EVERYTHING) -> None:
        """Add the routes to the page's app; none where paths are restricted."""
        if access.confined:
            return
        from fastapi import Depends, Request
        from fastapi.responses import JSONResponse
        from starlette.concurrency import run_in_threadpool

        from lib_lora.api.guard import Guard

        async def begin(request: Request):
            asked = request.query_params
            try:
                return JSONResponse({"key": self.begin(asked.get("name", ""), asked.get("for", ""))})
            except UserError as error:
                return JSONResponse({"error": str(error)}, status_code=400)

        async def fill(request: Request):
            try:
                return await self._receive(request, run_in_threadpool)
            except UserError as error:
                return JSONResponse({"error": str(error)}, status_code=400)

        begin.__annotations__["request"] = fill.__annotations__["request"] = Request  # FastAPI looks them up elsewhere
        login = [Depends(Guard(app, access).check)]
        for address, endpoint in ((f"/{ROUTE}", begin), (f"/{ROUTE}/{{key}}", fill)):
            app.add_api_route(address, endpoint, methods=["POST"], dependencies=login, response_model=None)

    async def _receive(self, request: Any, in_thread: Any) -> Any:
        from fastapi.responses import JSONResponse

        key, path = request.path_params["key"], request.query_params.get("path", "")
        intake = self.find(key)
        if not intake.wanted(path):
            return JSONResponse({"taken": False})
        left = min(intake.limit(path), free_bytes(self.places.data) - RESERVE)
        part = intake.part()
        try:
            with open(part, "wb") as file:
                async for chunk in request.stream():
                    left -= len(chunk)
                    if left < 0:
                        raise UserError("This file is too large for the set, or for the disk", where=path)
                    file.write(chunk)
            await in_thread(self.put, key, path, part)
        finally:
            part.unlink(missing_ok=True)
        return JSONResponse({"taken": True})


def _tidy(folder: Path) -> None:
    """Remove copies that nobody has looked at for long."""
    for copy in folder.iterdir() if folder.is_dir() else ():
        if time.time() - copy.stat().st_mtime > LOOKED_AT:
            rmtree(copy, ignore_errors=True)
