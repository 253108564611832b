"""What a step will cost in time and memory, measured on the model itself instead of guessed from tables."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from lib_lora.adapters.network import Network
from lib_lora.dataset.batches import MicroBatch, told_sizes
from lib_lora.host import LoadedModel
from lib_lora.models.families import family
from lib_lora.models.weights import how_stored
from lib_lora.training.config import TrainConfig
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.run_metadata import network_spec

ADAM_BYTES = 16  # per trained number: weight, gradient and two moments, fp32 each


@dataclass(frozen=True)
class Cost:
    """``seconds`` and peak ``bytes`` of one step; ``model_bytes`` of them are the base, which is loaded anyway.

    ``base`` says how the host, or the settings, hold the base where that is not plain.
    """

    seconds: float
    bytes: int
    model_bytes: int
    base: str = ""


def probe(model: LoadedModel, config: TrainConfig, size: tuple[int, int], caption: str = "") -> Cost:
    """Run the largest part of a batch of ``size`` (width, height in pixels) forward and backward, with a new network.

    Bytes are those of base, network, optimizer and of the activations kept for the backward pass; working buffers of
    single operations are not seen.
    """
    layers = model.layers()
    network = Network.create(layers, network_spec(config), config.seed)
    batch = largest_part(config)
    channels = family(model.family).latents.channels
    latents = torch.zeros(batch, channels, *(side // model.latent_factor for side in reversed(size)))
    sizes = torch.tensor([told_sizes(size, size)]).repeat(batch, 1)
    samples = MicroBatch(latents, [caption] * batch, [], torch.ones(batch), sizes).on(model.device)
    t = torch.full((batch,), len(model.schedule) // 2, device=model.device)
    drawn = NoiseDraw(t, samples.latents, samples.latents)
    denoiser = Denoiser(model, config)

    def loss() -> Tensor:
        return denoiser.loss(samples, drawn).mean()

    with denoiser.saving_memory(), network.attached_to(layers):
        kept = _KeptForBackward(layers)
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
            torch.autograd.backward(loss())  # also warms up, so that the second pass is timed as it will be
        started = time.perf_counter()
        last = loss()
        torch.autograd.backward(last)
        last.item()  # waits for a GPU
        seconds = time.perf_counter() - started
        base, how = bytes_on(torch.device(model.device), layers), how_stored(layers.values())
    trained = ADAM_BYTES * sum(p.numel() for p in network.parameters())
    seconds *= config.gradient_accumulation * config.batch_size / batch
    return Cost(seconds, base + trained + kept.bytes, base, how)


def bytes_on(device: torch.device, layers: dict[str, torch.nn.Module]) -> int:
    """Of the layers' weights that are on ``device``, each once; a text encoder may wait elsewhere."""
    weights = {p for layer in layers.values() for p in layer.parameters()}  # q, k and v may share one
    return sum(p.numel() * p.element_size() for p in weights if p.device.type == device.type)


def largest_part(config: TrainConfig) -> int:
    """The most images that are in the model at once."""
    return -(-config.batch_size // config.batch_parts)


class _KeptForBackward:
    """Counts the bytes of every storage that autograd keeps, once, without the frozen weights."""

    def __init__(self, layers: dict[str, torch.nn.Module]):
        self.seen = {p.untyped_storage().data_ptr() for layer in layers.values() for p in layer.parameters()}
        self.bytes = 0

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.seen:
            self.seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor
