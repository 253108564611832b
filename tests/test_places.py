"""Something else in the place of any file or folder of the data folder: a folder, a file, a link that leads to itself,
or what cannot be read. Whoever meets it does without, or names it; what stood there stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lib_lora.adapters.block_presets import load_presets, preset_faults, save_presets
from lib_lora.dataset.cache import read_entry, write_entry
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.faces.detector import find_detector
from lib_lora.dataset.hashes import FileHashes
from lib_lora.demo.dolls import write_dolls
from lib_lora.errors import UserError
from lib_lora.jobs.card_job import keep_found
from lib_lora.places import Places
from lib_lora.tools.made.choice import CHOICE
from lib_lora.tools.made.drawing import pictures_in
from lib_lora.tools.made.sifting import ASIDE, set_aside, sift
from lib_lora.tools.made.spec import RECORD, PictureSpec, claim, is_begun, read_spec
from lib_lora.tools.picks import RECORD as PICKS
from lib_lora.tools.picks import Pick, give_star, read_picks
from lib_lora.tools.pictures import save_png
from lib_lora.training.config import TrainConfig
from lib_lora.training.own_presets import OwnPresets
from lib_lora.ui.card_panel import CardPanel
from lib_lora.ui.dataset.last_set import last_set, note
from lib_lora.ui.dataset.uploads import PUBLISH, Uploads
from lib_lora.ui.draft import Draft
from lib_lora.ui.faults import Faults
from lib_lora.ui.grid_place import SAVED, GridPlace, saved_grids
from lib_lora.ui.publish_brought import Brought
from lib_lora.workbench import Workbench
from lib_lora.workbench.made import MadePictures, drawings
from lib_lora.workbench.taste import SESSION, TasteTuning
from tests.ui.bare_host import bare_host

Act = Callable[[Workbench], Any]
PLACES = [name for name, value in vars(Places).items() if isinstance(value, property)]
KINDS = ["folder", "file", "loop", "unreadable"]


def places(bench: Workbench) -> Places:
    return bench.host.paths.places


def picture(bench: Workbench) -> Path:
    """A set of one picture, elsewhere."""
    path = bench.host.paths.data.parent / "elsewhere" / "a.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


def pixel(path: Path) -> Path:
    return save_png(Image.new("RGB", (1, 1)), path)


def hashed(bench: Workbench) -> None:
    hashes = FileHashes(places(bench).latents)
    hashes.sha256(picture(bench))
    hashes.save()


def uploaded(bench: Workbench, purpose: str = "") -> None:
    uploads = Uploads(places(bench))
    intake = uploads.find(uploads.begin("x", purpose))
    part = intake.part()
    part.write_bytes(b"1")
    intake.put("a.png", part)


def entry(folder: Path) -> None:
    path = folder / "k.safetensors"
    assert read_entry(path, "k") is None
    write_entry(path, "k", torch.ones(1))


def looked_at(bench: Workbench) -> None:
    editor = DatasetEditor([picture(bench).parent], places(bench).dataset)
    editor.thumbnails.path(editor.pictures[0])


SPEC = PictureSpec(("1girl",), 1)
ACTS: dict[str, list[Act]] = {
    "block_presets": [
        lambda b: load_presets(places(b).block_presets),
        lambda b: preset_faults(places(b).block_presets),
        lambda b: save_presets(places(b).block_presets, {"A": "1"}),
    ],
    "presets": [
        lambda b: OwnPresets(places(b).presets).faults(),
        lambda b: OwnPresets(places(b).presets).save("a", TrainConfig()),
    ],
    "draft": [
        lambda b: Draft(places(b).draft).load(),
        lambda b: Draft(places(b).draft).fault(),
        lambda b: Draft(places(b).draft).put("a", {"rank": 4}, {}),
    ],
    "card": [lambda b: CardPanel(b).shown(None), lambda b: keep_found(places(b).card, ["a row"], {})],
    "sets": [uploaded, lambda b: write_dolls(places(b).sets)],
    "last_set": [lambda b: last_set(places(b)), lambda b: note(places(b), [picture(b).parent])],
    "grids": [
        lambda b: saved_grids(b)(),
        lambda b: GridPlace(b, f"{SAVED}a").read(),
        lambda b: give_star(places(b).grids / "a", Pick("e1", 1.0)),
    ],
    "base_styles": [lambda b: pictures_in(places(b).base_styles / "a"), lambda b: read_spec(places(b).base_styles)],
    "made": [
        drawings,
        lambda b: MadePictures(b, "a").pictures(),
        lambda b: MadePictures(b, "a").undo(),
        lambda b: claim(places(b).made / "a", "tiny", SPEC, ()),
    ],
    "sliders": [lambda b: claim(places(b).sliders / "a", "tiny", SPEC, ())],
    "previews": [lambda b: pixel(places(b).previews / "a.png")],
    "block_previews": [lambda b: pixel(places(b).block_previews / "a.png")],
    "scans": [lambda b: pixel(places(b).scans / "a-pictures" / "a.png")],
    "published": [lambda b: pixel(places(b).published / "a" / "a.png")],
    "examples": [lambda b: Brought(b, None).pictures(Path("mira.safetensors"))],
    "brought": [lambda b: uploaded(b, PUBLISH)],
    "taste": [lambda b: TasteTuning(b, "a").session(), lambda b: TasteTuning(b, "a").undo()],
    "latents": [hashed, lambda b: entry(places(b).latents)],
    "texts": [lambda b: entry(places(b).texts)],
    "dataset": [looked_at],
    "faces": [lambda b: find_detector([places(b).faces])],
    "taggers": [lambda b: sorted(places(b).taggers.glob("*/model.onnx"))],
}


def put(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        path.mkdir()
        (path / "mine").write_text("mine", encoding="utf-8")
    elif kind == "file":
        path.write_text("mine", encoding="utf-8")
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.symlink_to("/proc/self/mem")  # whoever reads it gets an error of input and output


def kept(root: Path, kind: str) -> bool:
    """Whether what stood there is still somewhere; a link has no content."""
    files = [path for path in root.rglob("*") if path.is_file() and path.stat().st_size < 100]
    return kind not in ("folder", "file") or any(b"mine" in path.read_bytes() for path in files)


def allowed(act: Callable[[], Any], named: Path) -> None:
    """It does without, or names what stands there."""
    try:
        act()
    except UserError as error:
        assert error.where is None or named in (Path(error.where), *Path(error.where).parents) or "yet" in str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PLACES)
def test_something_else_in_its_place(tmp_path: Path, name: str, kind: str) -> None:
    bench = Workbench(bare_host(tmp_path))
    place = getattr(places(bench), name)
    put(place, kind)
    Workbench(bare_host(tmp_path))  # a start, which sweeps
    shown = Faults(places(bench)).now()
    assert kind == "loop" or name not in ("block_presets", "draft") or str(place) in shown[0] or kind == "file"
    for act in ACTS[name]:
        allowed(lambda act=act: act(bench), place)
        assert kept(tmp_path, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [ASIDE, CHOICE, RECORD, PICKS, SESSION])
def test_something_else_in_the_place_of_a_file_of_a_folder(tmp_path: Path, name: str, kind: str) -> None:
    bench = Workbench(bare_host(tmp_path))
    made, tuning = MadePictures(bench, "a"), TasteTuning(bench, "a")
    pixel(made.folder / "0001.png")
    put((tuning if name == SESSION else made).folder / name, kind)
    of_made: list[Callable[[], Any]] = [
        lambda: list(sift(made.folder, places(bench).dataset)),
        lambda: set_aside(made.folder),
        made.pictures,
        lambda: made.answer("0001", True),
        made.undo,
        lambda: (is_begun(made.folder), read_spec(made.folder)),
        lambda: claim(made.folder, "tiny", SPEC, ()),
        lambda: (read_picks(made.folder), give_star(made.folder, Pick("e1", 1.0))),
    ]
    for act in [tuning.session, tuning.undo] if name == SESSION else of_made:
        allowed(act, tuning.folder if name == SESSION else made.folder)
        assert kept(tmp_path, kind)
    assert name != ASIDE or set_aside(made.folder) == {"0001": "black"}  # made anew; what stood there has another name
