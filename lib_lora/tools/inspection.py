"""What a LoRA file is, whoever made it: what its header says, and what its numbers are."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..adapters.build import adapter_from
from ..adapters.delta import rank_for_energy
from ..adapters.file import LoraFile, open_lora
from ..adapters.layers import Params, outline
from ..adapters.loaders import kinds, kinds_of, limits, limits_elsewhere, read_by
from ..adapters.workers import made_ahead
from .card_files import read_card, trigger_in

MOST_RANK = 1024  # of a layer whose singular values are computed; larger ones cost minutes and say little
TAGS = 40  # of the most frequent
NOTHING = 1e-12  # share of a file's energy at which a block does nothing

# ss_ entries that people compare -> how they are called; in this order
SETTINGS = {
    "sd_model_name": "Trained on",
    "network_module": "Module",
    "network_dim": "Rank",
    "network_alpha": "Alpha",
    "network_args": "Network arguments",
    "optimizer": "Optimizer",
    "unet_lr": "Learning rate",
    "text_encoder_lr": "Text encoder's rate",
    "lr_scheduler": "Schedule",
    "num_epochs": "Epochs",
    "epoch": "Saved at epoch",
    "steps": "Saved at step",
    "max_train_steps": "Steps planned",
    "num_train_images": "Images × repeats",
    "total_batch_size": "Batch size",
    "resolution": "Resolution",
    "clip_skip": "Clip skip",
    "noise_offset": "Noise offset",
    "min_snr_gamma": "Min-SNR gamma",
    "loss_type": "Loss",
    "mixed_precision": "Precision",
    "keep_tokens": "Keep tokens",
    "shuffle_caption": "Captions shuffled",
    "flip_aug": "Flipped copies",
    "seed": "Seed",
    "training_comment": "Comment",
}
UNSAID = ("", "None", "null", "{}", "[]")


@dataclass(frozen=True)
class Facts:
    """What is known without reading the numbers.

    Attributes:
        kinds: LoRA, LoHa, DoRA …, as users call them.
        ranks: rank -> layers of it; empty where all are full differences.
        precisions: of the tensors.
        trigger: empty where nothing says it.
        tags: (tag, images that have it), the most frequent first.
        folders: of the training set: name -> (images, repeats).
        settings: what it was trained with, by the names of :data:`SETTINGS`.
        remarks: what is odd about it.
        programs: who can load it, and who cannot.
    """

    name: str
    path: Path
    size: int  # bytes
    family: str
    kinds: tuple[str, ...]
    layers: int
    ranks: Mapping[int, int]
    precisions: tuple[str, ...]
    trigger: str = ""
    weight: float | None = None
    tags: tuple[tuple[str, int], ...] = ()
    folders: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlockUse:
    """How much of a block's rank is used, and how strong it is.

    Attributes:
        rank, effective, at90, at99: means over its layers; ``effective`` is the exponential of the entropy of σ/Σσ
            (Roy and Vetterli, "The effective rank", 2007), the others keep 90 and 99 % of Σσ². None: not factored.
        norm: Frobenius norm of ΔW over all its layers.
        share: of the whole file's ‖ΔW‖².
        against: ‖ΔW‖ ÷ ‖W‖ of the base weights of the same layers; None without them.
    """

    block: str
    layers: int
    norm: float
    share: float
    rank: float | None = None
    effective: float | None = None
    at90: float | None = None
    at99: float | None = None
    against: float | None = None


@dataclass(frozen=True)
class Strengths:
    """What the numbers of a file say.

    Attributes:
        blocks: in the order of the family's.
        curve: share of Σσ² of all factored layers that is kept if each keeps its 1, 2, 3, … largest singular values.
        base: name of the checkpoint that it was compared with; empty for none.
        unread: layers whose change depends on weights that were not at hand.
        remarks: what is odd about it.
    """

    blocks: tuple[BlockUse, ...]
    curve: tuple[float, ...] = ()
    base: str = ""
    unread: int = 0
    remarks: tuple[str, ...] = ()

    def rank_for(self, share: float) -> int:
        """The smallest rank of all layers that keeps this share; 0 where there is no curve."""
        return next((i for i, kept in enumerate(self.curve, start=1) if kept >= share), len(self.curve))


@dataclass(frozen=True)
class _Layer:
    block: str
    energy: float  # ‖ΔW‖²
    spectrum: Tensor | None  # float64
    base: float | None  # ‖W‖²


def look_at(path: Path) -> Facts:
    """What the header of a file says, and the card beside it; costs milliseconds.

    Raises:
        UserError: as :func:`open_lora`.
    """
    file = open_lora(path)
    layers = outline(file.modules)
    found = kinds_of(layers)
    labels = [label for kind, label in kinds().items() if kind in found]
    metadata = {name.removeprefix("ss_"): text for name, text in file.metadata.items() if name.startswith("ss_")}
    ranks = _ranks(layers)
    elsewhere = limits_elsewhere(found)
    card = read_card(path)
    return Facts(
        name=file.name,
        path=path,
        size=path.stat().st_size,
        family=file.family.label if file.families else "unknown",
        kinds=tuple(labels),
        layers=len(layers),
        ranks=ranks,
        precisions=tuple(sorted({_precision(t) for params in layers.values() for t in params.values() if t.dim() > 1})),
        trigger=(card.activation if card else "") or trigger_in(file.metadata),
        weight=card.weight if card else None,
        tags=_tags(metadata),
        folders=_folders(metadata),
        settings={label: metadata[key] for key, label in SETTINGS.items() if metadata.get(key, "") not in UNSAID},
        remarks=tuple(_oddities(file, ranks)),
        programs=(read_by(file.family), *limits(found), *([elsewhere] if elsewhere else [])) if file.families else (),
    )


def measure(
    file: LoraFile,
    base: Mapping[str, Tensor] | None = None,
    base_name: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Strengths:
    """Singular values and norms, layer by layer.

    Args:
        base: weights of a checkpoint by layer key; layers that it lacks are not compared.
        progress: called with (layers done, layers); what it raises ends the work.

    Raises:
        UserError: the file holds NaN or infinity, or cannot be read.
    """
    keys, found, unread = list(file.modules), [], 0
    for done, layer in enumerate(made_ahead(partial(_layer, file, base), keys), start=1):
        if layer is None:
            unread += 1
        else:
            found.append(layer)
        if progress is not None:
            progress(done, len(keys))
    curve = _curve([layer.spectrum for layer in found if layer.spectrum is not None])
    total = sum(layer.energy for layer in found)
    names = [name for name in file.family.blocks.names if any(layer.block == name for layer in found)]
    blocks = tuple(_block(name, [layer for layer in found if layer.block == name], total) for name in names)
    compared = any(block.against is not None for block in blocks)
    strengths = Strengths(blocks, curve, base_name if compared else "", unread)
    return Strengths(blocks, curve, strengths.base, unread, tuple(_findings(strengths, file)))


# -- the header -------------------------------------------------------------------------------------------------------


def _ranks(layers: Mapping[str, Params]) -> dict[int, int]:
    counts: Counter[int] = Counter()
    for params in layers.values():
        factor = next((params[name] for name in ("lora_down.weight", "hada_w1_b", "lokr_w2_b") if name in params), None)
        if factor is not None:
            counts[factor.shape[0]] += 1
    return dict(sorted(counts.items()))


def _precision(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def parsed(text: str | None) -> Any:
    """JSON in metadata; None where there is none that can be read."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def _tags(metadata: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    counts: Counter[str] = Counter()
    folders = parsed(metadata.get("tag_frequency"))
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int) and tag.strip():
                counts[tag.strip()] += count
    return tuple(counts.most_common(TAGS))


