"""The tab without a page: what is acted on, what is shown, what is applied."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from lib_lora.dataset.tags.edits import Add
from lib_lora.dataset.tags.index import TagFilter
from lib_lora.errors import UserError
from lib_lora.models.base import ModelInfo
from lib_lora.training.sample_prompts import parse_sample_prompts
from lib_lora.ui.dataset.caption_panel import CaptionPanel
from lib_lora.ui.dataset.classes_panel import ClassesPanel
from lib_lora.ui.dataset.composites_panel import PLACES_FIRST, CompositesPanel
from lib_lora.ui.dataset.gallery import Gallery
from lib_lora.ui.dataset.report_panel import ReportPanel
from lib_lora.ui.dataset.session import Session
from lib_lora.ui.dataset.tags_panel import ADD_FIRST, PATTERN, TagsPanel
from lib_lora.ui.dataset.views import Album, change_view, text
from lib_lora.ui.dataset_tab import DatasetTab
from lib_lora.ui.files import Pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for name, colour, tags in (
        ("3_mira/a", "red", "mira, smile, long hair"),
        ("3_mira/b", "blue", "mira, hat"),
        ("5_rin/c", "green", "rin, hat"),
        ("5_rin/d", "white", ""),
    ):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 64), colour).save(path)
        if tags:
            path.with_suffix(".txt").write_text(tags, encoding="utf-8")
    return root


@pytest.fixture
def album(session: Session) -> Album:
    return Album(session, Pictures(session.workbench.host.paths))


def names(pictures) -> list[str]:
    return [picture.path.stem for picture in pictures]


def test_nothing_can_be_done_before_a_folder_is_open(session):
    for action in (session.opened, session.shown, session.chosen, session.apply, session.undo):
        with pytest.raises(UserError):
            action()


def test_tools_act_on_marked_pictures_else_on_those_shown(session, folder):
    editor = session.open([folder])
    assert names(session.chosen()) == ["a", "b", "c", "d"]
    session.filter = TagFilter(("hat",))
    assert names(session.chosen()) == ["b", "c"]
    session.folder = folder / "5_rin"
    assert names(session.chosen()) == ["c"]
    session.marked = frozenset({editor.pictures[0].path})
    assert names(session.chosen()) == ["a"]
    session.marked, session.filter = frozenset(), TagFilter(("nothing",))
    with pytest.raises(UserError, match="passes the filter"):
        session.chosen()


def test_a_change_is_shown_applied_and_taken_back(session, folder):
    editor = session.open([folder])
    before = {path: path.read_bytes() for path in folder.rglob("*.txt")}
    assert session.propose(editor.plan_tags(Add(("hat",)), "Add hat")) == ""
    assert {path: path.read_bytes() for path in folder.rglob("*.txt")} == before
    shown = change_view(session.pending)
    assert "captions written <b>2</b>" in shown and "nothing has been changed yet" in shown
    version = session.version
    assert session.apply() is None and session.pending is None and session.version > version
    assert (folder / "5_rin" / "d.txt").read_text(encoding="utf-8") == "hat"
    assert session.undo() == "Add hat"
    assert {path: path.read_bytes() for path in folder.rglob("*.txt")} == before
    assert session.propose(editor.plan_tags(Add(("rin",)), "x", editor.pictures[2:3])) == "Nothing would change."


def test_clicks_filter_mark_and_select(session, folder, album):
    session.open([folder])
    gallery, caption, tags = Gallery(session, album), CaptionPanel(session, album), TagsPanel(session, album)
    tags.verbs()["with"]("hat")
    assert names(session.shown()) == ["b", "c"]
    tags.verbs()["without"]("rin")
    assert names(session.shown()) == ["b"]
    tags.verbs()["with"]("hat")
    assert session.filter == TagFilter(none_of=("rin",))
    gallery.choose_folder("1")
    assert names(session.shown()) == ["d"]
    gallery.choose_folder("1")
    gallery.mark_all("shown")
    assert len(session.marked) == 3
    first = session.opened().pictures[0]
    gallery.mark(session.key(first))
    assert len(session.marked) == 2 and first.path not in session.marked
    caption.select(session.key(session.opened().pictures[2]))
    assert caption.now() == "rin, hat"
    with pytest.raises(UserError, match="not part of the set"):
        session.find("0000")


def test_the_gallery_shows_thumbnails_and_escapes_names(session, tmp_path, album):
    folder = tmp_path / "odd"
    folder.mkdir()
    Image.new("RGB", (900, 300), "red").save(folder / "<b>&.png")
    session.open([folder])
    shown = Gallery(session, album).pictures_view()
    assert "<b>&.png" not in shown and "&lt;b&gt;&amp;.png" in shown
    assert shown.count("lora_workbench/image/data/dataset/thumbnails/") == 1
    assert text("bad \udce4 name") == "bad ? name"


def test_captions_are_typed_saved_and_completed(session, folder, album, tmp_path):
    session.open([folder])
    panel = CaptionPanel(session, album)
    caption, base = panel.shown()
    assert caption == "mira, smile, long hair" and panel.keep(caption, base) == panel.keep("x", "") == ""
    saved, following, base = panel.move(1)("mira, smile, red eyes", base)
    assert "Saved a.png" in saved and following == "mira, hat"
    assert (folder / "3_mira" / "a.txt").read_text(encoding="utf-8") == "mira, smile, red eyes"
    saved, caption, _ = panel.move(-1)("mira, hat,\nboots", base)
    assert "Saved b.png" in saved and caption == "mira, smile, red eyes"
    assert (folder / "3_mira" / "b.txt").read_bytes() == b"mira, hat,\nboots"
    assert session.undo() == "Caption of b.png" and (folder / "3_mira" / "b.txt").read_bytes() == b"mira, hat"
    csv = tmp_path / "tags.csv"
    csv.write_text("hat_ribbon,0,99,\n", encoding="utf-8")
    suggestions, count = panel.complete("ha|1", "mira, ha", str(csv))
    assert suggestions.index("hat <") < suggestions.index("hat ribbon <")
    assert "of 75 tokens" in count
    assert panel.complete("|2", "mira", "")[0] == ""
    assert "hat <" not in panel.complete("ha|1", "mira, hat, ha", "")[0]


def test_how_a_tool_ended_is_not_said_of_the_set_that_is_opened_next(session, folder):
    session.open([folder])
    job = session.run("Find duplicates", lambda: iter(()))
    session.workbench.queue.wait(job, 60)
    assert session.job().id == job
    session.open([folder])
    assert session.job() is None


def test_tag_edits_by_name(session, folder, album):
    session.open([folder])
    panel = TagsPanel(session, album)
    panel.do_plan(ADD_FIRST, "best", "", 1)
    assert session.pending.counts == {"captions written": 4, "tags added": 4}
    panel.do_plan(PATTERN, r"(\w+) hair", r"\1 ponytail", 1)
    assert session.pending.examples[0].after == "mira, smile, long ponytail"
    with pytest.raises(UserError, match="No tag"):
        panel.do_plan(ADD_FIRST, " ", "", 1)
    assert "2 images without mira" in panel.do_gaps("mira")
    assert names(session.shown()) == ["c", "d"]


def test_a_set_goes_to_train_from_one_folder(session, folder, album):
    panel = ReportPanel(session, album)
    session.open([folder])
    assert "value" not in panel.do_send("", "mira")[3]  # the trigger of the form was emptied
    _, tabs, data_dir, trigger, name = panel.do_send(" mira ", "")
    assert (tabs["selected"], data_dir, trigger, name) == ("train", str(folder), "mira", "mira")
    session.open([folder / "3_mira", folder / "5_rin"])
    with pytest.raises(UserError, match="2 folders are open, and Train takes one") as error:
        panel.do_send("mira", "")
    assert "one folder" in error.value.fix


def test_the_caption_is_that_of_a_picture_that_passes_the_filter(session, folder):
    tab = DatasetTab(session.workbench, Pictures(session.workbench.host.paths))
    tab.session.open([folder])
    assert tab.caption.shown()[0] == "mira, smile, long hair"
    _, caption, _ = tab.filter("hat", "", "", *tab.caption.shown())
    assert caption == "mira, hat" and tab.session.current.stem == "b"
    _, caption, _ = tab.filter("", "", "", *tab.caption.shown())
    assert caption == "mira, hat", "one that passes stays"


def test_a_filter_that_shows_nothing_leaves_no_caption_open(session, folder):
    """What was typed next went to a picture that was not in view."""
    tab = DatasetTab(session.workbench, Pictures(session.workbench.host.paths))
    tab.session.open([folder])
    _, caption, base = tab.filter("nobody", "", "", *tab.caption.shown())
    assert (caption, base, tab.session.current) == ("", "", None)
    assert "Click a picture" in tab.caption._picture() and tab.caption.keep("typed", base) == ""
    assert tab.caption.move(1)("typed", base)[1:] == ["", ""]
    _, caption, _ = tab.filter("hat", "", "", caption, base)
    assert caption == "mira, hat"
    tab.verbs = tab.tags.verbs()
    _, caption, base, *_ = tab.do("without:mira|17", *tab.caption.shown())
    assert caption == "rin, hat" and tab.do("without:rin|18", caption, base)[1:3] == ["", ""]
    assert {path.read_text(encoding="utf-8") for path in folder.rglob("*.txt")} == {
        "mira, smile, long hair", "mira, hat", "rin, hat"
    }  # fmt: skip


def test_a_broken_file_is_not_counted_among_the_images(session, folder, album):
    for name, content in (("cut", b"\x89PNG\r\n"), ("empty", b""), ("page", b"<html>404</html>")):
        (folder / "3_mira" / f"{name}.png").write_bytes(content)
    session.open([folder])
    shown = Gallery(session, album).summary_view()
    assert "<b>4 images</b>" in shown and "2 images × 3 repeats" in shown and "3 files to look at" in shown


def test_what_is_only_looked_at_draws_nothing_else(session, folder):
    """A click that marked one picture drew every tool of the tab anew."""
    tab = DatasetTab(session.workbench, Pictures(session.workbench.host.paths))
    own, drawn = tab.session, []
    own.open([folder])
    tab.views = [(name, lambda name=name: drawn.append(name) or name) for name in ("gallery", "classes")]
    tab.following = {"gallery"}
    key = own.key(own.opened().pictures[1])
    for act in (lambda: None, lambda: tab.gallery.mark(key), lambda: tab.caption.select(key), own.touch):
        act()
        assert tab.now() == ["gallery", "classes"]
    assert drawn == ["gallery", "classes", "gallery", "gallery", "gallery", "classes"]
    tab.views = [("button", lambda: gr.update(visible=True))]
    own.touch()
    tab.now()[0].clear()  # as gradio does
    tab.gallery.mark(key)
    assert tab.now()[0]["visible"], "a button that a plan shows was never in view"


def test_classes_are_put_right_by_a_click(session, folder, album):
    session.open([folder])
    panel = ClassesPanel(session, album)
    first = session.opened().pictures[0]
    assert list(panel.classes()) == ["main"]
    assert "The smallest repeats for which images × repeats × 4 is between 1,000 and 2,000" in panel.balance_view()
    for _ in range(3):
        panel.next_class(session.key(first))
    assert {name: len(found) for name, found in panel.classes().items()} == {"face": 1, "main": 3}
    panel.do_sort("mira", False)
    assert session.pending.title == "Sort into folders"
    assert "put here by hand" in panel.classes_view() and "Main : face" in panel.balance_view()
    assert "main : face is about 4 : 1" in panel.balance_view()
    panel.do_even()
    assert {move.target.parent.name for move in session.pending.operations} == {"1_mira", "1_rin"}


def test_a_class_given_by_hand_outlives_a_move_and_its_undo(session, folder, album):
    session.open([folder])
    panel = ClassesPanel(session, album)
    for picture, clicks in zip(session.opened().pictures, (3, 3, 0, 0), strict=True):
        for _ in range(clicks):
            panel.next_class(session.key(picture))
    by_hand = {"face": 2, "main": 2}
    panel.do_sort("mira", False)
    session.apply()
    assert {name: len(found) for name, found in panel.classes().items()} == by_hand
    assert {p.folder.name.partition(" ")[2] for p in panel.classes()["face"]} == {"face"}
    session.undo()
    assert {name: len(found) for name, found in panel.classes().items()} == by_hand


def test_subjects_come_from_folders_or_are_named(session, folder, album):
    session.open([folder])
    panel = CompositesPanel(session, album)
    assert {tag: len(found) for tag, found in panel.pictures_of("").items()} == {"mira": 2, "rin": 2}
    assert list(panel.pictures_of("3_mira = Mira\n5_rin = Rin")) == ["Mira", "Rin"]
    (folder / "3_mira").rename(folder / "mira")
    session.open([folder])
    with pytest.raises(UserError, match="whom these folders show: set"):
        panel.pictures_of("")
    with pytest.raises(UserError, match="This is a file, not a folder"):
        Gallery(session, album).do_open(str(folder / "mira" / "a.png"))
    with pytest.raises(UserError, match="names no folder"):
        panel.pictures_of("nowhere = x")
    with pytest.raises(UserError, match="not made yet"):
        panel.do_queue("duo", 1, 64, "one joint run (beside the singles)")


@pytest.mark.parametrize("people", ["2", "3"])
def test_composites_of_open_folders_say_whose_name_is_missing(session, folder, album, people):
    """They said how many have pictures, not that rin's folder has no name of that kind."""
    (folder / "5_rin").rename(folder / "rin")
    (folder / "2_tomo").mkdir()
    Image.new("RGB", (48, 64), "pink").save(folder / "2_tomo" / "e.png")
    named = [folder / "3_mira", *([folder / "2_tomo"] if people == "3" else [])]
    panel = CompositesPanel(session, album)
    session.open([*named, folder / "rin"])
    with pytest.raises(UserError, match="whom these folders show: rin") as error:
        panel.do_plan("", people, 0.5, 0, "", 0, PLACES_FIRST, 0.2)
    assert error.value.what.endswith(": rin") and error.value.where == "Composite subjects"
    assert "like 5_tag" in error.value.fix and error.value.fix.endswith("such as rin = tag")
    lines = "\n".join(["3_mira = mira", "rin = rin", *(["2_tomo = tomo"] if people == "3" else [])])
    panel.do_plan(lines, people, 0.5, 0, "", 0, PLACES_FIRST, 0.2)
    assert session.pending


