"""The panel of generated pictures without a browser: what it draws, shows, keeps and hands on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest
from lib_lora.small_files import write_json
from lib_lora.tools.made.sifting import ASIDE
from lib_lora.tools.made.spec import PictureSpec, claim
from lib_lora.tools.pictures import RECIPE, save_png
from lib_lora.ui.dataset.made_panel import CAPTIONS, TAGS, TYPED, MadePanel
from lib_lora.ui.dataset.session import Session
from lib_lora.ui.dataset.views import Album
from lib_lora.ui.files import Pictures
from lib_lora.workbench.made import MadePictures

GENERATION = ("", 64, 64, 4, 7.0, "Euler", 1)
SPEC = PictureSpec(("1girl", "1boy"), 3, GenerationRequest("", "", 64, 64, 4, 7.0, 0, "Euler", 1), 5)


@pytest.fixture
def panel(session: Session) -> MadePanel:
    workbench = session.workbench
    host: Any = workbench.host
    host.checkpoints, host.samplers, host.info = lambda: ["tiny"], lambda: ["Euler"], lambda: None
    panel = MadePanel(session, Album(session, Pictures(host.paths)))
    with gr.Blocks():
        panel.build()
    return panel


@pytest.fixture
def submitted(panel: MadePanel, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Jobs that are asked for; none runs."""
    jobs: list[Any] = []
    monkeypatch.setattr(panel._workbench.queue, "submit", lambda job: jobs.append(job) or len(jobs))
    return jobs


def drawn(panel: MadePanel, name: str = "made") -> Path:
    """Three pictures that were drawn, of which the third is set aside."""
    folder = MadePictures(panel._workbench, name).folder
    claim(folder, "tiny", SPEC, panel._workbench.host.paths.loras)
    for number, caption in enumerate(SPEC.captions(), start=1):
        levels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(levels)
        image.info[RECIPE] = f'{{"made": true, "caption": "{caption}", "seed": {4 + number}}}'
        save_png(image, folder / f"{number:04}.png")
    write_json(folder / ASIDE, {"0003": "black"})
    return folder


def states(html: str) -> list[str]:
    return re.findall(r'title="([^"]*)"><img', html)


def test_one_chooses_by_key_and_the_last_answer_is_taken_back(panel: MadePanel) -> None:
    drawn(panel)
    progress, shown, stop, take = panel.now("made")
    assert (progress, stop["interactive"], take["interactive"]) == ("", False, False)
    assert states(shown) == ["not looked at", "not looked at", "black"]
    assert re.findall(r'data-lw-pick="(\w+:\d+)" data-lw-key="(\w)"', shown) == [
        ("keep:0001", "k"),
        ("leave:0001", "l"),
    ]
    shown = panel.do_answer("made", "keep:0001|17")[1]
    assert states(shown)[0] == "kept" and 'data-lw-pick="keep:0002" data-lw-key="k"' in shown
    shown = panel.do_answer("made", "leave:0002|18")[1]
    assert states(shown) == ["kept", "left", "black"] and "data-lw-key" not in shown
    assert states(panel.do_answer("made", "keep:0003|19")[1])[2] == "kept"  # set aside, and kept all the same
    assert states(panel.do_answer("made", "undo|20")[1]) == ["kept", "left", "black"]
    assert panel.now("made")[3]["interactive"]
    with pytest.raises(UserError, match="no such picture"):
        panel.do_answer("made", "keep:0009|21")


def test_kept_pictures_are_shown_as_a_change_of_the_open_set(
    panel: MadePanel, session: Session, tmp_path: Path
) -> None:
    drawn(panel)
    panel.do_answer("made", "keep:0002|1")
    with pytest.raises(UserError, match="No folder is open"):
        panel.do_take("made", "")
    root = tmp_path / "set"
    root.mkdir()
    Image.new("RGB", (64, 64)).save(root / "own.png")
    session.open([root])
    assert panel.do_take("made", "") == "" and session.pending is not None
    assert session.pending.counts == {"pictures added": 1}
    session.opened().apply(session.pending)
    assert (root / "made made" / "made-0002.txt").read_text(encoding="utf-8") == "1boy"
    assert [picture.tags for picture in session.opened().pictures if picture.tags] == [("1boy",)]


def test_what_is_drawn_comes_from_fields_captions_or_tags(
    panel: MadePanel, session: Session, submitted: list[Any], tmp_path: Path
) -> None:
    def start(name: str, source: str, prompts: str = "") -> PictureSpec:
        panel.do_start(name, source, "tiny", 2, 1, "", "mira", "best quality", prompts, *GENERATION)
        return submitted[-1].spec

    assert start("a", TYPED, "1girl, (smile:1.2)\n\nsaber (fate)").prompts == ("1girl, smile", "saber (fate)")
    with pytest.raises(UserError):
        start("b", CAPTIONS)
    root = tmp_path / "set"
    root.mkdir()
    Image.new("RGB", (64, 64)).save(root / "own.png")
    (root / "own.txt").write_text("saber (fate), smile", encoding="utf-8")
    session.open([root])
    assert start("b", CAPTIONS).prompts == ("saber (fate), smile",) and submitted[-1].beside == (root,)
    assert start("c", TAGS).prompts == ("saber (fate), smile",) * 2
    with pytest.raises(UserError, match="needs a name"):
        start("", TYPED, "a")


def test_a_drawing_goes_on_with_its_own_settings(panel: MadePanel, submitted: list[Any]) -> None:
    drawn(panel)
    message, shown, model, *fields = panel.fill("made")
    assert (message, model, fields[:2], fields[5]) == ("", "tiny", [3, 5], "1girl\n1boy") and states(shown)
    panel.do_start("made", TYPED, model, *fields)
    assert submitted[-1].spec == SPEC
    with pytest.raises(UserError, match="other settings were begun"):
        panel.do_start("made", TYPED, model, 9, *fields[1:])
    assert panel.newest_drawing()["value"] == "made" and panel.fill("new")[1] == ""
