"""Batches that do not fit, or that are none after all: nothing is lost, nothing is made twice."""

from __future__ import annotations

import pytest
import torch

from lib_lora.hosts.batches import Apart, alike, drawn, room
from lib_lora.models.base import GenerationRequest
from lib_lora.models.memory import OUT_OF_MEMORY

LARGE = GenerationRequest("", width=1024, height=1024)


def test_a_batch_that_runs_out_of_memory_is_halved_and_so_are_those_after_it():
    tried = []

    def draw(batch: list[int]) -> list[str]:
        tried.append(len(batch))
        if len(batch) > 2:
            raise OUT_OF_MEMORY("full")
        return [f"image {i}" for i in batch]

    made = list(drawn([[0, 1, 2, 3, 4], [5, 6, 7], [8]], draw))
    assert made == [(i, f"image {i}") for i in range(9)]
    assert tried == [5, 2, 2, 1, 2, 1, 1]


def test_one_image_that_does_not_fit_is_an_error_and_so_is_anything_else():
    for error in (OUT_OF_MEMORY("full"), RuntimeError("MPS backend out of memory")):
        with pytest.raises(type(error)):
            list(drawn([[0, 1]], lambda batch, error=error: (_ for _ in ()).throw(error)))
    with pytest.raises(ValueError, match="boom"):
        list(drawn([[0, 1]], lambda batch: (_ for _ in ()).throw(ValueError("boom"))))


def test_images_that_are_no_batch_are_made_by_kind_and_where_that_is_said_again_alone():
    tried = []

    def draw(batch: list[int]) -> list[int]:
        tried.append(batch)
        if len(batch) == 4:
            raise Apart(["short", "long", "short", "long"])
        if batch == [1, 3]:
            raise Apart(["long", "long"])
        return batch

    assert sorted(drawn([[0, 1, 2, 3]], draw)) == [(i, i) for i in range(4)]
    assert tried == [[0, 1, 2, 3], [0, 2], [1, 3], [1], [3]]


def test_batches_are_of_one_kind_and_as_large_as_there_is_room(monkeypatch):
    sizes = [LARGE, GenerationRequest(""), LARGE, LARGE]
    found = alike(sizes, lambda r: None if r.width == 512 else r.width, lambda r: 2)
    assert found == [[0, 2], [3], [1]]
    assert room(LARGE, 8, torch.device("cpu"), torch.float16) == 2
    monkeypatch.setattr("lib_lora.hosts.batches.free_memory", lambda device: 2 << 30)
    assert room(LARGE, 8, torch.device("cpu"), torch.float16) == 1
    assert room(GenerationRequest(""), 8, torch.device("cpu"), torch.float16) == 6
    assert room(GenerationRequest(""), 8, torch.device("cpu"), torch.float16, expected=1 << 30) == 3
