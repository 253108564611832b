"""What a step will cost in time and memory, measured on the model itself instead of guessed from tables."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import MicroBatch, told_sizes
from lib_lora.models.base import LoadedModel
from lib_lora.models.families import family
from lib_lora.models.weights import how_stored
from lib_lora.training.config import TrainConfig
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.run_metadata import network_spec
from lib_lora.training.slider import denoiser_of

ADAM_BYTES = 12  # per trained number: weight and two moments, fp32 each; its gradient is measured


@dataclass(frozen=True)
class Cost:
    """``seconds`` and peak ``bytes`` of one step; ``model_bytes`` of them are the base, which is loaded anyway.

    ``base`` says how the host, or the settings, hold the base where that is not plain.
    """

    seconds: float
    bytes: int
    model_bytes: int
    base: str = ""


def probe(
    model: LoadedModel,
    config: TrainConfig,
    size: tuple[int, int],
    caption: str = "",
    tell: Callable[[str], None] | None = None,
) -> Cost:
    """Run the largest part of a batch of ``size`` (width, height in pixels) forward and backward, with a new network.

    Bytes are those of base, network and optimizer, and the most that the pass needed at once beyond them; without a
    graphics card of NVIDIA's or AMD's, working buffers within single operations are not seen.

    Args:
        tell: called before every layer with ""; what it raises ends the probe.
    """
    layers = model.layers()
    network = Network.create(layers, network_spec(config), config.seed)
    batch = largest_part(config)
    channels = family(model.family).latents.channels
    latents = torch.zeros(batch, channels, *(side // model.latent_factor for side in reversed(size)))
    sizes = torch.tensor([told_sizes(size, size)]).repeat(batch, 1)
    after = latents if config.slider_after else None
    samples = MicroBatch(latents, [caption] * batch, [], torch.ones(batch), sizes, after=after).on(model.device)
    t = torch.full((batch,), len(model.schedule) // 2, device=model.device)
    drawn = NoiseDraw(t, samples.latents, samples.latents)
    denoiser = denoiser_of(model, config)
    denoiser.network = network

    def loss() -> Tensor:
        return denoiser.loss(samples, drawn).mean()

    with denoiser.saving_memory(), network.attached_to(layers), _called_before(layers, tell):
        with peak_on(torch.device(model.device)) as peak:
            torch.autograd.backward(loss())  # also warms up, so that the second pass is timed as it will be
        needed = peak()
        started = time.perf_counter()
        last = loss()
        torch.autograd.backward(last)
        last.item()  # waits for a GPU
        seconds = time.perf_counter() - started
        base, how = bytes_on(torch.device(model.device), layers), how_stored(layers.values())
    trained = ADAM_BYTES * sum(p.numel() for p in network.parameters())
    seconds *= config.gradient_accumulation * config.batch_size / batch
    return Cost(seconds, base + trained + needed, base, how)


@contextmanager
def _called_before(layers: dict[str, torch.nn.Module], tell: Callable[[str], None] | None) -> Iterator[None]:
    with ExitStack() as hooks:
        for layer in layers.values() if tell is not None else ():
            hooks.callback(layer.register_forward_pre_hook(lambda *_: tell("")).remove)  # type: ignore[misc]
        yield


def bytes_on(device: torch.device, layers: dict[str, torch.nn.Module]) -> int:
    """Of the layers' weights that are on ``device``, each once; a text encoder may wait elsewhere."""
    weights = {p for layer in layers.values() for p in layer.parameters()}  # q, k and v may share one
    return sum(p.numel() * p.element_size() for p in weights if p.device.type == device.type)


def largest_part(config: TrainConfig) -> int:
    """The most images that are in the model at once."""
    return -(-config.batch_size // config.batch_parts)


class LivePeak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most bytes of storages that were alive at once, of those that are made within a ``with`` block.

    Every operation passes by, those of the backward pass too, and those that checkpointing does a second time: what a
    block needs meanwhile counts as what is kept does. Buffers within an operation are not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self._used = 0
        self._known: set[int] = set()  # storages that are alive

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_flatten((args, kwargs))[0]:
            self._see(tensor, counts=False)  # it was there before
        result = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            self._see(tensor, counts=True)
        return result

    def _see(self, tensor: Any, *, counts: bool) -> None:
        if not isinstance(tensor, Tensor) or tensor.device.type == "meta":
            return
        storage = tensor.untyped_storage()
        if storage._cdata in self._known:
            return
        size = storage.nbytes() if counts else 0
        self._known.add(storage._cdata)
        self._used += size
        self.bytes = max(self.bytes, self._used)
        weakref.finalize(storage, self._gone, storage._cdata, size)

    def _gone(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self._used -= size


@contextmanager
def peak_on(device: torch.device) -> Iterator[Callable[[], int]]:
    """Yields what gives, afterwards, the most bytes that the block needed at once beyond what was there."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device) - before
        return
    with LivePeak() as live:
        yield lambda: live.bytes
