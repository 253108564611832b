"""The epoch × weight grid on the miniature: ours against one generation per cell, standalone and in a web UI."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bench.start import started_web_ui
from lib_lora.adapters import Network, NetworkSpec, write_lora
from lib_lora.adapters.file import read_lora, to_delta
from lib_lora.demo.architecture import MINIATURE, random_checkpoint
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import GenerationRequest, Host, HostPaths
from lib_lora.tools.grid import make_grid
from lib_lora.tools.grid_spec import Candidate, Cell, GridSpec

EPOCHS, RANK = 5, 8
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ROUNDS = 3
TOLERANCE = 2  # levels of 255: other batch sizes sum in another order
SETTINGS = GenerationRequest("", width=128, height=128, steps=20, cfg=7.0)


def run() -> dict[str, object]:
    """Make the same grid both ways, in turns, with the threads torch has now.

    The model has the miniature's shape and random weights, which do not change the time.

    Returns:
        ``speedup``: median seconds of the usual way, with the LoRA merged for each cell, ÷ ours. Besides: ``seconds``,
        ``usual_seconds``, ``cells``, ``largest_difference`` of any pixel in levels of 255, ``threads``; ``webui``: the
        same of a column in the double of A1111, where the usual way is our own one by one.

    Raises:
        AssertionError: the two ways did not make the same pictures.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        random_checkpoint(folder / "model.safetensors", seed=0, shape=MINIATURE)
        host = StandaloneHost(HostPaths(folder, folder, folder, folder))
        host.load("model")
        files = tuple(Candidate(f"e{n}", write_epoch(host, folder, n)) for n in range(1, EPOCHS + 1))
        spec = GridSpec(files, WEIGHTS, ("1girl, red hat",), (1,), SETTINGS)
        host.generate([SETTINGS])  # both ways start warm
        times: dict[str, list[float]] = {"ours": [], "usual": []}
        for number in range(ROUNDS):
            start = time.perf_counter()
            ours = {done.cell: done.image for done in make_grid(host, spec, folder / f"grid{number}")}
            times["ours"].append(time.perf_counter() - start)
            start = time.perf_counter()
            usual = usual_grid(host, spec.cells())
            times["usual"].append(time.perf_counter() - start)
            difference = largest_difference(ours, usual)
            assert difference <= TOLERANCE, f"the pictures differ by {difference} levels"
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "speedup": medians["usual"] / medians["ours"],
        "seconds": medians["ours"],
        "usual_seconds": medians["usual"],
        "cells": len(spec.cells()),
        "largest_difference": difference,
        "webui": in_a_web_ui(),
        "threads": torch.get_num_threads(),
    }


def in_a_web_ui() -> dict[str, float]:
    """One file at all weights, by A1111's ``processing``: in one batch, and one by one."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = random_checkpoint(folder / "models" / "model.safetensors", seed=0, shape=MINIATURE)
        host = started_web_ui(checkpoint, folder / "webui")
        network = Network.from_file(write_epoch(host, folder, 1))
        cells = [replace(SETTINGS, prompt="1girl, red hat", sampler="Euler", weights=(w,)) for w in WEIGHTS]
        times: dict[str, list[float]] = {"seconds": [], "usual_seconds": []}
        for _ in range(ROUNDS):
            start = time.perf_counter()
            ours = dict(enumerate(host.generate(cells, [network])))
            times["seconds"].append(time.perf_counter() - start)
            start = time.perf_counter()
            usual = {i: host.generate([cell], [network])[0] for i, cell in enumerate(cells)}
            times["usual_seconds"].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    difference = largest_difference(ours, usual)
    assert difference <= 1, f"the pictures differ by {difference} levels"
    return {"speedup": medians["usual_seconds"] / medians["seconds"], **medians, "largest_difference": difference}


def write_epoch(host: Host, folder: Path, number: int) -> Path:
    """A LoRA with an effect that one can see."""
    with host.training_session() as model:
        network = Network.create(model.layers(), NetworkSpec(rank=RANK, alpha=RANK), seed=number)
    generator = torch.Generator().manual_seed(number)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.03
    return write_lora(folder / f"epoch-{number}.safetensors", network.modules(), {})


def usual_grid(host: StandaloneHost, cells: Sequence[Cell]) -> dict[Cell, Image.Image]:
    """One generation per cell: load the file, add it to the weights, generate, put the weights back."""
    pictures = {}
    with host.training_session() as model:
        layers = model.layers()
        for cell in cells:
            kept = add_to_weights(layers, cell)
            request = GenerationRequest(**{**vars(SETTINGS), "prompt": cell.prompt, "seed": cell.seed})
            (pictures[cell],) = host.generate([request])
            for key, weight in kept.items():
                layers[key].weight.data.copy_(weight)
    return pictures


@torch.no_grad()
def add_to_weights(layers: Mapping[str, nn.Module], cell: Cell) -> dict[str, Tensor]:
    """Add weight·ΔW of the cell's file to each layer; returns the weights as they were."""
    kept = {}
    for key, tensors in read_lora(cell.file.path).modules.items():
        weight = layers[key].weight
        kept[key] = weight.detach().clone()
        weight += cell.weight * to_delta(tensors).dense().reshape(weight.shape)
    return kept


def largest_difference(a: Mapping[Any, Image.Image], b: Mapping[Any, Image.Image]) -> int:
    """Over all pixels of all cells, in levels of 255."""
    return max(int(np.abs(np.asarray(a[cell], int) - np.asarray(b[cell], int)).max()) for cell in a)
