from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lib_lora.access import looks
from lib_lora.ui.actions import act
from lib_lora.ui.compat import SKIP
from lib_lora.ui.poll import PAGES, News, Poller, Watched


def test_only_what_changed_is_sent() -> None:
    state = {"loss": "1.0"}
    news = News()
    with gr.Blocks() as page:
        poller = Poller(news)
        poller.build()
        one, two, three, four, field = gr.HTML(), gr.HTML(), gr.HTML(), gr.HTML(), gr.Textbox()
        poller.keep(lambda: [state["loss"]], [one])
        poller.keep(lambda text: [text.upper()], [two], [field])
        poller.keep(lambda: [state["loss"], "same"], [three, four])
        poller.connect(page)
    ask = served(news)
    key, *shown = poller.everything("a")
    assert shown == ["1.0", "A", "1.0", "same"]
    assert ask(key).json() == []
    assert handler(page, field, "change")(key, "b") == "B"  # what a part depends on was changed in the page
    assert ask(key).json() == []
    state["loss"] = "0.9"
    assert ask(key).json() == [0, 2]
    assert press(page, "lw_poll_2")(key) == ["0.9", SKIP]
    assert ask(key).json() == [0]
    other, *_ = poller.everything("a")
    assert (ask(other).json(), ask(key).json()) == ([], [0])


def test_a_field_that_several_parts_follow_asks_once() -> None:
    """Each request costs the page as much as an answer with all of them: five followed the opening of a run."""
    with gr.Blocks() as page:
        poller = Poller()
        poller.build()
        one, two, three, field, other = gr.HTML(), gr.HTML(), gr.HTML(), gr.Textbox(), gr.Textbox()
        poller.keep(lambda text: [text.upper()], [one], [field])
        poller.keep(lambda text, more: [text + more, more], [two, three], [field, other])
        poller.connect(page)
    key, *shown = poller.everything("a", "b", "c")
    assert shown == ["A", "bc", "c"]
    ask = handler(page, field, "change")  # fails where there is not exactly one
    assert ask(key, "x", "x", "c") == ["X", "xc", SKIP]
    assert handler(page, other, "change")(key, "x", "d") == ["xd", "d"]
    assert ask("of another process", "x", "x", "c") == [SKIP] * 3


def test_what_an_answer_has_shown_is_replaced() -> None:
    """The bar of a job that ended before the page asked again said for ever that it waits."""
    state = {"bar": ""}
    news = News()

    @looks
    def start() -> list[str]:
        return ["started", "waits for its turn"]

    with gr.Blocks() as page:
        poller = Poller(news)
        poller.build()
        button, message, bar = gr.Button(), gr.HTML(), gr.HTML()
        act(button.click, start, [], message, [bar])
        poller.keep(lambda: [state["bar"]], [bar])
        poller.connect(page)
    key, *_ = poller.everything()
    assert served(news)(key).json() == []
    assert handler(page, button, "click")()[1] == "waits for its turn"  # and has ended by now
    assert served(news)(key).json() == [0] and press(page, "lw_poll_0")(key) == ""
    assert served(news)(key).json() == []


def test_a_page_that_is_not_known_any_more_is_told() -> None:
    news = News()
    poller = Poller(news)
    poller.keep(lambda: ["x"], [None])
    keys = [poller.everything()[0] for _ in range(PAGES + 1)]
    ask = served(news)
    assert [ask(key).status_code for key in (keys[0], keys[1], "invented")] == [404, 200, 404]


def test_a_part_that_fails_leaves_the_others_alone(caplog: Any) -> None:
    state = {"value": "1"}
    poller = Poller()
    poller.keep(lambda: [1 / 0], [None])
    poller.keep(lambda: [state["value"]], [None])
    key, *shown = poller.everything()
    assert shown == [SKIP, "1"]
    state["value"] = "2"
    page = poller.news.page(key)
    assert page.changed() == page.changed() == [1]
    assert caplog.text.count("ZeroDivisionError: ") == 1


def served(news: News) -> Callable[[str], Any]:
    app = FastAPI()
    news.serve_on(app)
    client = TestClient(app)
    return lambda key: client.get(f"/lora_workbench/news/{key}")


def press(page: gr.Blocks, elem_id: str) -> Callable[..., Any]:
    """The handler of a button."""
    return handler(page, next(b for b in page.blocks.values() if getattr(b, "elem_id", None) == elem_id), "click")


def handler(page: gr.Blocks, component: Any, event: str) -> Callable[..., Any]:
    [found] = (fn for fn in page.fns.values() if (component._id, event) in fn.targets)
    return page.fns[int(re.search(r"ask\((\d+)", found.js)[1])].fn


def test_watched_values_are_computed_again_when_the_folder_changes(tmp_path: Path) -> None:
    calls = []
    watched = Watched(lambda: calls.append(1) or sorted(p.name for p in tmp_path.iterdir()), tmp_path)
    assert watched() == watched() == []
    (tmp_path / "a").write_text("", encoding="utf-8")
    assert watched() == ["a"]
    assert len(calls) == 2


def test_what_gradio_does_to_an_update_changes_nothing_that_is_kept() -> None:
    poller = Poller()
    poller.keep(lambda: [gr.update(value="Pause", interactive=False)], [None])
    key, update = poller.everything()
    update.pop("value")
    assert poller.news.page(key).changed() == []
