"""What makes files of LoRAs: keeping one, merging, resizing, extracting, and merging into a checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image

from bench.faults.campaign import Campaign, Files, all_or_nothing
from bench.faults.training import sweep
from lib_lora.adapters.base_weights import CheckpointWeights
from lib_lora.adapters.extract import Extraction, extract
from lib_lora.adapters.file import write_lora
from lib_lora.demo.architecture import random_checkpoint
from lib_lora.tools.export import Card, export_lora
from lib_lora.tools.merge import merge, merge_to_checkpoint

LAYERS = 4
RANK = 2


def campaigns() -> list[Campaign]:
    """Each with a retry at the next start, which ends what was begun."""
    return [
        _campaign("keep this one", _keep),
        _campaign("merge", lambda folder: _save(folder, merge("A:1,B:-0.5", folder).file)),
        _campaign("resize", lambda folder: _save(folder, merge("A:1", folder, rank=1).file)),
        _campaign("extract", _extract),
        _campaign("merge into a checkpoint", _into_checkpoint),
    ]


def _campaign(name: str, work: Callable[[Path], object]) -> Campaign:
    return Campaign(f"files: {name}", _prepare, lambda folder: work(folder) and None, sweep, all_or_nothing)


def _prepare(folder: Path) -> None:
    for name, content in inputs().items():
        (folder / name).write_bytes(content)


@lru_cache(maxsize=1)
def inputs() -> Files:
    """A checkpoint with its yaml, another of other weights, and two small LoRAs of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, stem in enumerate(("base", "tuned")):
            random_checkpoint(folder / f"{stem}.safetensors", seed=number)
        (folder / "base.yaml").write_text("model: {}", encoding="utf-8")
        weights = CheckpointWeights(folder / "base.safetensors")
        keys = [key for key in weights.places if "attn1_to" in key][:LAYERS]
        for seed, stem in enumerate(("A", "B")):
            g = torch.Generator().manual_seed(seed)
            modules = {}
            for key in keys:
                out, into = weights[key].shape
                modules[key] = {
                    "lora_up.weight": torch.randn(out, RANK, generator=g) * 0.1,
                    "lora_down.weight": torch.randn(RANK, into, generator=g) * 0.1,
                    "alpha": torch.tensor(float(RANK)),
                }
            write_lora(folder / f"{stem}.safetensors", modules, {"ss_base_model_version": "sd_v1"})
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _keep(folder: Path) -> None:
    picture = Image.new("RGB", (64, 64), "red")
    export_lora(folder / "A.safetensors", folder / "Mira.safetensors", Card("mira"), picture)


def _save(folder: Path, result: Callable[[], object]) -> None:
    made = result()
    write_lora(folder / "result.safetensors", made.modules, made.metadata)  # type: ignore[attr-defined]


def _extract(folder: Path) -> None:
    made = extract(folder / "tuned.safetensors", folder / "base.safetensors", Extraction(rank=2))
    _save(folder, made.file)


def _into_checkpoint(folder: Path) -> None:
    merge_to_checkpoint("A:1", folder, folder / "base.safetensors", folder / "merged.safetensors")
