"""What the tests of grids in all web UIs share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from lib_lora.adapters.network import Network
from lib_lora.models.base import GenerationRequest

HAT = GenerationRequest("1girl, red hat", "blurry", width=64, height=64, steps=2, seed=5)
CELLS = [replace(HAT, weights=(0.0,)), replace(HAT, weights=(1.0,)), replace(HAT, seed=6, weights=(0.6,))]


@contextmanager
def batches_of(webui_processing: Any) -> Iterator[list[int]]:
    """The sizes of the batches that the web UI is asked for."""
    sizes: list[int] = []
    make = webui_processing.process_images

    def counted(p: Any) -> Any:
        sizes.append(p.batch_size)
        return make(p)

    webui_processing.process_images = counted
    try:
        yield sizes
    finally:
        webui_processing.process_images = make


def are_one_by_one(host: Any, requests: Sequence[GenerationRequest], networks: Sequence[Network]) -> list[int]:
    """Make the requests together and one by one, which must be the same; the batches in which they were together."""
    from modules import processing

    with batches_of(processing) as sizes:
        together = host.generate(requests, networks)
        found = list(sizes)
    alone = [host.generate([request], networks)[0] for request in requests]
    for one, other in zip(together, alone, strict=True):
        assert one.info["parameters"] == other.info["parameters"]
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1
    assert len({image.tobytes() for image in together}) == len({image.tobytes() for image in alone})
    return found
