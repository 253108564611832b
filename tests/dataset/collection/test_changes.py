from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lib_lora.dataset.collection.captions import plan_import, plan_one_line
from lib_lora.dataset.collection.change import Change, Make, Move, Write, reordered
from lib_lora.dataset.collection.journal import Journal
from lib_lora.dataset.collection.moving import plan_move, plan_numbering
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.tags.edits import Add, Normalise, PruneImplied, Remove, Replace, ReplacePattern, Sort
from lib_lora.errors import UserError


def test_a_tag_edit_is_shown_done_and_undone(add_image, opened, every_byte):
    add_image("a.png", caption="1girl,  solo")
    add_image("b.png", caption="mira, smile")
    add_image("c.png")
    before = every_byte()
    editor = opened()
    change = editor.plan_tags(Add(("mira",), first=True), "Trigger")
    assert every_byte() == before
    assert change.counts == {"captions written": 2, "tags added": 2}
    assert (change.examples[0].before, change.examples[0].after) == ("1girl,  solo", "mira, 1girl,  solo")
    editor.apply(change)
    assert [p.tags[0] for p in editor.pictures] == ["mira"] * 3
    after = every_byte()
    assert after["a.txt"] == b"mira, 1girl,  solo" and after["b.txt"] == before["b.txt"]
    assert [entry.state for entry in editor.history()] == ["done"]
    editor.undo()
    assert every_byte() == before
    assert editor.pictures[0].tags == ("1girl", "solo")
    with pytest.raises(UserError, match="nothing to undo"):
        editor.undo()


def test_captions_that_cannot_be_read_are_left_alone(add_image, opened, every_byte):
    add_image("a.png").with_suffix(".txt").write_bytes(b"\xff\xfe\xfa")
    editor = opened()
    change = editor.plan_tags(Add(("x",)), "Add")
    assert not change and "a.png" in change.notes[0]


def test_side_cars_become_captions(add_image, opened, every_byte):
    picture = add_image("a.png")
    picture.with_name("a.png.txt").write_text("1girl\nlong hair", encoding="utf-8")
    own = {"b": "1girl\nsolo", "c": "1girl, solo\n", "d": "1girl long_hair", "e": "A girl.\nShe is a sks_dog."}
    for name, caption in own.items():
        add_image(f"{name}.png", caption=caption)
    editor = opened()
    editor.apply(plan_import(editor.pictures))
    found = every_byte()
    assert found["a.txt"] == b"1girl, long hair" and found["a.png.txt"] == b"1girl\nlong hair"
    assert {name: found[f"{name}.txt"].decode() for name in own} == own
    assert not plan_import(editor.pictures)
    editor.apply(plan_one_line(editor.pictures))
    found = every_byte()
    assert found["b.txt"] == b"1girl, solo" and found["d.txt"] == b"1girl, long_hair"
    assert all(found[f"{name}.txt"].decode() == own[name] for name in "ce")


def test_further_lines_of_a_caption_are_kept(add_image, opened, every_byte):
    add_image("a.png", caption="1girl, solo\n2girls, smile")
    editor = opened()
    assert not plan_import(editor.pictures)
    editor.apply(editor.plan_tags(Add(("mira",), first=True), "Trigger"))
    assert every_byte()["a.txt"] == b"mira, 1girl, solo\n2girls, smile"


def test_numbering_takes_captions_and_masks_along(add_image, opened, every_byte, tmp_path):
    for name in ("2.png", "1.png", "x.png"):
        add_image(name, caption=name)
    add_image("x-masklabel.png")
    before = every_byte()
    editor = opened()
    by_name = {p.path.name: p for p in editor.pictures}
    order = [by_name["2.png"], by_name["1.png"], by_name["x.png"]]
    editor.apply(plan_numbering(order))
    after = every_byte()
    assert after["1.png"] == before["2.png"] and after["1.txt"] == b"2.png"
    assert after["2.png"] == before["1.png"] and after["2.txt"] == b"1.png"
    assert after["3.png"] == before["x.png"] and after["3-masklabel.png"] == before["x-masklabel.png"]
    assert len(after) == len(before)
    editor.undo()
    assert every_byte() == before


def test_moving_never_replaces(add_image, opened, every_byte, tmp_path):
    add_image("one/a.png", caption="first")
    add_image("two/a.png", caption="second")
    before = every_byte()
    editor = opened()
    editor.apply(plan_move(editor.pictures, tmp_path / "out", "Rejects"))
    after = every_byte()
    assert sorted(after) == ["out/a (2).png", "out/a (2).txt", "out/a.png", "out/a.txt"]
    assert after["out/a (2).txt"] == b"second"
    editor.undo()
    assert every_byte() == before and not (tmp_path / "out").exists()


