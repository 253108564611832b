"""The page in a browser: what it costs while nobody does anything, and how soon a click is answered.

A set of paper dolls and a run stand on a temporary disk; no model is loaded. The seconds are those of the browser's own
processes, as the kernel counts them; the milliseconds are on the clock, from the click to the change in the page.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import gradio as gr

from lib_lora.demo.dolls import write_dolls
from lib_lora.models.base import HostPaths
from lib_lora.training.config import TrainConfig
from lib_lora.ui import compat
from lib_lora.ui.app import ADDRESS, serve
from lib_lora.workbench import Workbench

IDLE = 60.0  # s
SETTLED = 20.0  # s, until the page has left its lively first seconds
TIMES = 7  # clicks of a kind
BLANK = "about:blank"
TICK = os.sysconf("SC_CLK_TCK")
ANSWER = """async ([click, answer]) => {
    const find = (selector) => document.querySelector(selector), done = new Function("find", `return ${answer}`);
    const start = performance.now();
    find(click).click();
    while (!done(find)) {
        if (performance.now() - start > 30000) throw new Error(answer);
        await new Promise((go) => setTimeout(go, 2));
    }
    return performance.now() - start;
}"""
THUMB = "#lw_ds_pictures .lw-thumb:nth-child({})"
TAB = "#lw_tabs button[role=tab]:nth-of-type({})"


def run() -> dict[str, float]:
    """Measure once.

    Returns:
        ``idle_share``: browser seconds a second of each of two pages in view; ``idle_hidden_share`` of one that is not,
        ``idle_hidden_gradio_share`` of gradio's page with one field in its place, ``idle_browser_share`` of no page.
        ``…_ms``: median time to the answer of clicks on a picture (the picture, then its caption), a run, and a tab.
        ``load``: of the machine over the last minute, before; above the number of cores the times say little.
    """
    from tests.browser.window import chromium

    with tempfile.TemporaryDirectory() as temporary:
        found = {"load": os.getloadavg()[0]}
        bench = _workbench(Path(temporary))
        server, gradio = serve(bench, 7980), _gradio()
        try:
            with chromium() as browser:
                context = browser.new_context(viewport={"width": 1280, "height": 900})
                page = context.new_page()
                page.set_default_timeout(120_000)
                page.goto(server.address)
                page.wait_for_selector("#lw_job .lw-job-line")
                found |= _clicks(page, write_dolls(bench.host.paths.places.sets))
                second = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
                second.goto(server.address)
                second.wait_for_selector("#lw_job .lw-job-line")
                found["idle_share"] = _idle(IDLE) / 2
            for name, shown in (
                ("idle_hidden_share", server.address),
                ("idle_hidden_gradio_share", gradio.local_url),
                ("idle_browser_share", BLANK),
            ):
                with _behind_another(shown, Path(temporary) / name):
                    found[name] = _idle(IDLE / 2)
        finally:
            server.close()
            gradio.close()
        return found


def _gradio() -> Any:
    """A page of gradio's that is served, with nothing of ours."""
    with compat.page() as page:
        gr.Textbox()
    compat.launch(page, server_name="127.0.0.1")
    return page


@contextmanager
def _behind_another(address: str, profile: Path) -> Iterator[None]:
    """A browser with a page at ``address`` in a tab that nobody sees; playwright's pages believe that they are seen."""
    from tests.browser.window import ARGUMENTS, PROGRAMS

    program = next(filter(None, map(shutil.which, PROGRAMS)))
    options = ("--remote-debugging-port=0", f"--user-data-dir={profile}", "--window-size=1280,900")
    browser = subprocess.Popen([program, *ARGUMENTS, *options, address], stderr=subprocess.DEVNULL)
    try:
        time.sleep(SETTLED)
        port = (profile / "DevToolsActivePort").read_text(encoding="utf-8").split()[0]
        urlopen(Request(f"http://{ADDRESS}:{port}/json/new?{BLANK}", method="PUT")).close()
        yield
    finally:
        browser.terminate()
        browser.wait(30)


def _workbench(folder: Path) -> Workbench:
    paths = HostPaths(*(folder / name for name in ("loras", "models", "runs", "data")))
    names: dict[str, Any] = dict(
        checkpoints=list, taggers=list, upscalers=lambda: ["Lanczos"], samplers=lambda: ["Euler"]
    )
    bench = Workbench(SimpleNamespace(shows_checkpoints=False, paths=paths, info=lambda: None, literal=str, **names))  # type: ignore[arg-type]
    for name in ("first", "second"):
        run = bench.runs.create(TrainConfig(name=name, data_dir="x", model="x"))
        run.append_metrics([{"step": s, "loss": 1 / (s + 9), "lr": 1e-4, "grad_norm": 1.0} for s in range(1, 1500)])
        run.set_result("finished", 1499)
    return bench


def _clicks(page: Any, folder: Path) -> dict[str, float]:
    """Medians, in ms; the first click of each kind is not counted: it builds what is in a tab."""

    def answers(click: str, answer: str, other: str, back: str) -> float:
        times = []
        for _ in range(TIMES + 1):
            times.append(page.evaluate(ANSWER, [click, answer]))
            page.evaluate(ANSWER, [other, back])
        return median(times[1:])

    page.locator("#lw_ds_folders textarea").fill(str(folder))
    page.locator("#lw_ds_open").click()
    page.wait_for_selector("#lw_ds_pictures .lw-thumb")
    shown = "find('#lw_ds_current img').alt === '{:02}.png'".format
    second, first = THUMB.format(2), THUMB.format(1)
    captions = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("0[12].txt"))]
    said = [f"find('#lw_ds_caption textarea').value === {text!r}" for text in captions]
    found = {
        "picture_ms": answers(second, shown(2), first, f"{shown(1)} && {said[0]}"),
        "caption_ms": answers(second, f"{shown(2)} && {said[1]}", first, f"{shown(1)} && {said[0]}"),
    }
    opened = "find('#lw_tab_{}')?.getClientRects().length > 0".format
    found["tab_ms"] = answers(TAB.format(2), opened("train"), TAB.format(1), opened("dataset"))
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.wait_for_selector("#lw_runs_table .lw-runs")
    row = "#lw_runs_table tbody tr:nth-child({}) [data-lw-into=lw_runs_pick]".format
    title = "find('#lw_runs_details .lw-title')?.textContent.startsWith('{}')".format
    found["run_ms"] = answers(row(2), title("first"), row(1), title("second"))
    return found


def _idle(seconds: float) -> float:
    """Seconds of the browser's processes per second."""
    time.sleep(SETTLED)
    before, start = _spent(), time.monotonic()
    time.sleep(seconds)
    return round((_spent() - before) / (time.monotonic() - start), 4)


def _spent() -> float:
    """CPU seconds of all programs that this one has started, and those they have, without playwright's driver."""
    return sum(_ticks(pid) for pid in _below(os.getpid()) if "chrom" in _name(pid)) / TICK


def _below(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from _below(child)


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
