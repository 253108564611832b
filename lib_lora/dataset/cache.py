"""Latents on disk, so that a run needs the VAE once per image and later runs not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable
from itertools import product
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lib_lora.dataset.buckets import Size
from lib_lora.dataset.hashes import FileHashes
from lib_lora.dataset.images import load_pixels
from lib_lora.dataset.problems import BadFile, Problem
from lib_lora.dataset.scan import Item, Scan
from lib_lora.dataset.views import PLAIN, View, recoloured
from lib_lora.files import atomic_write
from lib_lora.small_files import UNREADABLE

FORMAT_VERSION = 1  # raise it whenever the pixels or the file layout change
MEMORY_LIMIT = 256 << 20  # bytes of latents held in memory


class Encoder(Protocol):
    """What the cache needs of a `lib_lora.models.base.LoadedModel`."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Scaled latents [B, C, h, w] of pixels [B, 3, H, W] in [-1, 1]."""

    def hashes(self) -> dict[str, str]:
        """Among others ``"vae"``: a hash of its tensors."""


class LatentCache:
    """Latents by content: SHA-256 of the image file, VAE hash, bucket size, view (mirrored, …), format version.

    An entry carries a checksum; a damaged one is made anew. Images are encoded one at a time, so a latent never
    depends on what else was missing (a resumed run finds the same bits).

    Args:
        folder: where entries live, ``<key>.safetensors`` each; may be shared by all runs.
        model: encodes pixels [1, 3, H, W] in [-1, 1] to scaled latents, and tells the hash of its VAE.
    """

    def __init__(self, folder: Path, model: Encoder):
        self.folder = Path(folder)
        self.hashes = FileHashes(self.folder)
        self._model = model
        self._vae = model.hashes()["vae"]
        self._keys: dict[tuple[Path, Size, View], str] = {}  # so that a picture deleted or edited meanwhile stays known
        self._memory: dict[str, Tensor] = {}
        self._held = 0

    def get(self, item: Item, view: View = PLAIN) -> Tensor:
        """Latents float32 [4, h, w] on the CPU, encoded now if they are missing or damaged.

        Raises:
            BadFile: the image cannot be read, or the VAE gives no finite latents for it.
        """
        asked = (item.path, item.bucket, view)
        key = self._keys.get(asked) or self._keys.setdefault(asked, self._key(item, view))
        if key in self._memory:
            return self._memory[key]
        path = self.folder / f"{key}.safetensors"
        latents = read_entry(path, key)
        if latents is None:
            latents = self._encode(item, view)
            write_entry(path, key, latents)
        if self._held + latents.nbytes <= MEMORY_LIMIT:
            self._memory[key] = latents
            self._held += latents.nbytes
        return latents

    def prepare(self, scan: Scan, wanted: Iterable[View] = (PLAIN,)) -> Generator[tuple[int, int], None, Scan]:
        """Make every missing entry of the ``wanted`` views.

        Yields (done, total) after each image, so the caller may pause or stop between.

        Returns:
            The scan (``prepared = yield from cache.prepare(scan)``), without the images that could not be encoded:
            those are among its problems.
        """
        problems, wanted = [], list(wanted)
        try:
            for done, item in enumerate(scan.items, start=1):
                try:
                    for shown, view in product(filter(None, (item, item.after)), wanted):
                        self.get(shown, view)
                except BadFile as error:
                    problems.append(Problem.of(item.path, error))
                yield done, len(scan.items)
        finally:
            self.hashes.save()
        return scan.without(problems)

    def _key(self, item: Item, view: View) -> str:
        width, height = item.bucket
        parts = f"{FORMAT_VERSION}/{self._image(item)}/{self._vae}/{width}x{height}/{int(view.flipped)}"
        if view.colour or view.crop:
            parts += f"/{view.colour}/{view.crop}"
        return hashlib.sha256(parts.encode()).hexdigest()

    def _image(self, item: Item) -> str:
        """SHA-256 of the file."""
        try:
            return self.hashes.sha256(item.path)
        except OSError as error:
            what = f"the file cannot be read ({error.strerror})"
            raise BadFile(what, where=item.path, fix="Put it back, or scan again") from error

    @torch.no_grad()
    def _encode(self, item: Item, view: View) -> Tensor:
        pixels = load_pixels(item.path, item.bucket, view.flipped, view.place)
        if view.colour:
            pixels = recoloured(pixels, self._image(item), view.colour)
        latents = self._model.encode_images(pixels[None])[0].float().cpu().contiguous()
        if not torch.isfinite(latents).all():
            what = "the VAE gives no finite numbers for this image"
            raise BadFile(what, where=item.path, fix="Run the VAE in full precision")
        return latents


def write_entry(path: Path, key: str, latents: Tensor) -> None:
    """Write one tensor, with its key and a checksum."""
    with atomic_write(path) as part:
        save_file({"latents": latents}, part, metadata={"key": key, "checksum": _checksum(latents)})


def read_entry(path: Path, key: str) -> Tensor | None:
    """The entry's latents, or None if it is missing, foreign or damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            latents = file.get_tensor("latents").clone()  # not a view of the mapped file, which Windows would lock
    except (SafetensorError, OSError, *UNREADABLE):
        return None
    intact = (
        latents.dtype == torch.float32 and metadata.get("key") == key and metadata.get("checksum") == _checksum(latents)
    )
    return latents if intact else None


def _checksum(latents: Tensor) -> str:
    layout = f"{latents.dtype} {tuple(latents.shape)} ".encode()
    numbers = latents.contiguous().view(torch.uint8)  # numpy has no bfloat16
    return hashlib.sha256(layout + numbers.numpy().tobytes()).hexdigest()
