"""A set to try everything with: paper dolls that the miniature model can learn in a minute or two."""

from __future__ import annotations

from pathlib import Path

from lib_lora.files import make_folder
from lib_lora.models.base import Host

COUNT = 24
NAME = "mira"  # of the character, and of the folder with its repeats
FOLDER, CONCEPT = "paper-dolls", f"3_{NAME}"


def miniature_of(host: Host) -> str:
    """The host's name of the miniature; empty where it has none (in a web UI, until ``demo export`` put it there)."""
    return next((name for name in host.checkpoints() if name.lower().startswith("mini")), "")


def write_dolls(sets: Path) -> Path:
    """Draw the set below the folder of sets; what is there already stays as it is. Returns the folder to open."""
    from lib_lora.demo.tour.datasets import character_caption, character_specs, write_dataset  # with world and judge

    folder = sets / FOLDER
    make_folder(folder / CONCEPT)
    specs = character_specs(COUNT)
    write_dataset(folder / CONCEPT, specs, [character_caption(spec) for spec in specs])
    return folder
