"""Detectors of packages that may be there: animeface (anime), ultralytics with ADetailer's models (both)."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lib_lora.dataset.pictures.crops import Box

WIDER = 1.2  # animeface marks the inner face; a head's front is that much wider on each side
SURE = 0.3  # ADetailer's default


class AnimeFace:
    """nagadomi's detector (PyPI ``animeface``).

    Raises:
        ImportError: it is not installed.
    """

    name = "animeface"

    def __init__(self) -> None:
        import animeface

        self._detect = animeface.detect

    def boxes(self, image: Image.Image) -> list[Box]:
        """Heads, the likeliest first; see :meth:`FaceDetector.boxes`."""
        faces = sorted(self._detect(image), key=lambda face: -face.likelihood)
        return [_widened(face.face.pos, image) for face in faces]


class Ultralytics:
    """A YOLO face model as ADetailer keeps them, e.g. ``face_yolov8n.pt``.

    Raises:
        ImportError: ultralytics is not installed.
    """

    def __init__(self, path: Path):
        from ultralytics import YOLO

        self.name = path.name
        self._model = YOLO(str(path))

    def boxes(self, image: Image.Image) -> list[Box]:
        """Faces, the surest first; see :meth:`FaceDetector.boxes`."""
        found = self._model(image, conf=SURE, verbose=False)[0].boxes.xyxy.tolist()
        return [tuple(round(value) for value in box) for box in found]


def _widened(box: object, image: Image.Image) -> Box:
    more_x, more_y = (WIDER - 1) / 2 * box.width, (WIDER - 1) / 2 * box.height
    left, top = max(0, round(box.x - more_x)), max(0, round(box.y - 2 * more_y))
    return left, top, min(image.width, round(box.x + box.width + more_x)), min(image.height, round(box.y + box.height))
