"""What is drawn: a grid with its hints, whole or damaged before, and the pictures of a base style."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from bench.faults.campaign import HALF, Campaign, Files
from bench.faults.tools import inputs
from bench.faults.training import DAMAGES, again, undisturbed
from lib_lora.models.base import GenerationRequest
from lib_lora.tools.base_style import framed
from lib_lora.tools.grid import make_grid
from lib_lora.tools.grid_spec import Candidate, GridSpec
from lib_lora.tools.likeness import Likeness, write_likeness
from lib_lora.tools.made.drawing import generate_dataset
from lib_lora.tools.made.spec import PictureSpec

SIDE = 32  # pixels
GRID_FILES = ("grid/grid.json", "grid/grid.png", "grid/likeness.json", "grid/cells/A_w1*.png")


def campaigns() -> list[Campaign]:
    """Each goes on at the next start, and what is there already is kept."""
    return [
        Campaign("base style", lambda folder: None, _generate, again(_generate), undisturbed),
        Campaign("grid", _prepare, _grid, again(_grid), _drawn),
        *(_of_damaged(pattern, damage) for pattern in GRID_FILES for damage in DAMAGES),
    ]


def _of_damaged(pattern: str, damage: str) -> Campaign:
    """Made again after one of its files was ``damage``d."""

    def prepare(folder: Path) -> None:
        _prepare(folder)
        _grid(folder)
        path = sorted(folder.glob(pattern))[0]
        path.write_bytes(DAMAGES[damage](path.read_bytes()))

    return Campaign(f"grid: {pattern} {damage}", prepare, _grid, again(_grid), _drawn)


class Painter:
    """A host that paints each picture in the colour of its seed."""

    paths = SimpleNamespace(lora_folders=())

    def literal(self, text: str) -> str:
        return text

    def info(self) -> Any:
        return SimpleNamespace(name="base", path=None)

    def generate(self, requests: Sequence[GenerationRequest], *_: Any, **__: Any) -> list[Image.Image]:
        return [Image.new("RGB", (SIDE, SIDE), (request.seed, 90, 200)) for request in requests]


def _generate(folder: Path) -> None:
    host: Any = Painter()
    for _ in generate_dataset(host, PictureSpec(framed(), 3), folder / "style"):
        pass


def _prepare(folder: Path) -> None:
    for stem in ("A", "B"):
        (folder / f"{stem}.safetensors").write_bytes(inputs()[f"{stem}.safetensors"])


def _grid(folder: Path) -> None:
    """As `lib_lora.jobs.grid_job` does."""
    host: Any = Painter()
    files = tuple(Candidate(stem, folder / f"{stem}.safetensors") for stem in ("A", "B"))
    settings = GenerationRequest("", width=SIDE, height=SIDE)
    spec = GridSpec(files, (0.0, 1.0), ("mira",), (1, 2), settings)
    likeness = Likeness([Image.linear_gradient("L")])
    found: dict[str, list[float]] = {}
    for done in make_grid(host, spec, folder / "grid"):
        found.setdefault(done.cell.file.label, []).append(likeness.of(done.image))
    write_likeness(folder / "grid", found, likeness)


def _drawn(before: Files, after: Files, now: Files) -> list[str]:
    """As if nothing had happened, and every picture can be seen."""
    wrong = undisturbed(before, after, now)
    for name in [name for name in now if name.endswith(".png")]:
        try:
            Image.open(io.BytesIO(now[name])).load()
        except (OSError, SyntaxError):
            wrong.append(f"{HALF}: {name} is no picture")
    return wrong
