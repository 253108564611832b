"""A job has an end: what it held is let go, and what stays is small."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from lib_lora.workbench import Workbench
from tests.jobs import end_worker
from tests.jobs.end_worker import one_step, train

RUNS = 30
GROWTH = 1.02  # of the process's memory, from the third run to the last


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def test_no_tensor_of_a_finished_run_is_left_on_a_card(worker, tiny_checkpoint, tmp_path):
    before, *after = worker.submit(end_worker.tensors_on_a_card, tmp_path, tiny_checkpoint).result()
    assert after == [before] * 2


def test_many_runs_take_the_memory_of_three(tiny_host, tmp_path):
    torch.set_num_threads(1)
    bench, settings = Workbench(tiny_host), one_step(tmp_path / "set")
    taken = []
    for number in range(RUNS):
        train(bench, settings, f"run{number}")
        gc.collect()
        taken.append(resident())
    assert taken[-1] <= GROWTH * taken[2], taken
    assert len(bench.queue.jobs()) == RUNS and {view.state for view in bench.queue.jobs()} == {"done"}


def resident() -> int:
    """Bytes of this process in main memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
