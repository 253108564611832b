"""Pictures drawn for a training set: what is drawn, what is set aside, what is chosen, and what becomes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from lib_lora.adapters.file import model_hash
from lib_lora.bounds import LIST
from lib_lora.dataset.check import check
from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.scan import scan
from lib_lora.dataset.sidecars import MADE_FILE, is_made
from lib_lora.errors import Cancelled, UserError
from lib_lora.models.base import GenerationRequest
from lib_lora.tools.made.choice import CHOICE, Choice
from lib_lora.tools.made.drawing import generate_dataset
from lib_lora.tools.made.prompts import as_caption, from_captions, from_tags
from lib_lora.tools.made.sifting import failure, set_aside, sift
from lib_lora.tools.made.spec import EARLIER, RECORD, PictureSpec, read_spec
from lib_lora.tools.made.taking import plan_take, read_recipe, usual_folder
from lib_lora.tools.pictures import read_png
from tests.pace import within

if TYPE_CHECKING:
    from lib_lora.hosts.standalone.host import StandaloneHost

SMALL = GenerationRequest("", width=64, height=64, steps=2, cfg=3.0)


def noise(path: Path, seed: int) -> Path:
    """A picture unlike those of other seeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((128, 128), Image.Resampling.NEAREST).save(path)
    return path


@pytest.fixture
def drawn(tiny_host: StandaloneHost, make_lora: Callable[..., Path], tmp_path: Path) -> Path:
    """Three pictures by two LoRAs, with a trigger."""
    make_lora("first", 1), make_lora("second", 2)
    spec = PictureSpec(("smile", "saber (fate)"), 3, SMALL, 7, "first:0.5,second:-1", "best quality", "mira")
    made = list(generate_dataset(tiny_host, spec, tmp_path / "drawn"))
    return made[0].path.parent


def test_pictures_say_what_they_are_made_from(tiny_host: StandaloneHost, drawn: Path) -> None:
    recipe = read_recipe(drawn / "0002.png")
    assert recipe["model"] == "tiny" and recipe["seed"] == 8 and recipe["steps"] == 2 and recipe["made"] is True
    loras = {lora["name"]: (lora["weight"], lora["hash"]) for lora in recipe["loras"]}
    hashes = {name: model_hash(tiny_host.paths.loras / f"{name}.safetensors") for name in ("first", "second")}
    assert loras == {"first": (0.5, hashes["first"]), "second": (-1.0, hashes["second"])}
    assert recipe["caption"] == "mira, saber (fate)" == (drawn / "0002.txt").read_text(encoding="utf-8")
    assert recipe["prompt"] == "best quality, mira, saber (fate)"
    parameters = read_png(drawn / "0002.png").info["parameters"]
    assert "<lora:first:0.5>" in parameters and "<lora:second:-1>" in parameters


def test_loras_draw_other_pictures_than_the_checkpoint(tiny_host: StandaloneHost, drawn: Path, tmp_path: Path) -> None:
    spec = read_spec(drawn)[1]
    plain = next(generate_dataset(tiny_host, replace(spec, loras=""), tmp_path / "plain"))
    assert plain.image.tobytes() != read_png(drawn / "0001.png").tobytes()


def test_a_prompt_is_drawn_to_the_letter(tiny_host: StandaloneHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a host where brackets are syntax they are escaped; what stands before is the host's own."""
    spec = PictureSpec(("saber (fate)",), 1, SMALL, before="(masterpiece:1.2)")
    escaped = [request.prompt for request in spec.requests(lambda text: text.replace("(", "\\(").replace(")", "\\)"))]
    assert escaped == ["(masterpiece:1.2), saber \\(fate\\)"] and spec.captions() == ["saber (fate)"]


def test_another_file_of_the_same_name_is_another_lora(
    tiny_host: StandaloneHost, drawn: Path, make_lora: Callable[..., Path]
) -> None:
    spec = read_spec(drawn)[1]
    assert all(made.kept for made in generate_dataset(tiny_host, spec, drawn))
    (tiny_host.paths.loras / "first.safetensors").unlink()
    make_lora("first", 5)
    with pytest.raises(UserError, match="other LoRAs"):
        next(generate_dataset(tiny_host, spec, drawn))


def test_a_drawing_that_was_cut_off_goes_on(tiny_host: StandaloneHost, tmp_path: Path) -> None:
    spec = PictureSpec(("a", "b"), 10, replace(SMALL, steps=1))
    seen = []

    def enough() -> bool:
        return len(seen) >= 8

    with pytest.raises(Cancelled):
        for made in generate_dataset(tiny_host, spec, tmp_path / "d", enough):
            seen.append(made.path.stat().st_mtime_ns)
    again = list(generate_dataset(tiny_host, spec, tmp_path / "d"))
    assert [made.kept for made in again] == [True] * 8 + [False] * 2
    assert [made.path.stat().st_mtime_ns for made in again[:8]] == seen


def test_a_base_style_of_an_earlier_version_goes_on(tiny_host: StandaloneHost, tmp_path: Path) -> None:
    spec = PictureSpec(("1girl",), 2, SMALL)
    list(generate_dataset(tiny_host, spec, tmp_path / "d"))
    record = json.loads((tmp_path / "d" / RECORD).read_text(encoding="utf-8"))
    (tmp_path / "d" / RECORD).unlink()
    for name in ("loras", "before", "trigger", "hashes"):
        del record[name]
    (tmp_path / "d" / EARLIER).write_text(json.dumps(record), encoding="utf-8")
    assert read_spec(tmp_path / "d") == ("tiny", spec)
    assert all(made.kept for made in generate_dataset(tiny_host, spec, tmp_path / "d"))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"prompts": ()}, "prompts"),
        ({"count": 0}, "count"),
        ({"count": 10**7}, "count"),
        ({"loras": "mira"}, "loras"),
        ({"seed": -1}, "seed"),
        ({"trigger": "a\0"}, "trigger"),
        ({"settings": replace(SMALL, steps=0)}, "steps"),
    ],
)
def test_what_cannot_be_drawn_is_named(change: dict, where: str) -> None:
    with pytest.raises(UserError) as error:
        replace(PictureSpec(("a",), 1, SMALL), **change).check()
    assert error.value.where == where


