"""Training on a graphics card: nothing in the wrong memory, no wait in any step, and the file of a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.hosts.standalone.xl import random_xl_checkpoint
from tests.training import card_worker

ROUNDING = 0.02  # of the file's norm: attention has another kernel, and Adam takes the sign of tiny gradients
VARIANTS = {
    "all parts": {"adaptive_noise_scale": 0.1, "multires_iterations": 3, "ip_noise_gamma": 0.1, "loss_type": "huber"},
    "captions that are encoded once": {
        "te_lr": 0.0, "shuffle": False, "trigger": "", "preserve_weight": 1.0, "preserve_class": "1girl",
        "ema_decay": 0.9, "scale_weight_norms": 1.0,
    },
    "parts of a batch": {"batch_parts": 2, "gradient_checkpointing": True, "weighted_captions": True},
    "fp8": {"fp8_base": True, "chunk_layout": "kohya", "min_snr_gamma": 5.0},
    "dropout": {"algorithm": "loha", "optimizer": "Lion", "network_dropout": 0.1, "rank_dropout": 0.1},
    "DoRA": {"dora": True, "conv_rank": 2, "optimizer": "Adafactor"},
}  # fmt: skip


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def test_a_picture_is_that_of_a_cpu(worker, tiny_checkpoint, tmp_path):
    card, cpu = (
        worker.submit(card_worker.draw, tmp_path, tiny_checkpoint, device).result() for device in ("card", "cpu")
    )
    assert np.abs(card.astype(int) - cpu).max() <= 1 and cpu.std() > 1


def test_operands_in_two_memories_are_refused(worker):
    with pytest.raises(RuntimeError, match="in main memory"):
        worker.submit(card_worker.add_across).result()


@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_waits_and_the_file_is_as_from_a_cpu(worker, tiny_checkpoint, tmp_path, name):
    runs = [(tmp_path, tiny_checkpoint, device, VARIANTS[name]) for device in ("card", "cpu")]
    on_card, on_cpu = (worker.submit(card_worker.train, *run).result() for run in runs)
    assert not any(on_card.steps[1:]), on_card.steps[1:]  # the first step places what the others use
    assert on_card.steps[0]  # so waits are seen
    card, cpu = (torch.cat([t.double().flatten() for t in values(run)]) for run in (on_card, on_cpu))
    assert (card - cpu).norm() <= ROUNDING * cpu.norm()


def values(trained: card_worker.Trained) -> list[torch.Tensor]:
    """The tensors of a run's file, by their names."""
    return [tensor for _, tensor in sorted(load_file(trained.file).items())]


def test_float16_waits_once_to_see_an_overflow(worker, tiny_checkpoint, tmp_path):
    trained = worker.submit(card_worker.train, tmp_path, tiny_checkpoint, "card", {"precision": "fp16"}).result()
    assert [len(waits) for waits in trained.steps[1:]] == [1, 1]


def test_a_base_in_main_memory_gives_the_same_file_in_less_of_the_card(worker, tmp_path):
    checkpoint = random_xl_checkpoint(tmp_path / "xl.safetensors")
    whole = worker.submit(card_worker.train_stored, tmp_path / "whole", checkpoint, {}).result()
    limit = whole.peak - 0.6 * whole.weights
    away = {"offload_base": 70}
    less = worker.submit(card_worker.train_stored, tmp_path / "away", checkpoint, away, limit).result()
    assert whole.finished and less.finished and less.peak <= limit
    assert torch.equal(numbers(less), numbers(whole))


def numbers(trained: card_worker.Stored) -> torch.Tensor:
    return torch.cat([tensor.flatten() for _, tensor in sorted(load_file(trained.file).items())])
