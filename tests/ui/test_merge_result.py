from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from lib_lora.adapters.merged import Merged, MergeReport
from lib_lora.ui.compat import SKIP
from lib_lora.ui.generation import FIELDS
from lib_lora.ui.merge_result import ResultPanel


def test_a_merge_is_previewed_at_the_size_of_its_training() -> None:
    panel = ResultPanel(SimpleNamespace(host=SimpleNamespace(samplers=lambda: ["Euler"], info=lambda: None)), None)
    with gr.Blocks():
        panel.build()
    metadata = {"modelspec.resolution": "768x640", "ss_clip_skip": "2"}
    updates = dict(zip(FIELDS, panel.preview_size(Merged({}, MergeReport(), 4, metadata)), strict=True))
    assert [updates[name]["value"] for name in ("width", "height", "clip_skip")] == [768, 640, 2]
    assert panel.preview_size(Merged({}, MergeReport(), 4, {})) == panel.preview_size(None) == [SKIP] * len(FIELDS)
