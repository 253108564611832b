"""What two pictures are compared by: mean colours of a coarse and of a fine grid, and a perceptual hash.

Grid of mean colours: the block measure known from dupeGuru's picture mode. Hash: the lowest 8×8 DCT coefficients of the
brightness, above or below their median (pHash; Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash
Functions").
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.duplicates.content import without_background
from lib_lora.dataset.duplicates.store import Grids, SignatureStore
from lib_lora.dataset.images import load_rgb
from lib_lora.dataset.problems import BadFile, Problem

BLOCKS = 15  # cells a side of the coarse grid
DETAIL = 64  # cells a side of the fine grid
HASH = 8  # DCT coefficients a side
HASH_INPUT = 32
BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
ORIENTATIONS = tuple((mirrored, quarters) for quarters in range(4) for mirrored in (False, True))
SMOOTH = Image.Resampling.HAMMING  # the same in a mirror at any size; BOX takes whole pixels, to one side
THREADS = 2
SLICE = 64  # pictures between two reports of progress

Array = np.ndarray


@dataclass(frozen=True)
class Signatures:
    """Of N pictures; ``rows`` are their positions in the sequence that was read.

    Args:
        blocks: uint8 [N, 15, 15, 3]. details: uint8 [N, 64, 64, 3].
        hashes: float32 [8, N, 64], each ±1, of the pictures in each of the `ORIENTATIONS`.
        aspects: float64 [N], width ÷ height of what is compared.
    """

    rows: Array
    blocks: Array
    details: Array
    hashes: Array
    aspects: Array


def read_signatures(
    pictures: Sequence[Picture], ignore_background: bool = False, cache: Path | None = None
) -> Generator[tuple[int, int], None, tuple[Signatures, tuple[Problem, ...]]]:
    """Decode every picture once; yields (done, total). Damaged ones become problems.

    Args:
        ignore_background: transparency and a flat colour that reaches in from the border do not count.
        cache: folder that remembers signatures; without one all pictures are read.
    """
    grids, rows, problems = [], [], []
    store = SignatureStore(cache, ignore_background) if cache else None
    read = partial(_read, ignore_background=ignore_background, store=store)
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(read, pictures)
        for start in range(0, len(pictures), SLICE):
            for row, found in enumerate(islice(results, SLICE), start):
                if isinstance(found, BadFile):
                    problems.append(Problem.of(pictures[row].path, found))
                else:
                    rows.append(row)
                    grids.append(found)
                    if store:
                        store.put(pictures[row], found)
            yield min(start + SLICE, len(pictures)), len(pictures)
    if store:
        store.save()
    return _signatures(rows, grids), tuple(problems)


def perceptual_hashes(brightness: Array) -> Array:
    """float32 [N, 32, 32] -> float32 [N, 64], each ±1."""
    k, x = np.mgrid[:HASH, :HASH_INPUT]
    cosine = np.cos(np.pi * k * (2 * x + 1) / (2 * HASH_INPUT)).astype(np.float32)  # DCT-II
    low = (cosine @ brightness @ cosine.T).reshape(len(brightness), HASH * HASH).round(1)
    return np.where(low > np.median(low, axis=1, keepdims=True), 1, -1).astype(np.float32)


def turned(grids: Array, mirrored: bool, quarters: int) -> Array:
    """[N, S, S, …] seen in a mirror and then turned to the left by quarters."""
    return np.rot90(grids[:, :, ::-1] if mirrored else grids, quarters, (1, 2))


def _read(picture: Picture, ignore_background: bool, store: SignatureStore | None) -> Grids | BadFile:
    if store and (known := store.get(picture)):
        return known
    try:
        path = picture.path
        image = without_background(path) if ignore_background else load_rgb(path, at_least=2 * DETAIL)
    except BadFile as error:
        return error
    coarse, fine = (np.asarray(image.resize((side, side), SMOOTH)) for side in (BLOCKS, DETAIL))
    width, height = image.size if ignore_background else picture.size
    return coarse, fine, width / height


def _signatures(rows: list[int], grids: list[Grids]) -> Signatures:
    blocks = np.array([coarse for coarse, _, _ in grids], np.uint8).reshape(-1, BLOCKS, BLOCKS, 3)
    details = np.array([fine for _, fine, _ in grids], np.uint8).reshape(-1, DETAIL, DETAIL, 3)
    step = DETAIL // HASH_INPUT
    parts = np.array_split(details, max(1, len(details) // 512))  # a float copy of all would need gigabytes
    grey = [(part @ BRIGHTNESS).reshape(-1, HASH_INPUT, step, HASH_INPUT, step).mean((2, 4)) for part in parts]
    brightness = np.concatenate(grey)
    hashes = np.stack([perceptual_hashes(turned(brightness, *orientation)) for orientation in ORIENTATIONS])
    aspects = np.array([aspect for _, _, aspect in grids])
    return Signatures(np.array(rows, np.int64), blocks, details, hashes, aspects)
