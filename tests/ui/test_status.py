"""The strip above the tabs shows the checkpoint that is loaded, and what is at work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.jobs.job import Progress
from lib_lora.jobs.views import CANCELLED, DONE
from lib_lora.ui.job_view import CANCEL, progress
from lib_lora.ui.status import StatusStrip
from lib_lora.workbench import Workbench
from lib_lora.workbench.checking import Checking
from tests.training.worlds import image_folder, small_config


def test_the_checkpoint_is_the_loaded_one(tiny_host: StandaloneHost) -> None:
    strip = StatusStrip(Workbench(StandaloneHost(tiny_host.paths)))
    assert strip.checkpoint() == [None]
    strip.workbench.host.load("tiny")
    assert strip.checkpoint() == ["tiny"]


def test_a_check_is_seen_and_can_be_stopped(tiny_host: StandaloneHost, tmp_path: Path) -> None:
    """It went on for minutes while the strip said that all was done."""
    bench = Workbench(tiny_host)
    strip = StatusStrip(bench)
    seen: list[str] = []

    def look(*_: Any) -> None:
        line, _pause, stop = strip.now()
        seen.append(line)
        assert stop["interactive"]
        strip.end()

    with tiny_host.training_session() as model:
        layers = list(model.layers().values())
    handle = layers[0].register_forward_pre_hook(look)
    with pytest.raises(UserError, match="The check was stopped"):
        bench.check(small_config(image_folder(tmp_path / "set")))
    handle.remove()
    assert len(seen) == 1 and "Check of mira: timing a step" in seen[0]
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in layers)
    assert "Nothing is running" in strip.now()[0] and not strip.now()[2]["interactive"]
    assert bench.check(small_config(tmp_path / "set")).seconds > 0


def test_the_button_beside_a_bar_ends_that_job(tiny_host: StandaloneHost) -> None:
    bench = Workbench(tiny_host)
    strip, go = StatusStrip(bench), Event()

    def work(_host: Any) -> Iterator[Progress]:
        go.wait(60)
        yield Progress(0, 9)

    first, second = (bench.submit("model", name, work) for name in ("first", "second"))
    bar = progress(bench.queue.view(second), cancels=True)
    number = re.search(f'data-lw-into="{CANCEL}" data-lw-pick="([^"]+)"', bar)
    assert (
        number is not None and 'aria-label="Cancel: second"' in bar and CANCEL not in progress(bench.queue.view(second))
    )
    for picked in ("", "99|1", f"{number[1]}|2", f"{number[1]}|3"):  # gradio also says when it empties the field
        assert strip.cancel(picked) == ""
    go.set()
    assert [bench.queue.wait(job, 60).state for job in (first, second)] == [DONE, CANCELLED]
    assert "Cancelled" in progress(bench.queue.view(second), cancels=True)


def test_a_newer_check_ends_the_one_before() -> None:
    checking = Checking()
    with checking.begun("mira") as old:
        with checking.begun("rin") as new:
            new("reading the folder")
            assert checking.note() == "Check of rin: reading the folder"
            with pytest.raises(UserError, match="newer check"):
                old("timing a step")
        assert checking.note() is None
