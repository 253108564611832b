"""What is kept to save time: latents, hashes, headers, thumbnails, signatures. Damaged, it is made anew."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from bench.faults.campaign import HALF, LEFT, LOST, Campaign, Files
from bench.faults.training import DAMAGES, again, plain, save_file
from lib_lora.dataset import cache
from lib_lora.dataset.cache import LatentCache
from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.duplicates.groups import find_duplicates
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.scan import scan

NESTED = {"nested": lambda data: b"[" * 50_000, "other content": lambda data: b'{"1.png": [1, "x"], "2.png": 7}'}
LATENTS = ("latents/hashes.json", "latents/*.safetensors")
OPENED = ("cache/headers.json", "cache/signatures.npz", "cache/thumbnails/*.jpg")


def campaigns() -> list[Campaign]:
    """Each kind of cache as it is made, and then made again after one of its files was damaged."""
    made = [("latents", _encode, LATENTS), ("dataset", _look, OPENED)]
    found = [Campaign(f"caches: {name}", _pictures, act, again(act), _usable) for name, act, _ in made]
    for _, act, files in made:
        for pattern in files:
            damages = {**DAMAGES, **(NESTED if pattern.endswith("json") else {})}
            found += [_of_damaged(act, pattern, name, damage) for name, damage in damages.items()]
    return found


def _of_damaged(
    act: Callable[[Path], object], pattern: str, name: str, damage: Callable[[bytes], bytes]
) -> Campaign:  # fmt: skip
    def prepare(folder: Path) -> None:
        _pictures(folder)
        act(folder)
        path = sorted(folder.glob(pattern))[0]
        path.write_bytes(damage(path.read_bytes()))

    return Campaign(f"caches: {pattern} {name}", prepare, act, again(act), _usable)


def _pictures(folder: Path) -> None:
    (folder / "set").mkdir()
    for number in (1, 2, 3):
        Image.new("RGB", (64, 64), (80 * number, 90, 200)).save(folder / "set" / f"{number}.png")


class _Encoder:
    """Means over 8×8 pixels as latents."""

    def hashes(self) -> dict[str, str]:
        return {"vae": "means"}

    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 8)[:, [0, 1, 2, 0]]


def _encode(folder: Path) -> None:
    found = scan(DatasetConfig((Concept(folder / "set"),), resolution=64, bucket_step=16))
    with patch.object(cache, "save_file", save_file):
        for _ in LatentCache(folder / "latents", _Encoder()).prepare(found):
            pass


def _look(folder: Path) -> None:
    """Open the set, look at each picture, and search for copies."""
    editor = DatasetEditor([folder / "set"], folder / "cache")
    if len(editor.pictures) < 3:
        raise ValueError("a picture is missing")
    for picture in editor.pictures:
        editor.thumbnails.path(picture)
    for _ in find_duplicates(editor.pictures, cache=folder / "cache"):
        pass


def _usable(before: Files, after: Files, now: Files) -> list[str]:
    """The pictures are as they were, and every cache is there and can be read."""
    wrong = [f"{LOST}: {name}" for name in after if now.get(name, b"") != after[name] and name.startswith("set/")]
    wrong += [f"{LOST}: {name}" for name in after if name not in now]
    wrong += [f"{LEFT}: {name}" for name in now if name not in after]
    return wrong + [f"{HALF}: {name}" for name, data in now.items() if name in after and not _whole(name, data, after)]


def _whole(name: str, data: bytes, after: Files) -> bool:
    try:
        if name.endswith(".json"):
            return bool(json.loads(data) == json.loads(after[name]))
        if name.endswith(".npz"):  # has times in it
            with np.load(io.BytesIO(data)) as found, np.load(io.BytesIO(after[name])) as wanted:
                return all(np.array_equal(found[key], wanted[key]) for key in wanted)
    except (ValueError, OSError, EOFError, RecursionError):
        return False
    return plain(data) == plain(after[name])
