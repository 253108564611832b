"""The page learns what changed in the process, without being touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

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
        tab.wait_for_timeout(2500)
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
