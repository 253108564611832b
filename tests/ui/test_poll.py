from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from lib_lora.ui.compat import SKIP
from lib_lora.ui.poll import Poller, Watched


def test_only_what_changed_is_sent() -> None:
    state = {"loss": "1.0"}
    with gr.Blocks() as page:
        poller = Poller()
        poller.build()
        one, two, three, four, field = gr.HTML(), gr.HTML(), gr.HTML(), gr.HTML(), gr.Textbox()
        poller.keep(lambda: [state["loss"]], [one])
        poller.keep(lambda text: [text.upper()], [two], [field])
        poller.keep(lambda: [state["loss"], "same"], [three, four])
        poller.connect(page)
    *sent, first, second, third, fourth = poller.everything("a")
    assert (first, second, third, fourth) == ("1.0", "A", "1.0", "same")
    assert poller.news(*sent, "a") == ""
    assert poller.news(*sent, "b") == "1"
    state["loss"] = "0.9"
    assert poller.news(*sent, "a") == "0,2"
    assert press(page, "lw_poll_2")(sent[2]) == [["0.9", "same"], "0.9", SKIP]
    assert press(page, "lw_poll_1")([], "b") == [["B"], "B"]


def press(page: gr.Blocks, elem_id: str) -> Callable[..., list[Any]]:
    """The handler of a button."""
    number = next(n for n, block in page.blocks.items() if getattr(block, "elem_id", None) == elem_id)
    return next(fn.fn for fn in page.fns.values() if (number, "click") in fn.targets)


def test_watched_values_are_computed_again_when_the_folder_changes(tmp_path: Path) -> None:
    calls = []
    watched = Watched(lambda: calls.append(1) or sorted(p.name for p in tmp_path.iterdir()), tmp_path)
    assert watched() == watched() == []
    (tmp_path / "a").write_text("", encoding="utf-8")
    assert watched() == ["a"]
    assert len(calls) == 2


def test_what_gradio_does_to_an_update_changes_nothing_that_is_kept():
    poller = Poller()
    poller.keep(lambda: [gr.update(value="Pause", interactive=False)], [None])
    sent, update = poller.everything()
    update.pop("value")
    assert poller.news(sent) == ""
