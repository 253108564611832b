"""The base style's panel offers what makes sense, in the order of the steps."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr
import pytest
from PIL import Image

from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import GenerationRequest
from lib_lora.tools.base_style import training_config
from lib_lora.tools.made.spec import PictureSpec
from lib_lora.training.config import TrainConfig
from lib_lora.training.presets import MINIATURE, preset
from lib_lora.ui.base_style_panel import BaseStylePanel
from lib_lora.ui.files import Pictures
from lib_lora.workbench import Workbench
from lib_lora.workbench.base_style import BaseStyle

GENERATE, TRAIN, SUBTRACT = range(2, 5)
SPEC = PictureSpec(("1girl",), 2, GenerationRequest("", width=64, height=64, steps=1), 1)
NAMES = ("BASE", "BASE-000001", "BASEMENT", "style")


@pytest.fixture
def panel(tiny_host: StandaloneHost) -> BaseStylePanel:
    bench = Workbench(tiny_host)
    return BaseStylePanel(bench, Pictures(bench.host.paths))


def draw(panel: BaseStylePanel) -> None:
    """Both pictures, without a model."""
    panel.workbench.host.generate = lambda requests, *_, **__: [Image.new("RGB", (64, 64)) for _ in requests]
    job = BaseStyle(panel.workbench, "BASE").generate("tiny", SPEC)
    assert panel.workbench.queue.wait(job, 60).state == "done"


def colours(shown: list) -> list[str]:
    return [shown[step]["variant"] for step in (GENERATE, TRAIN, SUBTRACT)]


def test_it_is_not_subtracted_from_itself_or_one_of_its_epochs(panel: BaseStylePanel) -> None:
    panel.loras = lambda: list(NAMES)
    *_, styles, _ = panel.now("BASE", None, None)
    assert styles["choices"] == ["BASEMENT", "style"]


def test_the_next_step_stands_out(panel: BaseStylePanel) -> None:
    assert colours(panel.now("BASE", None, None)) == ["primary", "secondary", "secondary"]
    draw(panel)
    assert colours(panel.now("BASE", None, None)) == ["secondary", "primary", "secondary"]


def test_a_miniature_is_trained_as_a_miniature(tiny_host: StandaloneHost) -> None:
    """At 512 px a step of it took 35 s."""
    bench = Workbench(tiny_host)
    info = replace(bench.host.info(), name="mini-dolls")
    bench.host.info, bench.host.checkpoints = lambda: info, lambda: [info.name]
    panel = BaseStylePanel(bench, Pictures(bench.host.paths))
    with gr.Blocks():
        panel.build()
    assert panel.like.value == MINIATURE


def test_a_training_that_was_begun_with_other_settings_is_not_gone_on_with_in_silence(panel: BaseStylePanel) -> None:
    draw(panel)
    folder = panel.workbench.host.paths.places.base_styles / "BASE"
    begun = preset("Style · SD1.5").applied_to(TrainConfig())
    panel.workbench.runs.create(training_config("BASE", folder, begun, "tiny"))
    with pytest.raises(UserError, match="begun with other settings") as error:
        panel.start_training("BASE", MINIATURE)
    assert "Rank" in (error.value.where or "") and not panel.workbench.queue.current()
