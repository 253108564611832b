"""Face detectors of the YOLOv8 family, exported to ONNX (as ``yolo export format=onnx`` writes them)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lib_lora.dataset.pictures.crops import Box
from lib_lora.dataset.tagging.onnx_model import open_session
from lib_lora.errors import UserError

SURE = 0.3  # least confidence, ADetailer's default
OVERLAP = 0.5  # boxes that overlap more are one face
DEFAULT_SIDE = 640
GREY = 114 / 255  # YOLO's padding


class OnnxFaces:
    """Input [1, 3, S, S] RGB 0 to 1; output [1, 5, N]: centre x, centre y, width, height, confidence in input pixels.

    Raises:
        UserError: onnxruntime is missing, or the file is no such model.
    """

    def __init__(self, path: Path):
        self.name = path.name
        self._session = open_session(path, gpu=False)
        model_input = self._session.get_inputs()[0]
        if len(model_input.shape) != 4 or model_input.shape[1] != 3:
            raise UserError("This is no face detector", where=path, fix="Export a YOLOv8 face model to ONNX")
        self._input = model_input.name
        side = model_input.shape[2]
        self._side = side if isinstance(side, int) and side > 0 else DEFAULT_SIDE

    def boxes(self, image: Image.Image) -> list[Box]:
        """Faces that the model is sure of, overlapping ones once; see :meth:`FaceDetector.boxes`."""
        scale = self._side / max(image.size)
        width, height = round(image.width * scale), round(image.height * scale)
        pixels = np.full((self._side, self._side, 3), GREY, np.float32)
        pixels[:height, :width] = np.asarray(image.resize((width, height)), np.float32) / 255
        output = self._session.run(None, {self._input: pixels.transpose(2, 0, 1)[None]})[0][0]
        sure = output[:, output[4] >= SURE]
        x, y, w, h, confidence = sure[:5]
        corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1) / scale
        return [_inside(corners[row], image) for row in _distinct(corners, confidence)]


def _distinct(corners: np.ndarray, confidence: np.ndarray) -> list[int]:
    """Non-maximum suppression: rows in order of confidence, without those that overlap a better one."""
    kept: list[int] = []
    for row in np.argsort(-confidence):
        if all(_overlap(corners[row], corners[other]) <= OVERLAP for other in kept):
            kept.append(int(row))
    return kept


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / max((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared, 1e-6))


def _inside(corners: np.ndarray, image: Image.Image) -> Box:
    limits = np.array([image.width, image.height] * 2)
    left, top, right, bottom = np.clip(corners, 0, limits).round().astype(int).tolist()
    return left, top, right, bottom
