from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_lora.adapters.merged import Merged, MergeReport
from lib_lora.errors import UserError
from lib_lora.jobs.views import CANCELLING, JobView
from lib_lora.tools.merge import Reduction
from lib_lora.ui import html
from lib_lora.ui.actions import safely
from lib_lora.ui.compat import SKIP
from lib_lora.ui.job_view import progress
from lib_lora.ui.merge_report import merge_report


def test_merge_report_names_the_worst_block() -> None:
    layer = "lora_unet_up_blocks_1_attentions_2_proj_in"
    report = MergeReport(
        0.004,
        layer,
        0.011,
        {layer: 0.011, "lora_te_text_model_encoder_layers_0_mlp_fc1": 0.001},
        {layer: [2.0, 1.0, 0.1]},
    )
    modules = {layer: {"lora_up.weight": torch.zeros(4, 2), "lora_down.weight": torch.zeros(2, 4)}}
    shown = merge_report(Merged(modules, report, 2, {}), Reduction(2), [0.8, 0.995, 1.0])
    assert "0.40%" in shown
    assert shown.index("OUT05") < shown.index("1.10%</td>") < shown.index("BASE")
    assert "rank 2 keeps 99.0%" in shown and "rank 3 keeps 99.9%" in shown
    assert "All 1 layer" in shown
    exact = merge_report(Merged(modules, MergeReport(warnings=["It overflows"]), 2, {}), Reduction())
    assert "exact" in exact and "It overflows" in exact and "does not apply" not in exact
    full = merge_report(Merged({layer: {"diff": torch.zeros(4, 4)}}, MergeReport(), 0, {}), Reduction())
    assert "sd-scripts and diffusers do not apply full differences" in full


def test_what_goes_wrong_becomes_a_message(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise UserError("No <name>", where="name", fix="Type one")

    def break_down() -> None:
        raise ZeroDivisionError("division by zero")

    message, other = safely(refuse, 1)()
    assert "No &lt;name&gt;" in message
    assert "Type one." in message
    assert other == SKIP
    assert "Unexpected error: division by zero" in safely(break_down, 0)()[0]
    assert "ZeroDivisionError" in caplog.text
    assert safely(lambda: ["", "new"], 1)() == ["", "new"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (4.4, "4 s"), (75, "1 min 15 s"), (1800, "30 min"), (7380, "2 h 03 min")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert html.duration(seconds) == text


def test_how_much_there_is_is_not_said_before_it_is_known() -> None:
    job = JobView(1, "grid", "grid", "running", 0, 0, "", 0.0, None, None, "")
    assert "0/0" not in progress(job) and "·" not in progress(job)
    assert "Reading" in progress(replace(job, note="Reading"))
    assert "3/9 · e1" in progress(replace(job, done=3, total=9, note="e1"))


def test_a_job_that_is_being_cancelled_says_so() -> None:
    job = JobView(1, "grid", "grid", "running", 3, 9, CANCELLING, 1.0, 2.0, None, "")
    assert "Cancelling …" in progress(job) and "3/9" not in progress(job)
