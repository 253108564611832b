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


def test_both_are_there_where_both_are_trained_and_the_file_is_as_from_a_cpu(worker, tiny_checkpoint, tmp_path):
    (places, on_card), (_, on_cpu) = (
        worker.submit(card_worker.train, tmp_path / str(card), tiny_checkpoint, card, 1e-3).result()
        for card in (True, False)
    )
    assert places == [{"unet": "card", "te": "card", "vae": "cpu"}] * 3
    got, expected = (torch.cat([t.flatten() for _, t in sorted(load_file(f).items())]) for f in (on_card, on_cpu))
    assert (got - expected).norm() <= ROUNDING * expected.norm()


def test_a_text_encoder_that_is_not_trained_only_visits(worker, tiny_checkpoint, tmp_path):
    places, _ = worker.submit(card_worker.train, tmp_path, tiny_checkpoint, True, 0.0).result()
    assert places == [{"unet": "card", "te": "cpu", "vae": "cpu"}] * 3


def test_block_by_block_the_file_is_the_same(worker, tiny_checkpoint, tmp_path):
    options = {option: (tmp_path / option, tiny_checkpoint, True, 1e-3, option) for option in ("medvram", "lowvram")}
    found = {option: worker.submit(card_worker.train, *run).result() for option, run in options.items()}
    places, file = found["lowvram"]
    assert places == [{"unet": "cpu", "te": "card", "vae": "cpu"}] * 3
    assert load_file(file).keys() == load_file(found["medvram"][1]).keys()
    for name, tensor in load_file(found["medvram"][1]).items():
        assert tensor.equal(load_file(file)[name]), name
