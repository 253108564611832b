from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.faces.detector import face_shares, find_detector
from lib_lora.dataset.faces.onnx_yolo import OnnxFaces
from lib_lora.errors import UserError

SIDE = 64
# centre x, centre y, width, height, confidence in 64 × 64 pixels: a face, the same again, another, and nothing
FOUND = np.array(
    [[16, 16, 16, 16, 0.9], [17, 16, 16, 16, 0.8], [48, 20, 8, 12, 0.5], [40, 40, 9, 9, 0.1]], np.float32
).T[None]


def write_detector(path: Path, output: np.ndarray = FOUND) -> Path:
    """A model with the contract of an exported YOLOv8 that finds the same in every picture."""
    nodes = [
        helper.make_node("ReduceMin", ["images"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "zero"], ["nothing"]),
        helper.make_node("Add", ["found", "nothing"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "faces",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, output.shape)],
        [numpy_helper.from_array(output, "found"), numpy_helper.from_array(np.float32(0), "zero")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_boxes_of_a_yolo_model_are_in_pixels_of_the_picture(tmp_path):
    detector = OnnxFaces(write_detector(tmp_path / "face.onnx"))
    assert detector.boxes(Image.new("RGB", (128, 96))) == [(16, 16, 48, 48), (88, 28, 104, 52)]
    with pytest.raises(UserError):
        OnnxFaces(tmp_path / "missing.onnx")


def test_the_largest_face_of_each_picture(add_image, tmp_path):
    add_image("set/wide.png", (200, 100))
    editor = DatasetEditor([tmp_path / "set"], tmp_path / "cache")
    (tmp_path / "faces").mkdir()
    write_detector(tmp_path / "faces" / "face_yolo.onnx")
    detector = find_detector([tmp_path / "nowhere", tmp_path / "faces"])
    assert detector.name == "face_yolo.onnx"
    work = face_shares(editor.pictures, detector)
    assert next(work) == (1, 1)
    with pytest.raises(StopIteration) as end:
        next(work)
    left, top, right, bottom = end.value.value[tmp_path / "set" / "wide.png"]
    assert (left, right) == pytest.approx((0.125, 0.375)) and bottom - top == pytest.approx(0.5)


def test_packages_are_used_where_they_are_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "animeface", None)
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    (tmp_path / "face_yolov8n.pt").write_bytes(b"")
    assert find_detector([tmp_path]) is None
    box = SimpleNamespace(pos=SimpleNamespace(x=10, y=20, width=40, height=30))
    face = SimpleNamespace(face=box, likelihood=0.9)
    monkeypatch.setitem(sys.modules, "animeface", SimpleNamespace(detect=lambda image: [face]))
    assert find_detector([tmp_path]).boxes(Image.new("RGB", (52, 60))) == [(6, 14, 52, 50)]

    class YOLO:
        def __init__(self, path):
            self.path = path

        def __call__(self, image, conf, verbose):
            boxes = SimpleNamespace(xyxy=np.array([[1.4, 2.6, 10, 20]]))
            return [SimpleNamespace(boxes=boxes)]

    monkeypatch.setitem(sys.modules, "ultralytics", SimpleNamespace(YOLO=YOLO))
    detector = find_detector([tmp_path])
    assert (detector.name, detector.boxes(Image.new("RGB", (50, 50)))) == ("face_yolov8n.pt", [(1, 3, 10, 20)])
