from __future__ import annotations

from pathlib import Path

import gradio as gr

from lib_lora.ui.compat import SKIP
from lib_lora.ui.poll import Poller, Watched


def test_only_what_changed_is_sent() -> None:
    state = {"loss": "1.0"}
    with gr.Blocks():
        poller = Poller()
        poller.build()
        one, two, field = gr.HTML(), gr.HTML(), gr.Textbox()
        poller.keep(lambda: [state["loss"]], [one])
        poller.keep(lambda text: [text.upper()], [two], [field])
    seen, *updates = poller.changes([], "a")
    assert updates == ["1.0", "A"]
    seen, *updates = poller.changes(seen, "a")
    assert updates == [SKIP, SKIP]
    state["loss"] = "0.9"
    seen, *updates = poller.changes(seen, "a")
    assert updates == ["0.9", SKIP]
    assert poller.changes(seen, "b")[1:] == [SKIP, "B"]


def test_watched_values_are_computed_again_when_the_folder_changes(tmp_path: Path) -> None:
    calls = []
    watched = Watched(lambda: calls.append(1) or sorted(p.name for p in tmp_path.iterdir()), tmp_path)
    assert watched() == watched() == []
    (tmp_path / "a").write_text("", encoding="utf-8")
    assert watched() == ["a"]
    assert len(calls) == 2