def test_names_in_the_way_are_found_before_anything_happens(tmp_path, every_byte):
    for name in ("a", "B"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    before = every_byte()
    journal = Journal(tmp_path / ".lora-workbench")
    for operation in (
        Move(tmp_path / "a", tmp_path / "B"),
        Make(tmp_path / "B", lambda path: path.write_bytes(b"")),
        Move(tmp_path / "gone", tmp_path / "c"),
    ):
        with pytest.raises(UserError):
            journal.apply(Change("x", (Write(tmp_path / "new", b"1"), operation)))
    assert every_byte() == before and journal.entries() == []


def test_a_failure_takes_everything_back(tmp_path, every_byte):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").write_bytes(b"b")
    before = every_byte()

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    journal = Journal(tmp_path / ".lora-workbench")
    steps = (Write(tmp_path / "a", b"new"), Move(tmp_path / "b", tmp_path / "deep" / "c"), Make(tmp_path / "d", fail))
    with pytest.raises(UserError, match="disk is full"):
        journal.apply(Change("x", steps))
    assert every_byte() == before and not (tmp_path / "deep").exists()


def test_undo_refuses_when_somebody_else_was_there(add_image, opened, every_byte):
    caption = add_image("a.png", caption="a").with_suffix(".txt")
    editor = opened()
    editor.apply(editor.plan_tags(Add(("b",)), "Add"))
    caption.write_text("by hand", encoding="utf-8")
    with pytest.raises(UserError, match="changed after"):
        editor.undo()
    assert caption.read_text(encoding="utf-8") == "by hand"


def test_a_file_that_somebody_else_has_changed_is_not_replaced(add_image, opened, every_byte):
    caption = add_image("a.png", caption="a").with_suffix(".txt")
    add_image("b.png")
    editor = opened()
    change = editor.plan_tags(Add(("x",)), "Add")
    assert change.counts["captions written"] == 2
    caption.write_text("by hand", encoding="utf-8")
    with pytest.raises(UserError, match="another program"):
        editor.apply(change)
    caption.write_text("a", encoding="utf-8")
    caption.with_name("b.txt").write_text("by hand", encoding="utf-8")
    with pytest.raises(UserError, match="another program"):
        editor.apply(change)
    assert every_byte()["b.txt"] == b"by hand"
    assert "a.png" not in editor.plan_tags(Add(("x",)), "Add").notes


@given(st.permutations(range(5)), st.integers(0, 5))
def test_moves_that_exchange_names_end_where_they_should(order, extra):
    moves = [Move(Path(f"{old}"), Path(f"{new}")) for old, new in enumerate(order) if old != new]
    moves += [Move(Path("5"), Path("6"))] * (extra > 2)
    names = {str(n): n for n in range(6)}
    for move in reordered(moves):
        assert str(move.target) not in names
        names[str(move.target)] = names.pop(str(move.source))
    assert all(names[str(new)] == old for old, new in enumerate(order))


captions = st.lists(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30), min_size=1, max_size=4
)
edits = st.sampled_from(
    [
        Add(("mira",), first=True),
        Remove(("a",)),
        Replace(("mira",), ("rin", "a")),
        ReplacePattern(r"(\w)", r"\1\1"),
        Sort(),
        Normalise(),
        PruneImplied(keep=0),
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(captions, st.lists(edits, min_size=1, max_size=4))
def test_undoing_every_step_restores_every_byte(tmp_path_factory, captions, edits):
    folder = tmp_path_factory.mktemp("set")
    for number, caption in enumerate(captions):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_bytes(caption.encode())
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    editor = DatasetEditor([folder], folder / ".cache")
    applied = [editor.apply(editor.plan_tags(edit, "edit")) for edit in edits]
    for _ in filter(None, applied):
        editor.undo()
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


def test_a_folder_that_cannot_be_written_is_named(add_image, opened, every_byte, tmp_path):
    add_image("a.png", caption="a")
    editor = opened()
    (tmp_path / ".lora-workbench").write_text("a file where the history should go", encoding="utf-8")
    before = every_byte()
    with pytest.raises(UserError, match="could not be made") as caught:
        editor.apply(editor.plan_tags(Add(("b",)), "Add"))
    assert "rights" in str(caught.value) and every_byte() == before
