"""The whole way as a newcomer goes it, from a dropped folder to a published one: clicks, typed fields, and pictures.

The miniature trains the paper dolls; some minutes on a free core. The pictures are those of README and docs: they show
a data folder of nobody, ``DATA``, which is made for it and must not exist. All other states (empty, busy, dark, narrow)
go to ``STATES``, to be looked at.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from lib_lora.demo import CHECKPOINT
from lib_lora.demo.dolls import write_dolls
from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.ui.app import serve
from lib_lora.workbench import Workbench

DATA = Path("/home/ada/lora")
DOCS = Path(__file__).parents[1] / "docs"
STATES = Path(tempfile.gettempdir()) / "lora-workbench-states"
PORT = 7960
WIDTHS = (1280, 900, 600)
SIZE = {"width": WIDTHS[0], "height": 900}
COLOURS = 256  # of a picture in docs: a few tens of kB
LONGEST = 1800  # s, of a job
MINIATURE = "miniature"
OPEN = """name => Array.from(document.querySelectorAll("#lw_tabs button[role=tab], #lw_tabs .overflow-menu button"))
    .find((button) => button.textContent.trim() === name).click()"""
CELL = 4  # of the grid: the one that is chosen, counted from 0


def run() -> dict[str, float]:
    """Go it once.

    Returns:
        ``clicks`` and ``typed_fields`` from the dropped pictures to the published folder; ``pictures`` written to docs.
    """
    from tests.browser.window import chromium

    if DATA.exists():
        raise UserError("This folder is made for the pictures, and is there already", where=DATA, fix="Move it away")
    STATES.mkdir(exist_ok=True)
    with _workbench() as bench, chromium() as browser:
        server = serve(bench, PORT)
        try:
            visitor = Visitor(browser.new_context(viewport=SIZE), server.address, bench)
            return visitor.go()
        finally:
            server.close()


class Visitor:
    """Counts what its hands do; what they do only for a picture is not counted."""

    def __init__(self, context: Any, address: str, bench: Workbench):
        self.context, self.bench = context, bench
        context.set_default_timeout(180_000)
        self.page = context.new_page()
        self.page.goto(address)
        self.page.wait_for_selector("#lw_job .lw-job-line")
        self.clicks, self.typed, self.pictures = 0, 0, 0

    def go(self) -> dict[str, float]:
        self.look("empty")
        with tempfile.TemporaryDirectory() as folder:
            self.drop("#lw_tab_dataset", write_dolls(Path(folder)))
            self.page.wait_for_selector("#lw_ds_pictures .lw-thumb:nth-child(24)")
            time.sleep(3)
        self.look("dataset", "tab-dataset")
        self.step(2)
        self.look("train before")
        self.click("#lw_train_start")
        self.settle("training")
        self.look("train", "tab-train")
        self.click("#lw_train_compare")
        self.page.locator("#lw_grid_plan", has_text="Will make").wait_for()
        self.look("grid before")
        self.click("#lw_grid_make")
        self.settle("grid")
        self.click(f"[data-lw-cell] >> nth={CELL}")
        self.page.locator("#lw_grid_chosen", has_text="Chosen").wait_for()
        self.page.locator("#lw_grid_bar").evaluate("bar => scrollTo(0, bar.getBoundingClientRect().top + scrollY - 54)")
        self.look("grid", "tab-grid")
        self.click("#lw_grid_publish")
        self.page.wait_for_selector("#lw_inspect_blocks")
        self.look("publish", "tab-publish")
        self.click("#lw_publish_make")
        self.page.locator("#lw_publish_message", has_text="Published").wait_for()
        self.look("published")
        counted = {"clicks": self.clicks, "typed_fields": self.typed}
        self.others()
        return counted | {"pictures": self.pictures}

    def others(self) -> None:
        """What is beside the way, and the same in the dark and in a narrow window."""
        self.step(4)
        self.page.wait_for_selector("#lw_blocks_sliders input[type=range]")
        self.click("#lw_blocks_preview")
        self.settle("preview")
        self.look("blocks", "tab-blocks")
        self.tab("runs")
        self.page.locator("#lw_runs_table [data-lw-into=lw_runs_pick]").first.click()
        self.page.wait_for_selector("#lw_runs_details figure")
        self.look("runs", "tab-runs")
        looks = [(f"{width} px {theme}", f"?__theme={theme}", width) for width in WIDTHS for theme in ("light", "dark")]
        for name, theme, width in looks:
            page = self.context.new_page()
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(self.page.url.partition("?")[0] + theme)
            page.wait_for_selector("#lw_job .lw-job-line")
            for tab in ("Dataset", "Train", "Epoch grid", "Blocks", "Merge", "Publish", "Runs"):
                page.evaluate(OPEN, tab)
                time.sleep(2)
                page.screenshot(path=STATES / f"{name} {tab}.png")
            page.close()

    # -- hands and eyes -----------------------------------------------------------------------------------------------

    def click(self, selector: str) -> None:
        self.clicks += 1
        self.page.locator(selector).first.click()

    def step(self, number: int) -> None:
        """Click a step of the strip."""
        self.click(f"#lw_way li:nth-child({number}) button")

    def tab(self, key: str) -> None:
        self.page.locator(f"#lw_tab_{key}-button").first.click()

    def drop(self, selector: str, path: Path) -> None:
        """Drop a folder from outside, as a file manager does."""
        hand, box = self.context.new_cdp_session(self.page), self.page.locator(selector).bounding_box()
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 200}
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            hand.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})

    def settle(self, name: str) -> None:
        """Wait until the job that was just begun has ended; photographed on its way."""
        self.page.wait_for_selector("#lw_job [data-state=running]")
        self.look(f"{name} begins")
        self.bench.queue.wait(self.bench.queue.jobs()[-1].id, LONGEST)
        self.page.wait_for_selector("#lw_job [data-state=idle]")
        self.page.evaluate("scrollTo(0, 0)")

    def look(self, name: str, docs: str = "") -> None:
        """Photograph the window, for docs too."""
        time.sleep(2)
        path = STATES / f"{name}.png"
        self.page.screenshot(path=path)
        if docs:
            with Image.open(path) as image:
                small = image.convert("RGB").quantize(COLOURS, kmeans=1)
            small.save(DOCS / f"{docs}.png", optimize=True)
            self.pictures += 1


@contextmanager
def _workbench() -> Iterator[Workbench]:
    """With the miniature, on a data folder that is gone afterwards."""
    DATA.mkdir(parents=True)
    try:
        paths = HostPaths(DATA / "loras", DATA / "checkpoints", DATA / "runs", DATA)
        host = StandaloneHost(paths, [CHECKPOINT])
        host.load(MINIATURE)
        yield Workbench(host)
    finally:
        shutil.rmtree(DATA, ignore_errors=True)
