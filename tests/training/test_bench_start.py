"""The start benchmark notices what it is there to notice."""

from __future__ import annotations

import torch

from bench.start import copied_weights, timed


def test_a_copy_of_a_weight_is_found_and_a_view_is_none():
    model = torch.nn.Linear(8, 8)
    view = model.weight.detach()[:]
    assert copied_weights(model) == 0
    copy = model.weight.detach().half().float()
    copy[:] = model.weight.detach()
    assert copied_weights(model) == 1 and view.shape == copy.shape


def test_calls_and_generators_are_timed_to_their_end():
    class Work:
        def call(self, x):
            return x + 1

        def generate(self):
            yield 1
            return 2

    calls, generators, seen = [], [], []
    with timed(Work, "call", calls, seen.append), timed(Work, "generate", generators):
        work = Work()
        assert (work.call(1), work.call(2), list(work.generate())) == (2, 3, [1])
    assert len(calls) == 2 and len(generators) == 1 and seen == [work]
    assert all(end >= start for start, end in calls + generators)
