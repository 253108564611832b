"""Every folder and file of the data folder, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """What lies where in ``data``, the folder of this program; nothing of it has to be there."""

    data: Path

    @property
    def block_presets(self) -> Path:
        """The user's named block weights, a line each."""
        return self.data / "block_presets.txt"

    @property
    def presets(self) -> Path:
        """Folder of the user's presets of settings."""
        return self.data / "presets"

    @property
    def draft(self) -> Path:
        """The settings as they stand in the form."""
        return self.data / "train-draft.json"

    @property
    def card(self) -> Path:
        """What the last test of the card found."""
        return self.data / "card.json"

    @property
    def sets(self) -> Path:
        """Sets of pictures that were uploaded, or drawn to try with; others stay where they are."""
        return self.data / "sets"

    @property
    def last_set(self) -> Path:
        """Folders of the set that was opened last."""
        return self.data / "last-set.json"

    @property
    def grids(self) -> Path:
        """A folder for each grid that belongs to no run."""
        return self.data / "grids"

    @property
    def base_styles(self) -> Path:
        """A folder of pictures for each base style."""
        return self.data / "base_style"

    @property
    def made(self) -> Path:
        """A folder for each drawing of pictures that are to be trained on."""
        return self.data / "made"

    @property
    def sliders(self) -> Path:
        """A folder of drawn pictures for each slider that is learned from words."""
        return self.data / "sliders"

    @property
    def previews(self) -> Path:
        """Pictures of Blocks and Merge."""
        return self.data / "previews"

    @property
    def block_previews(self) -> Path:
        """Those of Blocks."""
        return self.previews / "blocks"

    @property
    def scans(self) -> Path:
        """Measured strengths of blocks."""
        return self.data / "block-scans"

    @property
    def published(self) -> Path:
        """A folder or zip for each LoRA that was made ready for others."""
        return self.data / "published"

    @property
    def examples(self) -> Path:
        """A folder for each LoRA with pictures that its user brought to publish."""
        return self.data / "examples"

    @property
    def brought(self) -> Path:
        """LoRA files that were dropped to be looked at."""
        return self.data / "brought"

    @property
    def taste(self) -> Path:
        """A folder for each LoRA that is tuned by taste."""
        return self.data / "taste"

    @property
    def latents(self) -> Path:
        """Cache of encoded pictures, and of the hashes that they go by."""
        return self.data / "latents"

    @property
    def texts(self) -> Path:
        """Cache of encoded captions, of models whose text encoders are not trained."""
        return self.data / "texts"

    @property
    def dataset(self) -> Path:
        """Caches of opened sets: thumbnails, headers, signatures."""
        return self.data / "dataset"

    @property
    def faces(self) -> Path:
        """Face detectors that the user put there."""
        return self.data / "faces"

    @property
    def taggers(self) -> Path:
        """Taggers that the user put there."""
        return self.data / "taggers"
