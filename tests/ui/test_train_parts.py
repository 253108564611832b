"""The parts of the Train tab that can be told apart from the page: folders, configs, presets, drafts, curves, queue."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from lib_lora.access import Access, guarded, looks, under
from lib_lora.errors import UserError
from lib_lora.jobs.views import PREPARING, TRAINING, WAITING, JobView, TrainView
from lib_lora.models.base import HostPaths
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import config_to_toml
from lib_lora.training.own_presets import OwnPresets
from lib_lora.training.presets import PRESETS
from lib_lora.ui import folder_picker, form
from lib_lora.ui.compat import SKIP
from lib_lora.ui.curves import curves, lr_chart, timestep_chart
from lib_lora.ui.draft import Draft
from lib_lora.ui.files import Pictures
from lib_lora.ui.folder_picker import PICTURES, FolderPicker, Folders, usual_places
from lib_lora.ui.form import SettingsForm
from lib_lora.ui.status import job_line
from lib_lora.ui.train_configs import ConfigPanel
from lib_lora.ui.train_live import LivePanel, where_it_is
from lib_lora.ui.train_queue import waiting_table
from lib_lora.workbench import Workbench


@pytest.fixture
def places(tmp_path: Path) -> Path:
    (tmp_path / "open" / "sets" / "mira").mkdir(parents=True)
    (tmp_path / "open" / ".hidden").mkdir()
    (tmp_path / "closed" / "secret").mkdir(parents=True)
    (tmp_path / "open" / "way out").symlink_to(tmp_path / "closed", target_is_directory=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "open" / "sets" / "mira" / "1.png")
    return tmp_path


def test_folders_stay_inside(places: Path) -> None:
    folders = Folders([places / "open", places / "nowhere"])
    assert folders.roots == [(places / "open").resolve()]
    assert [path.name for path in folders.below(places / "open")] == ["sets"]
    for outside in (places, places / "closed", places / "open" / ".." / "closed", places / "open" / "way out"):
        with pytest.raises(UserError, match="outside"):
            folders.below(outside)
    assert folders.nearest(str(places / "open" / "sets" / "not there")) == places / "open" / "sets"
    assert folders.nearest(str(places / "closed")) is None and folders.nearest("") is None
    assert usual_places([], [str(places / "open" / "sets")]).allowed(places / "open" / "sets" / "mira")


def test_all_drives_can_be_browsed_but_by_whom_paths_are_confined(places: Path) -> None:
    assert usual_places([], []).allowed(places / "closed" / "secret")
    with under(Access(hide_paths=True, roots=(places / "open",))):
        inside = guarded(looks(lambda: [usual_places([], []).allowed(path) for path in (places / "open", places)]))()
        assert inside == [True, False]
        listing = guarded(FolderPicker(lambda: usual_places([], [])).open)("")
        assert 'data-lw-pick="go:/"' not in listing


def test_a_folder_that_is_looked_into_shows_its_first_pictures(places: Path) -> None:
    mira = places / "open" / "sets" / "mira"
    (mira / "broken.png").write_text("no picture")
    for number in range(2, 12):
        Image.new("RGB", (400, 300)).save(mira / f"{number:02}.png")
    picker = FolderPicker(lambda: Folders([places / "open"]))
    listing = picker.open(str(mira))
    assert listing.count("<img") == PICTURES and 'alt="02.png"' in listing and 'alt="11.png"' not in listing
    assert "lw-browse-pictures" not in picker.open(str(places / "open")) + picker.open("")


def test_folders_that_take_long_to_count_say_no_number(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picker = FolderPicker(lambda: Folders([places / "open"]))
    assert "1 image" in picker.open(str(places / "open" / "sets"))
    monkeypatch.setattr(folder_picker, "COUNTING", -1)
    listing = picker.open(str(places / "open" / "sets"))
    assert "mira" in listing and "1 image" not in listing


def test_a_click_goes_into_a_folder_and_takes_it(places: Path) -> None:
    picker = FolderPicker(lambda: Folders([places / "open"]))
    sets = places / "open" / "sets"
    listing, field = picker.follow(f"go:{sets}|17")
    assert field == SKIP and "mira" in listing and "1 image" in listing and f"use:{sets}" in listing
    assert picker.follow(f"use:{sets}|18") == ["", str(sets)]
    assert "outside" in picker.follow(f"go:{places / 'closed'}|19")[0]
    assert str((places / "open").resolve()) in picker.open("")
    assert picker.follow("close:|20") == ["", SKIP]
    several = FolderPicker(lambda: Folders([places / "open"]), "lw_other", several=True)
    assert several.follow(f"use:{sets}|21", f"{places / 'open'}\n")[1] == f"{places / 'open'}\n{sets}"
    assert 'data-lw-into="lw_other_pick"' in several.open(f"{places}\n{sets}") and "mira" in several.open(f"a\n{sets}")


@pytest.fixture
def panel(tmp_path: Path) -> ConfigPanel:
    settings_form = SettingsForm()
    with gr.Blocks():
        for name in form.BASIC:
            settings_form.basic(name, TrainConfig())
        settings_form.more(TrainConfig())
    return ConfigPanel(settings_form, OwnPresets(tmp_path / "presets"))


def test_import_fills_the_form_and_reports_every_key(panel: ConfigPanel, tmp_path: Path) -> None:
    file = tmp_path / "kohya.toml"
    file.write_text('network_dim = 7\nxformers = true\nno_such_key = 1\noutput_name = "<b>x"\n', encoding="utf-8")
    now = panel.form.values(TrainConfig(trigger="mira"))
    message, report, *values = panel.take_in(SimpleNamespace(name=str(file)), *now)
    config = panel.form.config(values)
    assert (config.rank, config.trigger, config.name) == (7, "mira", "<b>x")
    assert "1 unknown" in message and "1 ignored" in message
    assert all(key in report for key in ("network_dim", "xformers", "no_such_key")) and "<b>x" not in report
    assert report.index("no_such_key") < report.index("xformers") < report.index("network_dim")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"{}",
        b"[]",
        b"[tool.black]\nline-length = 100\n",
        b'{"compilerOptions": {"strict": true}}',
        b"\x00\x80",
    ],
    ids=["empty", "blank", "object", "list", "another program's toml", "another program's json", "no text"],
)
def test_a_file_that_says_nothing_leaves_the_form_as_it_is(panel: ConfigPanel, tmp_path: Path, content: bytes) -> None:
    """It wiped all fields, for what a file leaves out is that trainer's default."""
    for name in ("config.toml", "config.json"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as error:
            panel.take_in(str(tmp_path / name), *panel.form.values(TrainConfig(trigger="mira", rank=5)))
        assert name in str(error.value)


def test_our_own_file_comes_back_whole(panel: ConfigPanel, tmp_path: Path) -> None:
    config = TrainConfig(name="mira", data_dir="sets", rank=5, sample_prompts="a\nb")
    message, shown = panel.give_out_own(*panel.form.values(config))
    text = base64.b64decode(re.search(r'base64,([^"]+)"', shown)[1]).decode()
    assert message == "" and text == config_to_toml(config) and 'download="mira.toml"' in shown
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    _, _, *values = panel.take_in(str(file), *panel.form.values(TrainConfig()))
    assert panel.form.config(values) == config
    assert "network_dim = 5" in panel.give_out(*panel.form.values(config))[1]


def test_export_is_for_the_loaded_models_script(panel: ConfigPanel) -> None:
    shown = ConfigPanel(panel.form, panel.presets, lambda: "anima").give_out(*panel.form.values(TrainConfig()))[1]
    assert "For anima_train_network.py --config_file" in shown and "timestep_sampling" in shown


def test_own_presets(panel: ConfigPanel) -> None:
    values = panel.form.values(TrainConfig(name="mira", data_dir="sets", trigger="mira", rank=5))
    _, update = panel.save_preset(" Mine ", *values)
    assert update["value"] == "Mine" and panel.presets.own() == ["Mine"]
    found = panel.presets.find("Mine").applied_to(TrainConfig(name="other", trigger="t"))
    assert (found.rank, found.name, found.trigger) == (5, "other", "t")
    for name, match in (("Mine", "already"), (PRESETS[0].name, "already"), ("a/b", "contain"), (" ", "needs a name")):
        with pytest.raises(UserError, match=match):
            panel.save_preset(name, *values)
    with pytest.raises(UserError, match="Only your own"):
        panel.delete_preset(PRESETS[0].name)
    panel.delete_preset("Mine")
    assert panel.presets.own() == []


def test_a_draft_survives_and_a_damaged_one_is_forgotten(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "data" / "draft.json")
    assert draft.load() is None
    draft.save("Likeness", {"rank": 5, "gone_setting": 1, "name": "ä"})
    assert draft.load() == ("Likeness", {"rank": 5, "name": "ä"})
    draft.path.write_text("{", encoding="utf-8")
    assert draft.load() is None


def test_two_pages_keep_what_was_typed_in_each(tmp_path: Path) -> None:
    draft, shown = Draft(tmp_path / "draft.json"), {"rank": 8, "epochs": 6, "name": ""}
    draft.put("Style", {"epochs": 8}, shown)
    draft.put("Style", {"rank": 4}, shown)  # by a page that still shows 6 epochs
    assert draft.load() == ("Style", {"rank": 4, "epochs": 8, "name": ""})


def test_curves_show_what_the_settings_say(panel: ConfigPanel) -> None:
    assert "at most 0.0005" in lr_chart(TrainConfig()) and "text encoder" in lr_chart(TrainConfig())
    assert "text encoder" not in lr_chart(replace(TrainConfig(), te_lr=0.0))
    assert timestep_chart(TrainConfig()) != timestep_chart(TrainConfig(timestep_distribution="logit-normal"))
    assert curves(TrainConfig()).count("<svg") == 2
    values = panel.form.values(TrainConfig(rank=0))
    assert panel.form.drawn(values) == ["", ""]  # while something unusable is typed
    assert all("<svg" in drawing for drawing in panel.form.drawn(panel.form.values(TrainConfig())))


def test_before_the_first_training_the_set_is_shown_and_after_a_restart_its_last_run(tmp_path: Path) -> None:
    paths = HostPaths(*(tmp_path / name for name in ("loras", "models", "runs", "data")))
    bench = Workbench(SimpleNamespace(paths=paths))
    live, folder = LivePanel(bench, Pictures(paths)), tmp_path / "mira"
    assert "Open a set of pictures" in live.now("")[0] and "Open a set" in live.now(str(folder))[0]
    folder.mkdir()
    for number in range(30):
        Image.new("RGB", (8, 8)).save(folder / f"{number:02}.png")
    shown = live.now(f'"{folder}"')[0]
    assert "30 images" in shown and shown.count("<img") == 10 and "Open a set" not in shown
    run = bench.runs.create(TrainConfig(name="first", data_dir=str(folder), epochs=4))
    assert "30 images" in live.now(str(folder))[0]  # it has not begun
    run.append_metrics([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}])
    run.add_pause(2, paused=True)
    head, chart, _, log, *_ = LivePanel(bench, Pictures(paths)).now(str(folder))
    assert "first" in head and "cut off" in head and "<svg" in chart and "Paused at step 2" in log
    assert "first" not in LivePanel(bench, Pictures(paths)).now(str(tmp_path / "other"))[0]