def _folders(metadata: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    folders = parsed(metadata.get("dataset_dirs"))
    found = {}
    for name, row in folders.items() if isinstance(folders, dict) else ():
        if isinstance(row, dict):
            images, repeats = row.get("img_count"), row.get("n_repeats")
            if isinstance(images, int) and isinstance(repeats, int):
                found[str(name)] = (images, repeats)
    return found


def _oddities(file: LoraFile, ranks: Mapping[int, int]) -> list[str]:
    """What a user would want to know, from the header alone."""
    found = [remark.removeprefix(f"{file.name}: ") for remark in file.remarks]
    if not any(name.startswith(("ss_", "modelspec.")) for name in file.metadata):
        found.append("The file says nothing about how it was trained")
    named = file.metadata.get("ss_base_model_version") or file.metadata.get("modelspec.architecture")
    if named and file.families and not any(one.marking.fits(file.metadata) for one in file.families):
        found.append(f"It calls its base model {named}, but has the layers of {file.family.label}")
    if not file.families:
        found.append("Its layers are of no family that is known here")
    if file.extras:
        found.append(f"{len(file.extras)} tensors belong to no layer, such as {next(iter(file.extras))}")
    said = file.metadata.get("ss_network_dim", "")
    if said.isdigit() and ranks and int(said) not in ranks and max(ranks) < int(said):
        found.append(f"It was trained at rank {said}, and has at most {max(ranks)}: it was resized")
    return found


# -- the numbers ------------------------------------------------------------------------------------------------------


def _layer(file: LoraFile, base: Mapping[str, Tensor] | None, key: str) -> _Layer | None:
    """None where the change depends on a weight that is not at hand."""
    adapter = adapter_from(file.modules[key])
    weight = base[key] if base is not None and key in base else None
    if adapter.needs_base:
        if weight is None:
            return None
        adapter.fit(weight.shape)
    delta = adapter.delta(weight.float() if adapter.needs_base and weight is not None else None)
    block = file.family.blocks.of(key) or file.family.blocks.names[0]
    of_base = None if weight is None else float(weight.double().norm()) ** 2
    rank = delta.rank
    if rank and rank <= MOST_RANK:
        spectrum = delta.singular_values()
        return _Layer(block, float(spectrum.square().sum()), spectrum, of_base)
    return _Layer(block, delta.norm() ** 2, None, of_base)


def effective_rank(spectrum: Tensor) -> float:
    """exp(−Σ p ln p) with p = σ/Σσ: from 1, all in one direction, to the number of singular values, all alike."""
    total = spectrum.sum()
    if total <= 0:
        return 0.0
    return math.exp(float(torch.special.entr(spectrum / total).sum()))


def _block(name: str, layers: Sequence[_Layer], total: float) -> BlockUse:
    energy = sum(layer.energy for layer in layers)
    spectra = [layer.spectrum for layer in layers if layer.spectrum is not None]
    compared = [(layer.energy, layer.base) for layer in layers if layer.base is not None]
    below = sum(of_base for _, of_base in compared)

    def mean(of: Callable[[Tensor], float]) -> float | None:
        return sum(map(of, spectra)) / len(spectra) if spectra else None

    return BlockUse(
        block=name,
        layers=len(layers),
        norm=math.sqrt(energy),
        share=energy / total if total > 0 else 0.0,
        rank=mean(len),
        effective=mean(effective_rank),
        at90=mean(partial(rank_for_energy, energy=0.9)),
        at99=mean(partial(rank_for_energy, energy=0.99)),
        against=math.sqrt(sum(above for above, _ in compared) / below) if below > 0 else None,
    )


def _curve(spectra: Sequence[Tensor]) -> tuple[float, ...]:
    if not spectra:
        return ()
    squares = torch.zeros(max(map(len, spectra)), dtype=torch.float64)
    for values in spectra:
        squares[: len(values)] += values.double().square()
    kept = squares.cumsum(dim=0)
    return tuple((kept / kept[-1]).tolist()) if kept[-1] > 0 else ()


def _findings(found: Strengths, file: LoraFile) -> list[str]:
    remarks = []
    if idle := [block.block for block in found.blocks if block.share < NOTHING]:
        remarks.append(f"It does nothing in {', '.join(idle)}, although it has layers there")
    needed = found.rank_for(0.99)
    if found.curve and 2 * needed <= len(found.curve):
        remarks.append(f"Rank {needed} of {len(found.curve)} keeps 99 % of it: resized, the file is much smaller")
    if strong := [block.block for block in found.blocks if (block.against or 0) > 1]:
        remarks.append(f"In {', '.join(strong)} the change is larger than the base weights themselves")
    if found.unread:
        what = f"{found.unread} of {len(file.modules)} layers act on the base weights, and none were at hand"
        remarks.append(f"{what}: they are left out of the figures")
    return remarks
