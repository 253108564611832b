"""A plan shows what it would make beside what it makes it from."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lib_lora.dataset.pictures.composites import CompositeOptions
from lib_lora.dataset.pictures.crops import plan_crops
from lib_lora.dataset.pictures.upscale import plan_upscaled
from lib_lora.tools.two_subjects import plan_joint
from lib_lora.ui.dataset import plan_pictures
from lib_lora.ui.dataset.plan_pictures import PlanPictures
from lib_lora.ui.dataset.session import Session
from lib_lora.ui.dataset.views import Album
from lib_lora.ui.files import Pictures


def doubled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)))


def test_crops_and_upscales_are_shown_before_they_are_made(session: Session, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("a", "a_b", *"cdefg"):
        Image.new("RGB", (64, 48), "teal").save(folder / f"{name}.png")
    pictures = session.open([folder]).pictures
    plan = PlanPictures(Album(session, Pictures(session.workbench.host.paths)))
    crops = plan_crops([(picture, (0, 0, 32, 24)) for picture in pictures])
    shown = plan.draw(crops, pictures)
    assert shown.count("<figure") == plan_pictures.SHOWN and shown.count("<img") == 2 * plan_pictures.SHOWN
    assert "a 64×48 → a_part1 32×24" in shown and "a_b 64×48 → a_b_part1 32×24" in shown
    assert sorted(path.name for path in folder.glob("*_part*")) == []  # nothing has been made
    monkeypatch.setattr(plan_pictures, "_look_at", None)
    assert plan.draw(crops, pictures) == shown  # once a plan
    monkeypatch.undo()
    assert "128×96" in plan.draw(plan_upscaled(pictures, 96, doubled, quick=True), pictures)
    assert plan.draw(plan_upscaled(pictures, 96, doubled), pictures) == ""  # a network would take long


def test_composites_are_shown_before_they_are_made(session: Session, tmp_path: Path) -> None:
    for name in ("5_mira", "5_rin"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (64, 48), "teal").save(tmp_path / "set" / name / "a.png")
    pictures = session.open([tmp_path / "set"]).pictures
    change = plan_joint({p.folder.name[2:]: [p] for p in pictures}, tmp_path / "set", CompositeOptions())
    shown = PlanPictures(Album(session, Pictures(session.workbench.host.paths))).draw(change, pictures)
    assert 0 < shown.count("<figure") == shown.count("<img") and "composite-00001 128×48" in shown
    session.opened().apply(change)
    pictures = [p for p in session.opened().pictures if p.folder.name != "1_composites"]
    again = plan_joint({p.folder.name[2:]: [p] for p in pictures}, tmp_path / "set", CompositeOptions())
    shown = PlanPictures(Album(session, Pictures(session.workbench.host.paths))).draw(again, session.opened().pictures)
    assert "→" not in shown and "composite-00001 128×48" in shown  # not made of the composites of before