def test_a_broken_file_is_not_counted_among_the_images(tmp_path: Path) -> None:
    paths, folder = HostPaths(*(tmp_path / name for name in ("loras", "models", "runs", "data"))), tmp_path / "mira"
    live = LivePanel(Workbench(SimpleNamespace(paths=paths)), Pictures(paths))
    folder.mkdir()
    for name, content in (("cut.png", b"\x89PNG\r\n"), ("empty.jpg", b""), ("page.webp", b"<html>404</html>")):
        (folder / name).write_bytes(content)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    assert "Open a set of pictures" in live.now(str(folder))[0], "there is no picture"
    for name in ("0", "1", "0_mask", "1-masklabel"):
        Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
    shown = LivePanel(live.workbench, Pictures(paths)).now(str(folder))[0]
    assert "<span>2 images</span>" in shown and shown.count("<img") == 2


def waiting(number: int, kind: str) -> JobView:
    common = (number, kind, f"job <{number}>", WAITING, 0, 0, "", 0.0, None, None, "")
    return TrainView(*common, "run", PREPARING, 0, 10, None, None) if kind == "train" else JobView(*common)


def test_the_queue_offers_what_makes_sense() -> None:
    shown = waiting_table([waiting(3, "train"), waiting(4, "grid")])
    assert "job &lt;3&gt;" in shown and "2 jobs waiting" in shown
    assert "down:3" in shown and "up:3" not in shown and "up:4" in shown and "down:4" not in shown
    assert "change:3" in shown and "change:4" not in shown and "out:4" in shown
    assert waiting_table([]) == ""


def test_where_a_training_is() -> None:
    job = replace(waiting(1, "train"), state="running", done=412, total=1500, remaining=600.0)
    job = replace(job, phase=TRAINING, epoch=3, loss=0.08)
    shown = where_it_is(job)
    assert "<dd>412 of 1500</dd>" in shown and "<dd>3 of 10</dd>" in shown and "10 min, until " in shown
    assert "1.8 it/s" in shown
    strip = job_line(job, [])  # above the tabs, which said other numbers
    assert "412/1500 · 1.8 it/s · 10 min left" in strip
    assert "Encoding images" in where_it_is(replace(job, phase=PREPARING, note="Encoding images"))
    assert "paused" in where_it_is(replace(job, state="paused"))


@pytest.mark.parametrize("note", ["", "epoch 9/9", "Epoche 9 von 9", "Encoding images"])
def test_what_is_shown_of_a_training_is_not_read_from_its_words(note: str) -> None:
    job = replace(waiting(1, "train"), state="running", done=4, total=9, phase=TRAINING, epoch=3, note=note)
    assert where_it_is(job) == where_it_is(replace(job, note="anything"))
