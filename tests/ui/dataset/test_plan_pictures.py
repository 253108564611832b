"""A plan shows what it would make beside what it makes it from."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lib_lora.dataset.pictures.crops import plan_crops
from lib_lora.dataset.pictures.upscale import plan_upscaled
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
