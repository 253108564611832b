from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.randomness import rng, stable_seed, torch_generator


def test_seeds_are_the_same_on_every_machine():
    assert stable_seed(0, "noise", 0) == 7012560265599635137


@given(st.integers(), st.text(max_size=8), st.integers(0))
def test_seeds_fit_every_generator_and_repeat(seed, stream, step):
    assert 0 <= stable_seed(seed, stream, step) < 2**63
    assert rng(seed, stream, step).random() == rng(seed, stream, step).random()


def test_streams_steps_and_seeds_are_independent():
    draws = {
        torch.randn(4, generator=torch_generator(seed, stream, step)).sum().item()
        for seed in (1, 2)
        for stream in ("noise", "timestep")
        for step in range(3)
    }
    assert len(draws) == 12


def test_step_number_cannot_run_into_the_stream_name():
    assert stable_seed(1, "2/a", 3) != stable_seed(1, "a", 2)
