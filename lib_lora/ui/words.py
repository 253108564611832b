"""The page's words in other languages: one file each, which a web UI reads as its own localization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "localizations"
ROUTE = "lora_workbench/words"
NAMES = {"zh_CN": ("zh-CN", "简体中文")}  # file -> language for the browser, its own name


class Words:
    """The languages of a folder ``LANGUAGE.json``; javascript/lora_workbench_words.js puts them into the page."""

    def __init__(self, folder: Path = FOLDER):
        self.folder = folder

    def files(self) -> dict[str, Path]:
        """Language -> file."""
        return {name: path for name in NAMES if (path := self.folder / f"{name}.json").is_file()}

    def switch(self) -> str:
        """A button for each language, English first."""
        known = [("", "en", "English"), *((name, *NAMES[name]) for name in self.files())]
        buttons = (
            f'<button type="button" data-lw-language="{name}" lang="{lang}" translate="no">{label}</button>'
            for name, lang, label in known
        )
        return f'<div class="lw-languages">{"".join(buttons)}</div>'

    def serve_on(self, app: Any) -> None:
        """Add the route to the page's FastAPI app; a web UI in Chinese asks where its localization lacks our words."""
        from fastapi import HTTPException
        from fastapi.responses import FileResponse

        def words(language: str) -> Any:
            path = self.files().get(language)
            if path is None:
                raise HTTPException(404)
            return FileResponse(path, headers={"Cache-Control": "no-cache"})

        app.add_api_route(f"/{ROUTE}/{{language}}", words, methods=["GET"], response_model=None)
