"""How the judge's weights are made: a fixed number of epochs that resumes where it stopped."""

from __future__ import annotations

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from ...files import atomic_write
from .attributes import CLASSES
from .judge import Judge
from .network import JudgeNetwork, to_tensor
from .pictures import NOT_SHOWN, Pictures, disturbed, judge_spec, rendered, training_spec

TRAINING_SEED, TEST_SEED = 11, 12
TEST_COUNT = 1000
BATCH = 64
RATE = 3e-3


def train(folder: Path, output: Path, count: int, epochs: int, start: Path | None = None, rate: float = RATE) -> None:
    """Train on ``count`` pictures for ``epochs``, print the test accuracy after each, and write ``output`` (fp16).

    Args:
        folder: for rendered pictures and the state.
        output: weights file to write.
        count, epochs: how much of it.
        start: weights to go on from; None begins anew.
        rate: the highest learning rate.
    """
    pictures = rendered(training_spec, count, TRAINING_SEED, folder)
    test = rendered(judge_spec, TEST_COUNT, TEST_SEED, folder)
    network = JudgeNetwork() if start is None else Judge.load(start).network.requires_grad_(True)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * (count // BATCH), pct_start=0.1)
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
    state_file = folder / "judge-state.pt"
    for epoch in range(_resume(state_file, parts), epochs):
        torch.manual_seed(epoch)
        start = time.monotonic()
        loss = _train_epoch(network, optimizer, schedule, pictures)
        rates = " ".join(f"{name} {rate:.3f}" for name, rate in accuracy(network, test).items())
        print(f"epoch {epoch + 1}/{epochs}  {time.monotonic() - start:.0f} s  loss {loss:.3f}  {rates}", flush=True)
        with atomic_write(state_file) as part:
            torch.save({"epochs": epoch + 1, **{name: p.state_dict() for name, p in parts.items()}}, part)
    with atomic_write(output) as part:
        save_file({name: _half(t) for name, t in network.state_dict().items()}, part)


def _resume(path: Path, parts: dict) -> int:
    """Load the state of an interrupted training; return how many epochs it has done."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["epochs"]


def _train_epoch(
    network: JudgeNetwork,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    pictures: Pictures,
) -> float:
    """One pass over the pictures in random order; returns the mean loss."""
    network.train()
    total, steps = 0.0, len(pictures.labels) // BATCH
    for index in torch.randperm(len(pictures.labels))[: steps * BATCH].view(-1, BATCH).numpy():
        labels = torch.from_numpy(pictures.labels[index])
        shown = disturbed(to_tensor(pictures.pixels[index]))
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast on a CPU that has it
            logits = network(shown)
        loss = _loss(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
    return total / steps


def _loss(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy of each attribute over the pictures that show it, averaged over the batch, added up."""
    each = [
        F.cross_entropy(logits[name].float(), labels[:, k], ignore_index=NOT_SHOWN, reduction="sum")
        for k, name in enumerate(CLASSES)
    ]
    return torch.stack(each).sum() / len(labels)


@torch.inference_mode()
def accuracy(network: nn.Module, pictures: Pictures) -> dict[str, float]:
    """Share of right answers for each attribute, over the pictures that show it."""
    network.eval()
    logits = network(to_tensor(pictures.pixels))
    labels = torch.from_numpy(pictures.labels)
    rates = {}
    for k, name in enumerate(CLASSES):
        shown = labels[:, k] != NOT_SHOWN
        rates[name] = (logits[name].argmax(1) == labels[:, k])[shown].float().mean().item()
    return rates


def _half(t: Tensor) -> Tensor:
    return t.half() if t.is_floating_point() else t
