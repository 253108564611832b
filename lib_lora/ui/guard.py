"""What fails while our parts of the page are built never takes the web UI down: it is said in the tab and logged."""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr

from lib_lora.ui.notice import ELEMENT, TITLE, notice

LOG = logging.getLogger(__name__)
FAILED = """LoRA Workbench could not be built; the rest of the web UI works.

    {cause}

Often a package was changed by another extension, or an update is half done: restart the web UI, and update this
extension if it stays. The whole report is in the web UI's console."""


def tabs() -> list[tuple[gr.Blocks, str, str]]:
    """The tab for ``script_callbacks.on_ui_tabs``, or one that names the cause why there is none."""
    try:
        from lib_lora.ui.webui import page

        return [(page(), TITLE, ELEMENT)]
    except Exception as error:
        LOG.exception("LoRA Workbench could not build its tab")
        return [(notice(FAILED.format(cause=_cause(error))), TITLE, ELEMENT)]


def prompt_weights(prefix: str) -> tuple[list[Any], list[Any]]:
    """The accordion of txt2img or img2img, and how an infotext fills it.

    Nothing where it fails: with ``--api``, A1111 would not even start.
    """
    try:
        from lib_lora.ui.prompt_weights import infotext_fields
        from lib_lora.ui.webui import build_prompt_weights

        parts = build_prompt_weights(prefix)
        return parts, infotext_fields(parts)
    except Exception:
        LOG.exception("LoRA Workbench could not build its part of %s", prefix)
        return [], []


def _cause(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
