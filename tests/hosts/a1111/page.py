"""The page of a web UI around our tab: its own tabs beside ours, our script and style sheet in its head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

ROOT = Path(__file__).parents[3]
HOST_SCRIPT = """
function gradioApp() {
    const app = document.getElementsByTagName("gradio-app")[0] || document;
    return app.shadowRoot ? app.shadowRoot : app;
}
function switch_to_txt2img() { gradioApp().querySelector("#tabs").querySelectorAll("button")[0].click(); }
"""


@contextmanager
def web_ui_page(tabs: Sequence[tuple[gr.Blocks, str, str]], on_started: Callable[[Any, Any], None]) -> Iterator[str]:
    """The address of a running page with txt2img and with ``tabs``, built and started in the web UI's order."""
    looks = gr.themes.Default(font=["sans-serif"], font_mono=["monospace"])  # names, for which nothing is fetched
    with gr.Blocks(analytics_enabled=False, theme=looks, title="Stable Diffusion") as demo, gr.Tabs(elem_id="tabs"):
        with gr.TabItem("txt2img", id="txt2img", elem_id="tab_txt2img"):
            gr.Textbox(label="Prompt", elem_id="txt2img_prompt", lines=3)
        for page, label, element in tabs:
            with gr.TabItem(label, id=element, elem_id=f"tab_{element}"):
                page.render()
    demo.queue(64) if "concurrency_count" in gr.Blocks.queue.__code__.co_varnames else demo.queue()
    with _linked():
        app, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, show_api=False, server_name="127.0.0.1")
        try:
            on_started(demo, app)
            yield address
        finally:
            demo.close()


@contextmanager
def _linked() -> Iterator[None]:
    """Add scripts and styles to the page that gradio sends, as the web UI does."""
    original = gr.routes.templates.TemplateResponse
    scripts = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "javascript").glob("*.js")))
    script = "\n".join([HOST_SCRIPT, *scripts])
    style = (ROOT / "style.css").read_text(encoding="utf-8")

    def response(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        answer.body = answer.body.replace(b"</head>", f"<script>{script}</script></head>".encode())
        answer.body = answer.body.replace(b"</body>", f"<style>{style}</style></body>".encode())
        answer.init_headers()
        return answer

    gr.routes.templates.TemplateResponse = response
    try:
        yield
    finally:
        gr.routes.templates.TemplateResponse = original