def test_failures_and_copies_are_set_aside(tmp_path: Path) -> None:
    folder, beside = tmp_path / "drawn", tmp_path / "set"
    for number in (1, 2, 3):
        noise(folder / f"{number:04}.png", number)
    noise(folder / "0004.png", 2)
    noise(beside / "old.png", 3)
    Image.new("RGB", (128, 128)).save(folder / "0005.png")
    Image.new("RGB", (128, 128), (200, 90, 90)).save(folder / "0006.png")
    list(sift(folder, tmp_path / "cache", [beside]))
    assert set_aside(folder) == {
        "0003": "nearly the same as old.png",
        "0004": "nearly the same as 0002.png",
        "0005": "black",
        "0006": "all of one colour",
    }
    assert failure(Image.open(folder / "0001.png")) == ""


def test_the_last_answer_counts_and_is_undone(tmp_path: Path) -> None:
    choice = Choice().answered("0001", True).answered("0002", False).answered("0001", False)
    assert choice.states() == {"0001": False, "0002": False}
    choice.undone().save(tmp_path)
    assert Choice.load(tmp_path).states() == {"0001": True, "0002": False}
    with pytest.raises(UserError):
        Choice().undone()


def test_a_damaged_choice_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    (tmp_path / CHOICE).write_text("{", encoding="utf-8")
    Choice().answered("0001", True).save(tmp_path)
    assert (tmp_path / f"{CHOICE}.damaged").read_text(encoding="utf-8") == "{"
    assert Choice.load(tmp_path).states() == {"0001": True}


def test_a_folder_that_goes_meanwhile_ends_the_drawing(tiny_host: StandaloneHost, tmp_path: Path) -> None:
    drawing = generate_dataset(tiny_host, PictureSpec(("a",), 3, SMALL), tmp_path / "d")
    next(drawing)
    shutil.rmtree(tmp_path / "d")
    with pytest.raises(UserError, match="is gone"):
        list(drawing)


def test_a_file_in_the_folders_place_is_named(tiny_host: StandaloneHost, tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="a file of this name"):
        next(generate_dataset(tiny_host, PictureSpec(("a",), 1, SMALL), tmp_path / "d"))
    assert (tmp_path / "d").read_text(encoding="utf-8") == "mine"


def test_edited_captions_are_taken_and_damaged_pictures_are_not(drawn: Path, tmp_path: Path) -> None:
    (drawn / "0001.txt").write_bytes("mira,  smïle\r\n".encode())
    (drawn / "0002.txt").unlink()
    (drawn / "0003.png").write_bytes(b"no picture")
    change = plan_take([drawn / f"{number:04}.png" for number in (1, 2, 3)], tmp_path / "set", "m")
    assert change.counts == {"pictures added": 2} and change.notes == ("Damaged: 0003.png",)
    DatasetEditor([tmp_path / "set"], tmp_path / "cache").apply(change)
    taken = tmp_path / "set" / "m"
    assert (taken / "drawn-0001.txt").read_bytes() == (drawn / "0001.txt").read_bytes()
    assert (taken / "drawn-0002.txt").read_text(encoding="utf-8") == "mira, saber (fate)"


