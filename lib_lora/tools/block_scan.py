"""How much each block of a LoRA does: in finished pictures, and in what the U-Net predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib_lora.lora_files import load_network
from lib_lora.models.base import GenerationRequest, Host, LoadedModel

from ..adapters.blocks import BlockWeights
from ..adapters.file import LoraFile, read_lora
from ..adapters.network import Network
from ..errors import UserError
from .block_strength import BlockScan, BlockStrength, shape_of, style_of

NOISE_LEVELS = (0.2, 0.5, 0.8)  # shares of the schedule: fine detail, subject, composition


@dataclass(frozen=True)
class ScanStep:
    """Yielded after each slice of work: ``done`` of ``total``, and what is measured.

    ``picture`` is that of the first seed without the block ``without``, or with the whole LoRA where that is empty.
    """

    done: int
    total: int
    note: str
    picture: Image.Image | None = None
    without: str = ""


@dataclass(frozen=True)
class _Picture:
    """What is measured in one picture: itself, and the outlines of its style and its shapes."""

    pixels: np.ndarray
    style: np.ndarray
    shape: np.ndarray

    @classmethod
    def of(cls, image: Image.Image) -> _Picture:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
        return cls(pixels, style_of(pixels), shape_of(image))


def scan(
    host: Host,
    file: Path | LoraFile,
    request: GenerationRequest,
    seeds: Sequence[int],
    weight: float = 1.0,
    cancelled: Callable[[], bool] | None = None,
) -> Generator[ScanStep, None, BlockScan]:
    """Switch off one block after the other, and measure how far the result moves from that of the whole LoRA.

    A block's strength is its distance as a share of the distance between the whole LoRA and none: 0 does nothing, 1 is
    as much as all of it. In pictures it is the root mean square over pixels; in the latent space, that of the U-Net's
    prediction on the same noisy picture, over ``NOISE_LEVELS``. Only blocks with layers in the file are scanned.

    Args:
        request: prompt and all else; its seed does not count.
        seeds: each adds ``blocks + 2`` pictures.

    Raises:
        UserError: no seeds, no prompt's model, or a LoRA that is damaged, does not fit or changes nothing.
        Cancelled: as ``host.generate``.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError("Give at least one seed, each once", where="seeds", fix="Write for example 1, 2, 3.")
    lora = file if isinstance(file, LoraFile) else read_lora(file)
    network = load_network(lora)
    of = lora.family
    layers = Counter(of.blocks.of(key) or of.blocks.names[0] for key in lora.modules)
    blocks = [name for name in of.blocks.names if name in layers]
    every = BlockWeights(of, dict.fromkeys(of.blocks.names, 1.0))
    total = 1 + len(blocks) + len(seeds)

    def draw(weights: BlockWeights | None) -> list[Image.Image]:
        network.set_block_weights(weights)
        used = 0.0 if weights is None else weight
        return host.generate([replace(request, seed=s, weights=(used,)) for s in seeds], (network,), None, cancelled)

    whole = draw(every)
    without_lora = [_Picture.of(image) for image in draw(None)]
    reference = [_Picture.of(image) for image in whole]
    yield ScanStep(1, total, "the whole LoRA", whole[0])
    without_block: dict[str, list[_Picture]] = {}
    for done, block in enumerate(blocks, start=2):
        drawn = draw(every.changed({block: 0.0}))
        without_block[block] = [_Picture.of(image) for image in drawn]
        yield ScanStep(done, total, f"without {block}", drawn[0], block)
    latent: dict[str, list[float]] = {block: [] for block in blocks}
    for number, (seed, image) in enumerate(zip(seeds, whole, strict=True), start=1):
        with host.training_session() as model:
            found = _latent_shares(model, network, every, blocks, replace(request, seed=seed), image, weight)
        for block, share in found.items():
            latent[block].append(share)
        yield ScanStep(1 + len(blocks) + number, total, f"predictions on seed {seed}")
    rows = [
        _strength(block, layers[block], reference, without_lora, without_block[block], latent[block])
        for block in blocks
    ]
    return BlockScan(lora.name, tuple(seeds), tuple(rows))


def _strength(
    block: str,
    layers: int,
    whole: Sequence[_Picture],
    without_lora: Sequence[_Picture],
    without_block: Sequence[_Picture],
    latent: Sequence[float],
) -> BlockStrength:
    def shares(part: str) -> list[float]:
        return [
            _share(getattr(a, part) - getattr(c, part), getattr(a, part) - getattr(b, part))
            for a, b, c in zip(whole, without_lora, without_block, strict=True)
        ]

    style, shape = (float(np.mean(shares(part))) for part in ("style", "shape"))
    return BlockStrength(block, layers, tuple(shares("pixels")), tuple(latent), style, shape)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """Size of ``part`` as a share of that of ``whole``; 0 where there is nothing to share."""
    size = float(np.sqrt(np.mean(np.square(whole, dtype=np.float64))))
    return float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) / size if size > 1e-9 else 0.0


@torch.no_grad()
def _latent_shares(
    model: LoadedModel,
    network: Network,
    every: BlockWeights,
    blocks: Sequence[str],
    request: GenerationRequest,
    image: Image.Image,
    weight: float,
) -> dict[str, float]:
    """Block -> share of the LoRA's effect on predictions that goes when the block is switched off."""
    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 127.5 - 1)
    latents = model.encode_images(pixels.permute(2, 0, 1)[None])
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(request.seed)).to(latents)
    steps = len(model.schedule)
    t = torch.tensor([int(level * (steps - 1)) for level in NOISE_LEVELS], device=latents.device)
    noisy = model.schedule.add_noise(latents.repeat(len(t), 1, 1, 1), noise.repeat(len(t), 1, 1, 1), t)

    def predict(scale: float, weights: BlockWeights) -> Tensor:
        network.multiplier = scale
        network.set_block_weights(weights)
        cond = model.encode_text([request.prompt], clip_skip=request.clip_skip)
        return model.predict(noisy, t, cond.repeat(len(t), 1, 1)).float().cpu()

    with network.attached_to(model.layers()):
        whole = predict(weight, every)
        effect = (whole - predict(0.0, every)).numpy()
        found = {b: _share((whole - predict(weight, every.changed({b: 0.0}))).numpy(), effect) for b in blocks}
    network.multiplier = 1.0
    return found
