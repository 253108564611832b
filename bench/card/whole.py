"""What users wait for: an epoch grid, and the time from a click to the first step."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.card.device import Card
from bench.card.models import Sizes
from bench.card.steps import LORA
from bench.start import finish, settings, timed, write_pictures
from lib_lora.adapters.network import Network
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import GenerationRequest, HostPaths
from lib_lora.training.meter import Meter
from lib_lora.workbench import Workbench


class HostOf(StandaloneHost):
    """A host whose model is in memory and in no file."""

    def __init__(self, model: Any, folder: Path):
        paths = HostPaths(*(folder / name for name in ("loras", "checkpoints", "runs", "data")))
        super().__init__(paths, device=model.device, dtype=model.dtype)
        model.path = folder / "random.safetensors"
        model.path.write_bytes(b"")
        self._model = model


def grid(card: Card, model: Any, folder: Path, sizes: Sizes) -> dict[str, float]:
    """``speedup`` of cells that share a batch over one by one, and ``seconds`` of a cell in the batch."""
    host, pixels = HostOf(model, folder), sizes.models["SD1.5"].pixels
    network = Network.create(model.layers("unet"), LORA, seed=0)
    cell = GenerationRequest("1girl", width=pixels, height=pixels, steps=sizes.sampling_steps)
    cells = [replace(cell, weights=((n + 1) / sizes.cells,)) for n in range(sizes.cells)]
    together = card.timed(lambda: host.generate(cells, [network]), sizes.seconds, 1) / len(cells)
    alone = card.timed(lambda: host.generate(cells[:1], [network]), sizes.seconds, 2)
    return {"speedup": alone / together, "seconds": together}


def start(model: Any, folder: Path, sizes: Sizes) -> dict[str, float]:
    """``seconds`` from the click to the end of the first step, latents and texts being cached; wanted: 2 at most."""
    bench, pictures = Workbench(HostOf(model, folder)), write_pictures(folder / "pictures")
    config = replace(settings(pictures, "first"), resolution=sizes.models["SD1.5"].pixels, te_lr=0.0)
    finish(bench, config)
    spans: list[tuple[float, float]] = []
    with timed(Meter, "add", spans):
        click = time.perf_counter()
        finish(bench, replace(config, name="second"))
    return {"seconds": spans[0][1] - click}
