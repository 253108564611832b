"""The whole page, without a browser."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from lib_lora.models.base import HostPaths
from lib_lora.ui.app import build_page
from lib_lora.ui.files import Pictures
from lib_lora.workbench import Workbench


def test_no_two_fields_have_the_same_name(tmp_path: Path) -> None:
    paths = HostPaths(*(tmp_path / name for name in ("loras", "models", "runs", "data")))
    lists = {"checkpoints": [], "taggers": [], "upscalers": ["Lanczos"], "samplers": ["Euler"]}
    host = SimpleNamespace(paths=paths, info=lambda: None, **{name: (lambda v=v: v) for name, v in lists.items()})
    page = build_page(Workbench(host), Pictures(paths), standalone=True)
    blocks = [block for block in page.blocks.values() if not isinstance(block, gr.TabItem)]
    fields = [b for b in blocks if getattr(b, "label", None) and hasattr(b, "interactive")]
    seen = Counter(b.label for b in fields if "lw-hidden" not in (b.elem_classes or []))
    assert len(seen) > 100 and [label for label, count in seen.items() if count > 1] == []
