"""What a face detector is, which one is there, and the faces of many pictures."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.faces.importable import AnimeFace, Ultralytics
from lib_lora.dataset.faces.onnx_yolo import OnnxFaces
from lib_lora.dataset.images import load_rgb
from lib_lora.dataset.pictures.crops import Box
from lib_lora.dataset.problems import BadFile
from lib_lora.errors import UserError

SIDE = 1024  # pixels of the longer side at which faces are looked for


class FaceDetector(Protocol):
    """The plug-in point: anything that finds faces."""

    name: str

    def boxes(self, image: Image.Image) -> list[Box]:
        """Boxes of the heads' front in pixels of an RGB picture, the surest first."""


def find_detector(folders: Iterable[Path]) -> FaceDetector | None:
    """The first that works: ``face*.onnx`` in one of the folders, ADetailer's ``face*.pt`` through ultralytics where
    that is installed, else animeface where that is; None without any."""
    for make in _candidates([Path(folder) for folder in folders]):
        try:
            return make()
        except (ImportError, OSError, UserError):
            continue
    return None


def face_shares(
    pictures: Sequence[Picture], detector: FaceDetector
) -> Generator[tuple[int, int], None, dict[Path, tuple[float, float, float, float]]]:
    """The largest face of each picture that has one: (left, top, right, bottom) in fractions; yields (done, total)."""
    found = {}
    for done, picture in enumerate(pictures, start=1):
        try:
            image = load_rgb(picture.path, at_least=SIDE)
        except BadFile:
            continue  # opening has reported it
        image.thumbnail((SIDE, SIDE))
        boxes = detector.boxes(image)
        if boxes:
            left, top, right, bottom = max(boxes, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
            width, height = image.size
            found[picture.path] = (left / width, top / height, right / width, bottom / height)
        yield done, len(pictures)
    return found


def _candidates(folders: list[Path]) -> Iterator[Callable[[], FaceDetector]]:
    files = [file for folder in folders if folder.is_dir() for file in sorted(folder.glob("face*"))]
    for kind, suffix in ((OnnxFaces, ".onnx"), (Ultralytics, ".pt")):
        for file in files:
            if file.suffix == suffix:
                yield lambda kind=kind, file=file: kind(file)
    yield AnimeFace
