"""The strip above the tabs shows the checkpoint that is loaded."""

from __future__ import annotations

from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.ui.status import StatusStrip
from lib_lora.workbench import Workbench


def test_the_checkpoint_is_the_loaded_one(tiny_host: StandaloneHost) -> None:
    strip = StatusStrip(Workbench(StandaloneHost(tiny_host.paths)))
    assert strip.checkpoint() == [None]
    strip.workbench.host.load("tiny")
    assert strip.checkpoint() == ["tiny"]