def test_kept_pictures_become_a_folder_of_the_set_and_leave_it(drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    noise(root / "own.png", 1)
    editor = DatasetEditor([root], tmp_path / "cache")
    change = plan_take([drawn / "0001.png", drawn / "0002.png"], root, usual_folder(root, "mira"))
    editor.apply(change)
    target = root / "made mira"
    assert sorted(path.name for path in target.iterdir()) == [
        "drawn-0001.png", "drawn-0001.txt", "drawn-0002.png", "drawn-0002.txt", MADE_FILE,
    ]  # fmt: skip
    assert (target / "drawn-0002.png").read_bytes() == (drawn / "0002.png").read_bytes()
    assert is_made(target / "drawn-0002.png") and not is_made(root / "own.png")
    side = json.loads((target / MADE_FILE).read_text(encoding="utf-8"))
    assert side["drawn-0002.png"] == read_recipe(drawn / "0002.png")
    again = plan_take([drawn / "0001.png", drawn / "0003.png"], root, "made mira")
    assert again.counts == {"pictures added": 1} and "drawn-0001.png" in again.notes[0]
    editor.apply(again)
    assert len(json.loads((target / MADE_FILE).read_text(encoding="utf-8"))) == 3
    editor.undo()
    assert json.loads((target / MADE_FILE).read_text(encoding="utf-8")).keys() == side.keys()
    editor.undo()
    assert not target.exists() and (drawn / "0001.png").exists()
    assert not plan_take([drawn / "0001.png"], root, "x").notes


def test_a_damaged_list_of_recipes_is_made_anew_from_the_pictures(drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    noise(root / "own.png", 1)
    editor = DatasetEditor([root], tmp_path / "cache")
    editor.apply(plan_take([drawn / "0001.png"], root, "made mira"))
    side = root / "made mira" / MADE_FILE
    side.write_bytes(side.read_bytes()[:30])
    editor.apply(plan_take([drawn / "0002.png"], root, "made mira"))
    assert json.loads(side.read_text(encoding="utf-8")) == {
        f"drawn-{number}.png": read_recipe(drawn / f"{number}.png") for number in ("0001", "0002")
    }


def test_training_reads_the_captions_and_nothing_else(drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    noise(root / "3_mira" / "own.png", 1)
    folder = usual_folder(root, "m")
    assert folder == "1_made m"
    DatasetEditor([root], tmp_path / "cache").apply(plan_take([drawn / "0002.png"], root, folder))
    config = DatasetConfig((Concept(root),), resolution=64, bucket_step=8)
    found = scan(config)
    assert {item.caption for item in found.items} == {"mira", "mira, saber (fate)"} and not found.problems
    assert not check(found, config, epochs=1).problems


def test_nothing_kept_and_odd_names_are_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No picture is kept"):
        plan_take([], tmp_path, "x")
    with pytest.raises(UserError):
        plan_take([drawn / "0001.png"], tmp_path, "../out")


@pytest.mark.parametrize(
    ("typed", "caption"),
    [
        ("1girl, (smile:1.2), ((hat)), [frown]", "1girl, smile, hat, frown"),
        ("saber (fate), saber \\(fate\\), saber_(fate)", "saber (fate), saber (fate), saber_(fate)"),
        ("(saber (fate):1.3), red hair", "saber (fate), red hair"),
        ("(a, b:1.2), , c,", "a, b, c"),
        (":), >:(, ^_^", ":), >:(, ^_^"),
        ("(masterpiece), 1girl", "masterpiece, 1girl"),
        ("a photo of a dog (close up) on the beach.", "a photo of a dog close up on the beach."),
    ],
)
def test_captions_have_no_weights_and_keep_the_parentheses_of_tags(typed: str, caption: str) -> None:
    assert as_caption(typed) == caption


def test_deep_nesting_and_many_tags_take_no_time() -> None:
    with within(10):
        as_caption("(" * 20_000 + "a" + ")" * 20_000)
        prompts = from_tags([tuple(f"tag{i}-{j}" for j in range(30)) for i in range(60)], 10**9, 1)
    assert len(prompts) == LIST


def test_a_lora_in_a_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="own field"):
        as_caption("1girl, <lora:mira:1>")


def test_prompts_come_from_captions_or_from_tags() -> None:
    captions = ["a, b", "", "c", "a, b"]
    assert sorted(from_captions(captions, 9, 1)) == ["a, b", "c"] and len(from_captions(captions, 1, 1)) == 1
    pictures = [("mira", "smile", "hat"), ("mira", "frown"), ("mira", "frown", "hat", "night"), ()]
    prompts = from_tags(pictures, 20, 3)
    assert prompts == from_tags(pictures, 20, 3) != from_tags(pictures, 20, 4)
    for prompt in prompts:
        tags = prompt.split(", ")
        assert (
            "mira" in tags and len(tags) == len(set(tags)) and set(tags) <= {"mira", "hat", "frown", "smile", "night"}
        )
    for empty in (from_captions, from_tags):
        with pytest.raises(UserError):
            empty([], 1, 1)
