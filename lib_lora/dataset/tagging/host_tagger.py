"""The host's own taggers (deepbooru) as a `Tagger`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lib_lora.dataset.tagging.choice import TagChoice, choose
from lib_lora.dataset.tagging.labels import GENERAL, RATING, Label
from lib_lora.dataset.tags.edits import Tags
from lib_lora.models.base import Host

RATING_PREFIX = "rating:"


class HostTagger:
    """One of ``host.taggers()``; thresholds and the rest are ours, not those of the host's settings."""

    batch_size = 1

    def __init__(self, host: Host, name: str, choice: TagChoice | None = None):
        self.host, self.name = host, name
        self.choice = choice or TagChoice(threshold=0.5)

    @property
    def key(self) -> str:
        """Changes whenever the same picture might get other tags."""
        return f"{self.name}|{self.choice}"

    def tag(self, images: Sequence[Image.Image]) -> list[Tags]:
        """Tags of RGB pictures."""
        return [self._chosen(self.host.tag_probabilities(self.name, image)) for image in images]

    def _chosen(self, probabilities: dict[str, float]) -> Tags:
        labels = tuple(
            Label(name.removeprefix(RATING_PREFIX), RATING if name.startswith(RATING_PREFIX) else GENERAL)
            for name in probabilities
        )
        return choose(np.array(list(probabilities.values()), np.float64), labels, self.choice)
