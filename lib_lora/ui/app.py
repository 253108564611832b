"""The page: a status strip and one tab for each part of the work."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from lib_lora.access import READ_ONLY, Access, under
from lib_lora.api.doors import DoorKeeper, Doors
from lib_lora.api.routes import add_api
from lib_lora.errors import UserError
from lib_lora.ui import compat, html
from lib_lora.ui.actions import panel
from lib_lora.ui.blocks_tab import BlocksTab
from lib_lora.ui.dataset.uploads import Uploads
from lib_lora.ui.dataset_tab import DatasetTab
from lib_lora.ui.faults import Faults
from lib_lora.ui.files import Pictures
from lib_lora.ui.glances import GLANCES
from lib_lora.ui.grid_tab import GridTab
from lib_lora.ui.head_script import HeadScript
from lib_lora.ui.merge_tab import MergeTab
from lib_lora.ui.poll import News, Poller
from lib_lora.ui.publish_tab import PublishTab
from lib_lora.ui.runs_tab import RunsTab
from lib_lora.ui.status import StatusStrip
from lib_lora.ui.train_tab import TrainTab
from lib_lora.ui.way import Way
from lib_lora.ui.words import Words
from lib_lora.workbench import Workbench

ROOT = Path(__file__).parents[2]
SILENT = UserError("The program does not answer", fix="See whether it is still running; the page goes on by itself")
FAILED = UserError("Something went wrong in the program", fix="Try again; its console has the whole report")
ADDRESS = "127.0.0.1"
ORANGE = "#b94a06"  # of primary buttons: white on it can be read (5.2 to 1), unlike on gradio's own (2.8)
PATH_FIELDS = frozenset(
    (
        "lw_browse",
        "lw_ds_browse",
        "lw_ds_folders",
        "lw_ds_tagger_folder",
        *(f"lw_train_{name}" for name in ("data_dir", "reg_dir", "mask_dir", "slider_after")),
        "lw_slider_before",
        "lw_slider_after_folder",
    )
)


def build_page(
    workbench: Workbench,
    pictures: Pictures,
    *,
    standalone: bool,
    access: Access | None = None,
    news: News | None = None,
    uploads: Uploads | None = None,
) -> gr.Blocks:
    """All tabs, connected.

    Args:
        standalone: also bring the style sheet and the script, which a web UI would load by itself.
        access: what may be done from here; by default everything.
        uploads: takes dropped pictures, where paths are not restricted; is served on the page's app.
        news: is served on the page's app, so that the page learns what changed.
    """
    access = (access or Access()).within(*workbench.host.paths.folders)
    poller = Poller(news)
    dataset = DatasetTab(workbench, pictures, None if access.confined else uploads)
    train, grid = TrainTab(workbench, pictures), GridTab(workbench, pictures)
    blocks, merge, runs = BlocksTab(workbench, pictures), MergeTab(workbench, pictures), RunsTab(workbench, pictures)
    publish = PublishTab(workbench, pictures, None if access.confined else uploads)
    status, way = StatusStrip(workbench), Way(workbench, dataset.pages.opened)
    looks = {"theme": theme(), "fill_width": True} if standalone else {}
    make = compat.page if standalone else compat.part
    with make(title="LoRA Workbench", **looks) as page:
        if standalone:
            gr.HTML(f"<style>{_text('style.css')}</style>", elem_classes=["lw-hidden"])
        with gr.Column(elem_id="lw_page"):
            if access.read_only:
                gr.HTML(html.error_message(READ_ONLY), elem_id="lw_read_only")
            status.build()
            poller.build()
            way.build()
            panel("lw_away", html.error_message(SILENT))
            panel("lw_failed", html.error_message(FAILED))
            damaged = panel("lw_faults")
            with gr.Tabs(elem_id="lw_tabs") as tabs:
                for name, key, tab in (
                    ("Dataset", "dataset", dataset),
                    ("Train", "train", train),
                    ("Epoch grid", "grid", grid),
                    ("Blocks", "blocks", blocks),
                    ("Merge", "merge", merge),
                    ("Publish", "publish", publish),
                    ("Runs", "runs", runs),
                ):
                    with gr.TabItem(name, id=key, elem_id=f"lw_tab_{key}"):
                        tab.build()
            if standalone:  # a web UI has a setting for it
                gr.HTML(Words().switch(), elem_id="lw_languages")
        if access.hide_paths:
            _hide(page, PATH_FIELDS)
        with under(access):
            status.connect(poller)
            poller.keep(Faults(workbench.host.paths.places).now, [damaged])
            dataset.connect(page, poller, tabs, train)
            way.connect(poller, dataset.on)
            train.connect(page, poller, tabs, grid.run)
            grid.connect(poller, tabs, blocks.lora, publish.lora)
            blocks.connect(poller, tabs, merge)
            merge.connect(poller)
            publish.connect(poller)
            runs.connect(poller, tabs, grid.run, train.form, train.message, merge)
            poller.connect(page)
        if standalone:
            compat.listen(page.load, None, js=f"() => {{ {scripts()} }}")
    compat.check_connected(page)
    return page


def _hide(page: gr.Blocks, elements: Collection[str]) -> None:
    for component in page.blocks.values():
        if getattr(component, "elem_id", None) in elements:
            component.visible = False


@dataclass(frozen=True)
class Server:
    """A page that is being served at ``address``."""

    page: gr.Blocks
    address: str

    def close(self) -> None:
        """Stop serving; jobs that run go on in this process."""
        self.page.close()


def serve(workbench: Workbench, port: int = 7861, *, host: str = ADDRESS) -> Server:
    """Show the tabs in a browser; returns at once, and serves as long as the process lives.

    Args:
        port: the first one that is tried; the next free one is taken.
        host: ``127.0.0.1`` lets only this machine in.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    pictures, news = Pictures(workbench.host.paths), News()
    uploads = Uploads(workbench.host.paths.places)
    page = build_page(workbench, pictures, standalone=True, news=news, uploads=uploads)
    early = Middleware(HeadScript, script=_text("lib_lora/ui/standalone.js"))
    app = compat.launch(
        page,
        server_name=host,
        server_port=_free_port(host, port),
        theme=theme(),
        app_kwargs={"middleware": [Middleware(DoorKeeper, doors=Doors(names=(host,))), early]},
    )
    pictures.serve_on(app)
    news.serve_on(app)
    GLANCES.serve_on(app)
    Words().serve_on(app)
    uploads.serve_on(app)
    add_api(app, workbench, Access())
    server = Server(page, page.local_url)
    print(f"LoRA Workbench is at {server.address} (Ctrl+C ends it)", flush=True)
    return server


def theme() -> Any:
    """gradio's default with the fonts of the system, so that nothing is fetched, and buttons that can be read."""
    sans, mono = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    plain = gr.themes.Default(font=sans, font_mono=mono, spacing_size="sm", text_size="md")
    names = (f"button_primary_background_fill{end}" for end in ("", "_dark", "_hover", "_hover_dark"))
    return plain.set(**dict.fromkeys(names, ORANGE), button_primary_text_color="white")


def _free_port(host: str, first: int, tries: int = 50) -> int:
    """The first port from ``first`` that nobody listens on."""
    for port in range(first, first + tries):
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) != 0:
                return port
    return first


def scripts() -> str:
    """All scripts, as a web UI would load them."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "javascript").glob("*.js")))


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
