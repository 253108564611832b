"""Pictures of settings, as one is asked to compare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from lib_lora.lora_files import load_network
from lib_lora.models.base import GenerationRequest, Host

from ...adapters.network import Network
from .proposals import Point
from .space import Tuned


class Painter:
    """Draws any point of what is tuned; each LoRA is read once.

    Args:
        files: of the LoRAs, by name.

    Raises:
        UserError: a file is damaged.
    """

    def __init__(self, tuned: Tuned, files: Mapping[str, Path]):
        self.tuned = tuned
        self._files = files
        self._networks: dict[str, Network] = {}

    def draw(
        self,
        host: Host,
        point: Point,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Image.Image]:
        """A picture for each request.

        Raises:
            UserError, Cancelled: as ``host.generate``.
        """
        terms = self.tuned.terms(point)
        networks = [self._network(name) for name, _, _ in terms]
        for network, (_, _, blocks) in zip(networks, terms, strict=True):
            network.set_block_weights(blocks)
        weights = tuple(weight for _, weight, _ in terms)
        return host.generate([replace(r, weights=weights) for r in requests], tuple(networks), cancelled=cancelled)

    def _network(self, name: str) -> Network:
        if name not in self._networks:
            self._networks[name] = load_network(self._files[name])
        return self._networks[name]
