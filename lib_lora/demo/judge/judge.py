"""Load the trained network and read pictures with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from ...errors import UserError
from ..world.spec import COLORED_HATS
from .attributes import CLASSES, NO_COLOR, Reading
from .network import JudgeNetwork, pixels, to_tensor

WEIGHTS = Path(__file__).with_name("judge.safetensors")
BATCH = 64


class Judge:
    """Reads attributes back from the pixels of any picture, whatever made it."""

    def __init__(self, network: JudgeNetwork):
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: str | Path | None = None) -> Judge:
        """The judge of the weights file ``path``, by default the one that comes with the program.

        Raises:
            UserError: when the file is missing, damaged or not a judge's.
        """
        path = Path(path or WEIGHTS)
        network = JudgeNetwork()
        try:
            network.load_state_dict({name: t.float() for name, t in load_file(path).items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            fix = "Restore the file from the repository, or make it anew: python -m lib_lora.demo.judge"
            raise UserError("The judge's weights cannot be read", where=path, fix=fix) from error
        return cls(network)

    def read(self, images: Sequence[Image.Image]) -> list[Reading]:
        """One reading a picture; pictures may differ in size (meant for 128×128 and 192×128)."""
        return [r for i in range(0, len(images), BATCH) for r in self._read_batch(images[i : i + BATCH])]

    @torch.inference_mode()
    def _read_batch(self, images: Sequence[Image.Image]) -> Iterator[Reading]:
        logits = self.network(to_tensor(np.stack([pixels(image) for image in images])))
        best = {name: x.softmax(1).max(1) for name, x in logits.items()}
        for i in range(len(images)):
            values = {name: CLASSES[name][b.indices[i]] for name, b in best.items()}
            if values["hat"] not in COLORED_HATS:
                values["hat_color"] = NO_COLOR
            yield Reading(**values, confidence={name: float(b.values[i]) for name, b in best.items()})
