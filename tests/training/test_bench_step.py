"""The step benchmark compares like with like."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench import step, step_loop, step_types
from lib_lora.demo.architecture import TEST_SHAPE


@pytest.fixture
def size():
    torch.set_num_threads(1)
    return step.Size(TEST_SHAPE, 64, 1, 1)


def test_contenders_start_from_the_same_loss_and_train_as_many_numbers(size, monkeypatch):
    unet = step.build_unet(size.shape).requires_grad_(False).eval()
    batch = step.Batch.random(size)
    trained = []
    monkeypatch.setattr(step, "train_step", lambda unet, batch, parameters: (unet, sum(p.numel() for p in parameters)))
    losses = [batch.loss(unet, batch.latents).item()]
    for contender in (step.our_step, step.peft_step, step.lycoris_step):
        copy, numbers = contender(step.shared_copy(unet), batch)
        with torch.no_grad():
            losses.append(batch.loss(copy, batch.latents).item())
        trained.append(numbers)
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)
    assert len(set(trained)) == 1


def test_result_has_every_figure(size, monkeypatch):
    sizes = {"mini": size, "mini.bf16": replace(size, dtype=torch.bfloat16)}
    monkeypatch.setattr(step, "SIZES", sizes)
    result = step.run(sizes)
    for name in sizes:
        assert {f"{name}.ratio_to_floor", f"{name}.vs_peft", f"{name}.vs_lycoris", "threads"} <= result.keys()
        assert result[f"{name}.arithmetic"] > 1
    assert all(value > 0 for value in result.values())


def test_kinds_are_measured_against_the_floor(size):
    kinds = ("locon", "dora", "oft")
    result = step_types.run(kinds, size, rounds=1)
    assert {f"types.{kind}" for kind in kinds} <= result.keys()
    assert all(value > 0 for value in result.values())


def test_the_loop_is_told_from_the_work_in_it(size):
    """All of the work is within the whole, and the loop is a part of it."""
    shape = replace(TEST_SHAPE, vocab=49408)
    result = step_loop.run(shape, pixels=64, steps=2)
    assert 0 < result["loop_overhead"] < 3 and result["step_seconds"] > 0
