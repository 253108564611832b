"""Pictures of runs, grids and previews by address, the same in every web UI."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from lib_lora.access import EVERYTHING, Access
from lib_lora.lora_files import list_loras
from lib_lora.models.base import HostPaths
from lib_lora.tools.card_files import jpeg, preview_of, thumbnail
from lib_lora.tools.examples import examples_of
from lib_lora.training.run_store import RunStore
from lib_lora.ui.html import TRUTH

ROUTE = "lora_workbench/image"
SUFFIXES = (".png", ".jpg", ".webp")
GUIDES = Path(__file__).parents[2] / "docs"
GUIDE_ROUTE = "lora_workbench/guide"
PREVIEW_ROUTE = "lora_workbench/preview"
THUMBNAIL = 256  # pixels


class Pictures:
    """Gives out pictures below the runs and data folders, and nothing else."""

    def __init__(self, paths: HostPaths):
        self.paths = paths
        self.roots = {"runs": paths.runs.resolve(), "data": paths.data.resolve()}

    def url(self, path: Path) -> str:
        """Address of a picture, relative to the page; it changes when the file does.

        Raises:
            ValueError: the file is outside the folders that are given out.
        """
        path = path.resolve()
        for name, root in self.roots.items():
            if root in path.parents:
                version = path.stat().st_mtime_ns if path.exists() else 0
                return f"{ROUTE}/{name}/{quote(path.relative_to(root).as_posix())}?v={version}"
        raise ValueError(f"{path} is not below {', '.join(map(str, self.roots.values()))}")

    def gives_out(self, path: Path) -> bool:
        """Whether :meth:`url` has an address for it."""
        return any(root in path.resolve().parents for root in self.roots.values())

    def find(self, root: str, name: str) -> Path | None:
        """The file of an address; None for everything that is not a picture of ours."""
        folder = self.roots.get(root)
        if folder is None:
            return None
        path = (folder / name).resolve()
        inside = folder in path.parents and path.suffix.lower() in SUFFIXES
        return path if inside and path.is_file() else None

    def preview_url(self, name: str, path: Path) -> str:
        """Address of the preview of the LoRA file ``path``, which is called ``name``."""
        return f"{PREVIEW_ROUTE}/{quote(name)}?v={path.stat().st_mtime_ns}"

    def preview(self, name: str) -> bytes | None:
        """A small JPEG of a LoRA: the picture beside it or in it, else the best that its run has; None for none."""
        path = list_loras(self.paths.lora_folders).get(name)
        if path is None:
            return None
        picture = preview_of(path, THUMBNAIL)
        if picture is None and (examples := examples_of(path, RunStore(self.paths.runs)).pictures):
            picture = thumbnail(examples[0].path, THUMBNAIL)
        return None if picture is None else jpeg(picture)

    def serve_on(self, app: Any, access: Access = EVERYTHING) -> None:
        """Add the route to the page's FastAPI app; it asks for the page's login, where there is one."""
        from fastapi import Depends, HTTPException
        from fastapi.responses import FileResponse, Response

        from lib_lora.api.guard import Guard

        def image(root: str, name: str):
            path = self.find(root, name)
            if path is None:
                raise HTTPException(404)
            return FileResponse(path, headers={"Cache-Control": "private, max-age=31536000"})

        def preview(name: str):
            data = self.preview(name)
            if data is None:
                raise HTTPException(404)
            return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=31536000"})

        def guide(name: str):
            path = GUIDES / (f"{name}.md" if name == TRUTH else f"walk-{name}.md")
            if not name.replace("-", "").isalpha() or not path.is_file():
                raise HTTPException(404)
            return FileResponse(path, media_type="text/plain; charset=utf-8")

        address, login = f"/{ROUTE}/{{root}}/{{name:path}}", [Depends(Guard(app, access).check)]
        of_loras = f"/{PREVIEW_ROUTE}/{{name:path}}"
        app.add_api_route(of_loras, preview, methods=["GET"], dependencies=login, response_model=None)
        app.add_api_route(f"/{GUIDE_ROUTE}/{{name}}", guide, methods=["GET"], dependencies=login, response_model=None)
        app.add_api_route(address, image, methods=["GET"], dependencies=login, response_model=None)