def test_composites_say_who_stands_where(session, folder, album):
    session.open([folder])
    CompositesPanel(session, album).do_plan("", "2", 0.5, 0, "", 0, PLACES_FIRST, 0.2)
    assert session.pending
    session.apply_now(session.pending)
    texts = [path.read_text(encoding="utf-8") for path in (folder / "1_composites").glob("*.txt")]
    assert texts and {text.split(",")[0] for text in texts} == {"mira left", "rin left"}


@pytest.mark.parametrize(("loaded", "sizes"), [("miniature", (128, 6e-3)), ("anything", (640, 5e-4))])
def test_what_is_queued_for_places_never_enlarges(session, folder, album, monkeypatch, loaded, sizes):
    for caption in folder.glob("3_mira/*.txt"):
        caption.write_text(caption.read_text(encoding="utf-8") + "\nsecond line", encoding="utf-8")
    session.open([folder])
    panel, queued = CompositesPanel(session, album), []
    panel.do_plan("", "2", 0.5, 0, "", 0, PLACES_FIRST, 0.2)
    session.apply_now(session.pending)
    info = ModelInfo(loaded, None, "sd1", "epsilon", 8, 2)
    monkeypatch.setattr(session.workbench.host, "info", lambda: info, raising=False)
    monkeypatch.setattr(session.workbench.host, "literal", str, raising=False)
    monkeypatch.setattr(session.workbench, "start_training", queued.append)
    panel.do_queue("duo", 7, 0, PLACES_FIRST)
    assert [(c.name, c.epochs, c.no_upscale, c.keep_tokens) for c in queued] == [
        ("duo-places", 7, True, 3), ("duo", 7, True, 3)
    ]  # fmt: skip
    assert {(c.resolution, c.unet_lr) for c in queued} == {sizes}
    drawn = [parse_sample_prompts(config.sample_prompts) for config in queued]
    assert all("second line" not in sample.prompt for sample in drawn[0])
    firsts = [sample.prompt.split(", ")[0] for sample in drawn[0]]
    assert drawn[0] == drawn[1] and set(firsts[:2]) == {"mira left", "rin left"} and firsts[2:] == ["mira", "rin"]
    if loaded == "miniature":  # each at the size of its own pictures, which are less than another model's bucket
        assert drawn[0][0].width > drawn[0][2].width
    panel.do_queue("duo", 7, 320, PLACES_FIRST)
    assert {c.resolution for c in queued[2:]} == {320}
