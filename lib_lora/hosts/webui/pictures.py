"""Upscalers and the tagger that a web UI brings along; the same in A1111, Forge and reForge."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from modules import shared
from PIL import Image

from lib_lora.errors import UserError

NONE = "None"  # the web UI's upscaler that does nothing
DEEPBOORU = "deepbooru"
DEEPBOORU_SIDE = 512
FILL = 2  # the web UI's way to resize: whole picture, borders filled


class WebUiPictures:
    """To be inherited by a host that has ``gpu_lock``."""

    def upscalers(self) -> list[str]:
        """Names as in the web UI's Extras tab."""
        return [found.name for found in shared.sd_upscalers if found.name != NONE]

    def upscale(self, name: str, image: Image.Image, factor: float) -> Image.Image:
        """See :meth:`lib_lora.models.base.Host.upscale`. Web UIs give sides in steps of 8, which is put right here."""
        chosen = next((found for found in shared.sd_upscalers if found.name == name and name != NONE), None)
        if chosen is None:
            raise UserError("There is no such upscaler", where=name, fix="Use one of " + ", ".join(self.upscalers()))
        size = round(image.width * factor), round(image.height * factor)
        if factor <= 1:  # A1111 would run its model three times
            return image.resize(size, Image.Resampling.LANCZOS)
        with self.gpu_lock:
            result = chosen.scaler.upscale(image, factor, chosen.data_path).convert("RGB")
        return result if result.size == size else result.resize(size, Image.Resampling.LANCZOS)

    def taggers(self) -> list[str]:
        """deepbooru, unless this web UI was made without it (Forge-Classic)."""
        return [DEEPBOORU] if find_spec("modules.deepbooru") else []

    def tag_probabilities(self, name: str, image: Image.Image) -> dict[str, float]:
        """See :meth:`lib_lora.models.base.Host.tag_probabilities`. The web UI fetches the model at its first use."""
        if name not in self.taggers():
            raise UserError("There is no such tagger", where=name, fix="Give the folder of a tagger model")
        from modules import deepbooru, devices, images

        picture = images.resize_image(FILL, image.convert("RGB"), DEEPBOORU_SIDE, DEEPBOORU_SIDE)
        pixels = torch.from_numpy(np.asarray(picture, np.float32)[None] / 255)
        with self.gpu_lock:
            deepbooru.model.start()
            try:
                with torch.no_grad(), devices.autocast():
                    output = deepbooru.model.model(pixels.to(devices.device))[0].float().cpu()
            finally:
                deepbooru.model.stop()
        return dict(zip(deepbooru.model.model.tags, output.tolist(), strict=True))
