"""The page learns what changed in the process, without being touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from lib_lora.access import looks
from lib_lora.ui import compat
from lib_lora.ui.app import scripts
from lib_lora.ui.poll import Poller
from tests.browser.window import window

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_parts_that_change_are_shown(context: BrowserContext) -> None:
    state = {"one": "first", "two": "same"}
    poller = Poller()
    with compat.page() as page:
        with gr.Column(elem_id="lw_page"):
            gr.HTML("page")
            poller.build()
            for name in state:
                poller.keep(lambda name=name: [f"<p>{state[name]}</p>"], [gr.HTML(elem_id=name)])
        poller.connect(page)
        compat.listen(page.load, None, js=f"() => {{ {scripts()} }}")
    poller.news.serve_on(compat.launch(page, server_name="127.0.0.1"))
    with window(context, page.local_url) as tab:
        for text in ("first", "second", "third"):
            state["one"] = text
            tab.locator("#one").filter(has_text=text).wait_for()
        assert tab.locator("#two").inner_text() == "same"
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.wait_for_event("request")
        assert asked
        tab.evaluate(HIDE, True)  # a page that nobody sees asks for nothing
        tab.wait_for_timeout(500)  # what was on its way
        asked.clear()
        tab.wait_for_timeout(2500)
        assert not asked
        state["one"] = "fourth"
        tab.evaluate(HIDE, False)
        tab.locator("#one").filter(has_text="fourth").wait_for()
    page.close()


def test_a_handler_that_fails_is_told_until_it_does_not(context: BrowserContext) -> None:
    """By the page itself: in gradio 6 no answer of ours comes by gradio's own way, which would tell of it."""
    asked: list[int] = []

    @looks
    def fails_once() -> str:
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError("a fault of ours")
        return "<p>done</p>"

    with compat.page() as page:
        with gr.Column(elem_id="lw_page"):
            button, shown = gr.Button("Ask"), gr.HTML("")
        compat.listen(button.click, fails_once, [], [shown])
        compat.listen(page.load, None, js=f"() => {{ {scripts()} window.ready = true; }}")
    compat.launch(page, server_name="127.0.0.1")
    with window(context, page.local_url) as tab:
        tab.wait_for_function("window.ready")
        tab.get_by_role("button", name="Ask").click()
        tab.wait_for_selector("html.lw-failing")
        tab.get_by_role("button", name="Ask").click()
        tab.get_by_text("done").wait_for()
        assert not tab.locator("html.lw-failing").count()
    page.close()


def test_an_open_list_does_not_move_below_the_pointer(context: BrowserContext) -> None:
    """A file that was saved meanwhile came on top of the list, and the click took the entry above the one meant."""
    names = ["second", "first"]
    poller = Poller()
    with compat.page() as page:
        with gr.Column(elem_id="lw_page"):
            poller.build()
            field = gr.Dropdown(names, label="LoRA", elem_id="field", interactive=True)
            shown = gr.HTML(elem_id="shown")
            poller.keep(lambda: [gr.update(choices=list(names)), f"<p>{len(names)}</p>"], [field, shown])
        poller.connect(page)
        compat.listen(page.load, None, js=f"() => {{ {scripts()} }}")
    poller.news.serve_on(compat.launch(page, server_name="127.0.0.1"))
    with window(context, page.local_url) as tab:
        tab.locator("#shown").filter(has_text="2").wait_for()
        tab.locator("#field input").click()
        entries = tab.locator(".options .item")
        entries.first.hover()
        names.insert(0, "third")
        tab.wait_for_timeout(2500)
        assert [text.split()[-1] for text in entries.all_inner_texts()] == ["second", "first"]
        tab.mouse.move(1, 1)
        tab.locator("#shown").filter(has_text="3").wait_for()
