"""``--medvram`` and ``--lowvram`` on a card that refuses operands in two memories: all is where it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from safetensors.torch import load_file

from tests.hosts.a1111 import card_worker

ROUNDING = 0.02  # of the file's norm: attention has another kernel, and Adam takes the sign of tiny gradients


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="module")
def on_card(worker, tiny_checkpoint, tmp_path_factory):
    """Where the parts were after each step, and the file, of a run that trains both."""
    folder = tmp_path_factory.mktemp("card")
    return worker.submit(card_worker.train, folder, tiny_checkpoint, True, 1e-3).result()


def test_both_are_there_where_both_are_trained_and_the_file_is_as_from_a_cpu(
    worker, on_card, tiny_checkpoint, tmp_path
):
    places, file = on_card
    _, on_cpu = worker.submit(card_worker.train, tmp_path, tiny_checkpoint, False, 1e-3).result()
    assert places == [{"unet": "card", "te": "card", "vae": "cpu"}] * 3
    got, expected = (torch.cat([t.flatten() for _, t in sorted(load_file(f).items())]) for f in (file, on_cpu))
    assert (got - expected).norm() <= ROUNDING * expected.norm()


def test_a_text_encoder_that_is_not_trained_only_visits(worker, tiny_checkpoint, tmp_path):
    places, _ = worker.submit(card_worker.train, tmp_path, tiny_checkpoint, True, 0.0).result()
    assert places == [{"unet": "card", "te": "cpu", "vae": "cpu"}] * 3


def test_block_by_block_the_file_is_the_same(worker, on_card, tiny_checkpoint, tmp_path):
    places, file = worker.submit(card_worker.train, tmp_path, tiny_checkpoint, True, 1e-3, "lowvram").result()
    assert places == [{"unet": "cpu", "te": "card", "vae": "cpu"}] * 3
    expected = load_file(on_card[1])
    assert load_file(file).keys() == expected.keys()
    for name, tensor in expected.items():
        assert tensor.equal(load_file(file)[name]), name
