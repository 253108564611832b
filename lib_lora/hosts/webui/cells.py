"""The rows of a web UI's batch: which image each of them is, in the text encoder and in the U-Net.

A web UI gives its U-Net whole batches one behind the other: A1111 the images with the prompt, then those without, or
one of the two alone (``batch_cond_uncond`` off, prompts of different lengths, *NGMS*, *Ignore negative prompt during
early sampling*); Forge and Neo the chunks named in ``cond_or_uncond``, in any order and as many as memory has room for.
So row n is image n modulo the size of the batch. The first calls are looked at: a web UI, or an extension, that orders
them otherwise makes its images one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import part_of
from lib_lora.hosts.batches import Apart, set_rows, weights_of
from lib_lora.models.base import GenerationRequest

LOOKS = 4  # calls of the U-Net whose order is looked at; in the first, images of one seed are still equal


class Cells:
    """One batch of images with the attached ``networks`` at the weights of each.

    Args:
        unet: the live U-Net.
        networks: attached already; their multipliers are set, and whoever calls puts them back.
        requests: the images.

    Attributes:
        requests: the same with weights, also where they had none.
    """

    def __init__(self, unet: nn.Module, networks: Sequence[Network], requests: Sequence[GenerationRequest]):
        self._unet = unet
        self._networks = networks
        self._weights = weights_of(networks, requests)
        self.requests = [replace(r, weights=w) for r, w in zip(requests, self._weights, strict=True)]
        self._reads_text = any(part_of(key) == "te" for network in networks for key in network.adapters)
        self._calls = self._copies = 0

    @contextmanager
    def acting(self) -> Iterator[None]:
        """The weights of each image on its rows of the U-Net for the length of a ``with`` block."""
        self._set(self._weights[:1])
        if len(self.requests) == 1:
            yield
            return
        handle = self._unet.register_forward_pre_hook(self._before_unet, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def encode_apart(self, p: Any) -> None:
        """Have the texts of ``p``, a web UI's ``processing``, encoded one by one: each at its own weights.

        A web UI encodes a text once that is there twice, and pads texts of different lengths.
        """
        whole = p.setup_conds

        def setup_conds() -> None:
            prompts, negatives = p.prompts, p.negative_prompts
            found: dict[Any, tuple[Any, Any]] = {}
            keys = []
            for prompt, negative, weights in zip(prompts, negatives, self._weights, strict=True):
                keys.append((prompt, negative, weights if self._reads_text else ()))
                if keys[-1] not in found:
                    self._set([weights])
                    p.prompts, p.negative_prompts = [prompt], [negative]
                    p.cached_c, p.cached_uc = [None, None], [None, None]
                    whole()
                    found[keys[-1]] = p.c, p.uc
            p.prompts, p.negative_prompts = prompts, negatives
            p.c, p.uc = _joined([found[key] for key in keys])

        p.setup_conds = setup_conds

    def _set(self, weights: Sequence[tuple[float | Tensor, ...]], copies: int = 1, device: Any = None) -> None:
        set_rows(self._networks, weights, copies, device=device)

    def _before_unet(self, unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x: Tensor = args[0] if args else kwargs["x"]
        count = len(self.requests)
        copies, rest = divmod(len(x), count)
        if rest or (self._calls < LOOKS and not _whole_batches(x, count)):
            raise Apart
        self._calls += 1
        if copies != self._copies:
            self._set(self._weights, copies, x.device)
            self._copies = copies


def _whole_batches(x: Tensor, count: int) -> bool:
    """Whether the rows of ``x`` are the same ``count`` images again and again."""
    return all(torch.equal(x[:count], part) for part in x.split(count)[1:])


def _joined(conds: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """What a web UI calls the conditionings of a batch, of those of its images.

    Raises:
        Apart: their lengths differ, so that the web UI would pad some.
    """
    prompts, negatives = [c for c, _ in conds], [uc for _, uc in conds]
    kinds = [
        (tuple(_lengths(part.schedules) for part in c.batch[0]), None if uc is None else _lengths(uc[0]))
        for c, uc in conds
    ]
    if len(set(kinds)) > 1:
        raise Apart(kinds)
    batch = type(prompts[0])((len(conds),), [c.batch[0] for c in prompts])
    return batch, None if negatives[0] is None else [uc[0] for uc in negatives]


def _lengths(schedule: Sequence[Any]) -> tuple[Any, ...]:
    """The shape of a text's conditioning, and until which step where that changes."""
    found = [(entry.end_at_step, _shape(entry.cond)) for entry in schedule]
    return (found[0][1],) if len({shape for _, shape in found}) == 1 else tuple(found)


def _shape(cond: Any) -> tuple[int, ...]:
    return tuple((cond["crossattn"] if isinstance(cond, dict) else cond).shape)
