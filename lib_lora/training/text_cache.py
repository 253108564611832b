"""Conditionings of captions that will be seen again unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib_lora.dataset.cache import MEMORY_LIMIT, read_entry, write_entry
from lib_lora.models.base import LoadedModel
from lib_lora.models.conditioning import joined
from lib_lora.models.families import family
from lib_lora.models.transfer import sent

FORMAT_VERSION = 1  # raise it whenever an encoding changes


class TextCache:
    """Encodes each caption once, alone, so the result does not depend on what it is batched with.

    Only for a text encoder that is not trained; shuffled captions would fill it without ever being found again. CLIP's
    conditionings are small and stay on the device. Those of language models are megabytes each: they wait in main
    memory, and on the disk, where a later run finds them.

    Args:
        folder: for files, one a caption; by caption, text encoder and options. None: none are written.
        options: of ``encode_text``.
    """

    def __init__(self, model: LoadedModel, folder: Path | None = None, **options: Any):
        self.model = model
        self.folder = folder
        self.options = options
        self.known: dict[str, Tensor] = {}
        self._chunks = family(model.family).chunks
        self._held = 0

    def prepare(self, captions: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Make what is missing, yielding (done, total) after each caption."""
        wanted = list(dict.fromkeys(captions))
        for done, caption in enumerate(wanted, start=1):
            self._one(caption)
            yield done, len(wanted)

    def encode(self, captions: list[str], min_chunks: int = 1) -> Tensor:
        """[B, 77·n, D]; shorter captions are filled up with the chunk of the empty caption, as hosts do.

        For a family without chunks [B, L, D], filled up with rows that do not count.
        """
        conds = [self._one(caption) for caption in captions]
        if not self._chunks:
            return sent(joined(conds), self.model.device)
        length = max(77 * min_chunks, *(cond.shape[1] for cond in conds))
        return torch.cat([self._filled(cond, length) for cond in conds])

    def _one(self, caption: str) -> Tensor:
        if caption in self.known:
            return self.known[caption]
        cond = self._encoded(caption) if self._chunks else self._from_disk(caption)
        if self._chunks or self._held + cond.nbytes <= MEMORY_LIMIT:
            self.known[caption] = cond
            self._held += cond.nbytes
        return cond

    def _encoded(self, caption: str) -> Tensor:
        with torch.no_grad():
            return self.model.encode_text([caption], **self.options)

    def _from_disk(self, caption: str) -> Tensor:
        if self.folder is None:
            return self._encoded(caption).cpu()
        what = [FORMAT_VERSION, self.model.family, self.model.hashes()["text"], str(self.model.dtype), self.options]
        key = hashlib.sha256(json.dumps([*what, caption], sort_keys=True).encode()).hexdigest()
        path = self.folder / f"{key}.safetensors"
        cond = read_entry(path, key)
        if cond is None:
            cond = self._encoded(caption).cpu().contiguous()
            write_entry(path, key, cond)
        return cond

    def _filled(self, cond: Tensor, length: int) -> Tensor:
        missing = (length - cond.shape[1]) // 77
        return torch.cat([cond, *[self._one("")] * missing], dim=1)
