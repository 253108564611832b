"""Tagger models in ONNX files, run by onnxruntime where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from lib_lora.dataset.tagging.choice import TagChoice, choose
from lib_lora.dataset.tagging.labels import read_labels
from lib_lora.dataset.tags.edits import Tags
from lib_lora.errors import UserError
from lib_lora.packages import ONNX

MODEL_NAME = "model.onnx"
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
PROVIDERS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "CPUExecutionProvider")
DEFAULT_SIDE = 448  # where the model leaves height and width open
DEFAULT_BATCH = 4  # where it leaves the number of pictures open


class OnnxTagger:
    """A folder with ``model.onnx`` and ``selected_tags.csv`` (WD v2, v3) or ``tag_mapping.json`` (cl_tagger).

    Shape, layout and type of the input are read from the model. Pictures are padded with white to a square and given as
    BGR, 0 to 255 (WD) or -1 to 1 (cl_tagger).

    Args:
        folder: of the model.
        choice: which tags are taken.
        gpu: use a graphics card if onnxruntime can; falls back to the CPU.

    Raises:
        UserError: onnxruntime is missing, or the model or its list of tags cannot be used.
    """

    def __init__(self, folder: Path, choice: TagChoice | None = None, gpu: bool = False):
        folder = Path(folder)
        self.name = folder.name
        self.choice = choice or TagChoice()
        self.labels = read_labels(folder)
        self._session = open_session(folder / MODEL_NAME, gpu)
        model_input = self._session.get_inputs()[0]
        self._input = model_input.name
        self._dtype = DTYPES.get(model_input.type)
        shape = [size if isinstance(size, int) and size > 0 else None for size in model_input.shape]
        if self._dtype is None or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            what = f"The model takes {model_input.type} {model_input.shape}, which is no batch of colour pictures"
            raise UserError(what, where=folder / MODEL_NAME, fix="Choose a tagger model")
        self._channels_first = shape[1] == 3 and shape[3] != 3
        height, width = shape[2:] if self._channels_first else shape[1:3]
        self.size = (width or DEFAULT_SIDE, height or DEFAULT_SIDE)
        self.batch_size = shape[0] or DEFAULT_BATCH

    @property
    def key(self) -> str:
        """Changes whenever the same picture might get other tags."""
        return f"{self.name}|{self.choice}"

    def tag(self, images: Sequence[Image.Image]) -> list[Tags]:
        """Tags of RGB pictures of any size, no more than ``batch_size`` of them."""
        return [choose(row, self.labels.rows, self.choice) for row in self.probabilities(images)]

    def probabilities(self, images: Sequence[Image.Image]) -> np.ndarray:
        """float64 [N, tags]; a model of fixed batch size is given white pictures for the rest.

        Raises:
            UserError: the model has another number of outputs than its list has tags.
        """
        pixels = np.stack([self._pixels(image) for image in images])
        if missing := self.batch_size - len(images):
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])
        output = self._session.run(None, {self._input: pixels})[0][: len(images)].astype(np.float64)
        if output.shape != (len(images), len(self.labels.rows)):
            what = f"The model has {output.shape[-1]} outputs, but its list has {len(self.labels.rows)} tags"
            raise UserError(what, where=self.name, fix="Put the list that belongs to the model beside it")
        return 1 / (1 + np.exp(-output)) if self.labels.logits else output

    def _pixels(self, image: Image.Image) -> np.ndarray:
        side = max(image.size)
        square = Image.new("RGB", (side, side), "white")
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        bgr = np.asarray(square.resize(self.size, Image.Resampling.BICUBIC), np.float32)[:, :, ::-1]
        if self.labels.logits:
            bgr = bgr / 127.5 - 1
        return (bgr.transpose(2, 0, 1) if self._channels_first else bgr).astype(self._dtype)


def open_session(path: Path, gpu: bool) -> Any:
    """An onnxruntime session of the model file, on the GPU where one is wanted and works; UserError for a bad file."""
    if not path.is_file():
        raise UserError("There is no model here", where=path, fix="Give the folder that holds model.onnx")
    runtime = _runtime()
    usable = [name for name in PROVIDERS if name in runtime.get_available_providers()]
    attempts = [usable, usable[-1:]] if gpu and len(usable) > 1 else [["CPUExecutionProvider"]]
    for number, providers in enumerate(attempts, start=1):
        try:
            return runtime.InferenceSession(str(path), providers=providers)
        except Exception as error:  # onnxruntime has no common base class; a broken CUDA must not stop the CPU
            if number == len(attempts):
                what = f"The model cannot be opened ({str(error).splitlines()[0]})"
                raise UserError(what, where=path, fix="Download it again") from error
    raise AssertionError("there is always an attempt")


def _runtime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        fix = f"Press Install below the tagger, or: pip install --no-deps {ONNX.pin}"
        raise UserError("This tagger needs onnxruntime, which is not installed", fix=fix) from error
    return onnxruntime
