"""A double click asks once, and nothing jumps until the answer is there; the tests of web UIs take these tests too, for
their versions of gradio."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import gradio as gr

from lib_lora.access import changes
from lib_lora.errors import UserError
from lib_lora.ui import compat, html
from lib_lora.ui.actions import act, panel
from tests.browser.window import window

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "javascript" / f"lora_workbench_{name}.js" for name in ("ask", "once")]
SCRIPTS = "".join(path.read_text(encoding="utf-8") for path in FILES)
BUTTON = "document.querySelector('.lw-once')"


def test_a_button_takes_no_second_click_until_the_answer_is_there(context: BrowserContext) -> None:
    asked: list[int] = []
    answer = Event()

    @changes
    def slow() -> str:
        asked.append(len(asked))
        assert answer.wait(60)
        if len(asked) == 2:
            raise UserError("Not so", fix="Ask again")
        return html.message(f"answer {len(asked)}")

    with compat.page(title="once") as blocks:
        button, message = gr.Button("Ask"), panel("lw_message")
        act(button.click, slow, [], message)
        compat.listen(blocks.load, None, js=f"() => {{ {SCRIPTS} }}")
    compat.launch(blocks)
    with window(context, blocks.local_url, own=False) as page:
        page.wait_for_function("window.loraWorkbench?.answered")
        for said in ("answer 1", "Not so", "answer 3"):
            answer.clear()
            page.locator(".lw-once").dblclick()
            page.evaluate(f"{BUTTON}.click()")
            page.keyboard.press("Enter")
            assert page.evaluate(f"{BUTTON}.getAttribute('aria-disabled')") == "true"
            answer.set()
            page.get_by_text(said).wait_for()
            page.wait_for_function(f"!{BUTTON}.hasAttribute('aria-disabled')")
    blocks.close()
    assert len(asked) == 3


def test_a_button_takes_the_next_click_as_soon_as_the_answer_is_there(context: BrowserContext) -> None:
    """Whatever else of the page is brought up to date after it."""
    asked: list[int] = []
    later = Event()

    @changes
    def quick() -> str:
        asked.append(len(asked))
        return html.message(f"answer {len(asked)}")

    @changes
    def slow() -> str:
        assert later.wait(60)
        return "brought up to date"

    with compat.page(title="next") as blocks:
        button, message, rest = gr.Button("Ask"), panel("lw_message"), panel("lw_rest")
        done = act(button.click, quick, [], message)
        compat.listen(done.then, slow, [], [rest])
        compat.listen(blocks.load, None, js=f"() => {{ {SCRIPTS} }}")
    compat.launch(blocks)
    with window(context, blocks.local_url, own=False) as page:
        page.wait_for_function("window.loraWorkbench?.answered")
        for said in ("answer 1", "answer 2"):
            page.locator(".lw-once").click()
            page.get_by_text(said).wait_for(timeout=20_000)
        later.set()
        page.get_by_text("brought up to date").wait_for()
    blocks.close()
    assert len(asked) == 2


def test_a_click_that_came_to_nothing_does_not_take_the_next_one_along(context: BrowserContext) -> None:
    with compat.page(title="lost") as blocks:
        button, message = gr.Button("Ask"), panel("lw_message")
        gr.Button("Silent", elem_id="silent", elem_classes=["lw-once"])
        act(button.click, changes(lambda: html.message("answer")), [], message)
        compat.listen(blocks.load, None, js=f"() => {{ {SCRIPTS} }}")
    compat.launch(blocks)
    with window(context, blocks.local_url, own=False) as page:
        page.wait_for_function("window.loraWorkbench?.answered")
        page.evaluate(
            "window.heard = 0; document.addEventListener('click', (e) => heard += e.target.closest('#silent') ? 1 : 0)"
        )
        page.get_by_role("button", name="Ask").click()
        page.get_by_text("answer").wait_for()
        press = "document.querySelector('#silent').click()"
        page.evaluate(f"{press}, {press}")
        assert page.evaluate("heard") == 1
        page.wait_for_timeout(3100)
        page.evaluate(press)
        assert page.evaluate("heard") == 2
    blocks.close()


def test_what_waits_for_an_answer_keeps_its_size(context: BrowserContext) -> None:
    """gradio 3 and 4 make HTML 96 px high and fade it meanwhile; the line of the job would jump at every click."""
    asked, answer = Event(), Event()

    @changes
    def slow() -> str:
        asked.set()
        assert answer.wait(60)
        return html.message("told")

    with compat.page(title="size") as blocks:
        gr.HTML(f"<style>{(ROOT / 'style.css').read_text(encoding='utf-8')}</style>", visible=True)
        with gr.Column(elem_id="lw_page"):
            button, message = gr.Button("Ask", elem_id="ask"), gr.HTML(html.message("before"), elem_id="message")
        compat.listen(button.click, slow, [], [message])
        compat.listen(blocks.load, None, js=f"() => {{ {SCRIPTS} window.ready = true; }}")
    compat.launch(blocks)
    with window(context, blocks.local_url, own=False) as page:
        page.wait_for_function("window.ready")
        height = page.locator("#message").first.bounding_box()["height"]
        for _ in range(20):  # the first clicks may come before gradio listens
            page.locator("#ask").click()
            if asked.wait(3):
                break
        assert asked.is_set()
        page.wait_for_timeout(300)
        assert page.locator("#message").first.bounding_box()["height"] == height
        shown = page.get_by_text("before")
        assert shown.evaluate("e => getComputedStyle(e.closest('.prose').parentElement).opacity") == "1"
        answer.set()
        page.get_by_text("told").wait_for()
    blocks.close()
