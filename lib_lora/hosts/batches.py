"""Images that are made together: how many fit, what each row of a batch is, and what happens when it does not work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from lib_lora.adapters.network import Network
from lib_lora.models.base import GenerationRequest
from lib_lora.models.memory import forget_free_memory, free_memory, is_out_of_memory

T = TypeVar("T")
SAMPLE_PIXELS = 8 * 512 * 512  # of one batch through the U-Net; a larger one is hardly faster
ROWS = 2  # of the U-Net's batch for an image, with and without the prompt
BYTES = 20_000  # that the U-Net needs for each number of a latent's plane, times its size; Forge reckons likewise


class Apart(Exception):
    """The images of a batch cannot be made together after all.

    Attributes:
        kinds: one for each image; those of the same kind may be tried together. None: each alone.
    """

    def __init__(self, kinds: Sequence[Hashable] | None = None):
        super().__init__(kinds)
        self.kinds = kinds


def room(request: GenerationRequest, factor: int, device: torch.device, dtype: torch.dtype, expected: int = 0) -> int:
    """How many images of the size of ``request`` should share a batch, at least one.

    Args:
        factor: pixels to a latent, along one side.
        device, dtype: of the U-Net.
        expected: bytes that will come to the device before, such as the U-Net's own.
    """
    pixels = request.width * request.height
    most = SAMPLE_PIXELS // pixels
    free = free_memory(device)
    if free is not None:
        most = min(most, (free - expected) // (ROWS * pixels // factor**2 * BYTES * dtype.itemsize))
    return max(1, most)


def alike(
    requests: Sequence[GenerationRequest],
    kind: Callable[[GenerationRequest], Hashable],
    size: Callable[[GenerationRequest], int],
) -> list[list[int]]:
    """Indices of requests of one kind, in batches of at most ``size``; the kind None is made one by one."""
    groups: dict[Hashable, list[int]] = {}
    for index, request in enumerate(requests):
        same = kind(request)
        groups.setdefault(("alone", index) if same is None else same, []).append(index)
    return [part for group in groups.values() for part in _parts(group, size(requests[group[0]]))]


def settings_of(request: GenerationRequest) -> tuple[Hashable, ...]:
    """What the requests of a batch have in common, whoever makes it."""
    r = request
    return r.width, r.height, r.steps, r.sampler, r.cfg, r.clip_skip


def drawn(batches: Iterable[list[int]], draw: Callable[[list[int]], Sequence[T]]) -> Iterator[tuple[int, T]]:
    """Index and result of each image, batch by batch.

    A batch that runs out of memory is halved, as are those after it that are as large; none is lost.

    Args:
        batches: indices of images.
        draw: one result for each index; may raise :class:`Apart`.
    """
    waiting = deque(batches)
    most = max(map(len, waiting), default=1)
    while waiting:
        batch = waiting.popleft()
        parts = _parts(batch, most)
        if len(parts) == 1:
            try:
                results = draw(batch)
            except Apart as apart:
                parts = _apart(batch, apart.kinds)
            except Exception as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
                most = len(batch) // 2
                parts = _parts(batch, most)
            else:
                yield from zip(batch, results, strict=True)
                continue
            forget_free_memory()  # here, where the error no longer holds its tensors
        waiting.extendleft(reversed(parts))


def _parts(batch: list[int], most: int) -> list[list[int]]:
    return [batch[start : start + most] for start in range(0, len(batch), most)]


def _apart(batch: list[int], kinds: Sequence[Hashable] | None) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index, kind in zip(batch, range(len(batch)) if kinds is None else kinds, strict=True):
        groups.setdefault(kind, []).append(index)
    return list(groups.values()) if len(groups) > 1 else [[index] for index in batch]


def weights_of(networks: Sequence[Network], requests: Sequence[GenerationRequest]) -> list[tuple[float | Tensor, ...]]:
    """The weight of each network in each request."""
    own = tuple(network.multiplier for network in networks)
    return [request.weights or own for request in requests]


@contextmanager
def multipliers_kept(networks: Sequence[Network]) -> Iterator[None]:
    """Whatever multipliers are set within the ``with`` block, the networks have their own afterwards."""
    before = [network.multiplier for network in networks]
    try:
        yield
    finally:
        for network, multiplier in zip(networks, before, strict=True):
            network.multiplier = multiplier


def set_rows(
    networks: Sequence[Network],
    weights: Sequence[Sequence[float | Tensor]],
    copies: int,
    chunks: int = 1,
    device: torch.device | None = None,
) -> None:
    """Give each image its own network weights, in a batch of ``copies`` × images × ``chunks`` rows on ``device``.

    Args:
        weights: for each image, one of each network.
    """
    for network, column in zip(networks, zip(*weights, strict=True), strict=False):
        first = column[0]
        if all(weight is first or weight == first for weight in column):
            network.multiplier = first  # one number is cheaper, and nothing at all where it is 0
        else:
            network.multiplier = torch.tensor(column, device=device).repeat_interleave(chunks).repeat(copies)
