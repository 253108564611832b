"""Delta algebra against dense float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lib_lora.adapters.delta import Delta, tail_error

SHAPES = [(5, 9), (16, 4), (6, 3, 3, 3), (7, 8, 1, 1)]
shapes = st.sampled_from(SHAPES)
weights = st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0, 2.0])


def random_delta(shape: tuple[int, ...], rank: int, seed: int, dense: bool = False) -> Delta:
    g = torch.Generator().manual_seed(seed)
    n = torch.Size(shape[1:]).numel()
    up, down = torch.randn(shape[0], rank, generator=g), torch.randn(rank, n, generator=g)
    return Delta(torch.Size(shape), up, down, torch.randn(shape[0], n, generator=g) if dense else None)


def exact(delta: Delta) -> Tensor:
    total = torch.zeros(delta.matrix_shape, dtype=torch.float64)
    if delta.up is not None:
        total += delta.up.double() @ delta.down.double()
    if delta.dense_part is not None:
        total += delta.dense_part.double()
    return total.reshape(delta.shape)


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(1, 12), st.integers(1, 6), weights, weights, st.booleans(), st.integers(0, 99))
def test_sums_equal_the_dense_sum(shape, rank_a, rank_b, wa, wb, dense, seed):
    a, b = random_delta(shape, rank_a, seed), random_delta(shape, rank_b, seed + 1, dense)
    total = a.scaled(wa) + b * wb
    want = wa * exact(a) + wb * exact(b)
    assert (total.dense().double() - want).norm() <= 1e-6 * (exact(a).norm() + exact(b).norm())
    assert total.norm() == pytest.approx(want.norm().item(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("weighed", [(1.0,), (2.0,), (0.5, -1.0), (1.0, 0.0, 2.0)], ids=str)
def test_a_weighted_sum_is_the_sum_of_what_is_scaled(weighed):
    parts = [random_delta((7, 8), 2 + i, i, dense=i == 1) for i in range(len(weighed))]
    parts = [Delta(part.shape, part.up, part.down, part.dense_part, torch.ones(7)) for part in parts]
    before = [part.up.clone() for part in parts]
    found = Delta.sum(parts, weighed)
    want = Delta.sum([part.scaled(weight) for part, weight in zip(parts, weighed, strict=True)])
    torch.testing.assert_close(found.matrix(), want.matrix())
    torch.testing.assert_close(found.bias, want.bias)
    assert all(torch.equal(part.up, kept) for part, kept in zip(parts, before, strict=True))


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(1, 20), st.integers(1, 8), st.booleans(), st.integers(0, 99))
def test_truncation_is_optimal(shape, rank, keep, dense, seed):
    delta = random_delta(shape, rank, seed, dense)
    matrix = exact(delta).flatten(1)
    values = torch.linalg.svdvals(matrix)
    best = (values[keep:].norm() / values.norm()).item()
    reduced, error = delta.truncated(keep)
    assert reduced.rank <= min(keep, *delta.matrix_shape)
    assert error == pytest.approx(best, abs=1e-6)
    assert relative(exact(reduced).flatten(1), matrix) == pytest.approx(best, abs=1e-6)
    assert torch.allclose(delta.singular_values()[: values.numel()], values[: len(delta.singular_values())], rtol=1e-5)


def test_concatenation_keeps_both_ranks():
    total = random_delta((5, 9), 3, 0) - random_delta((5, 9), 4, 1)
    assert total.rank == 7


def test_a_difference_with_itself_is_nothing():
    a = random_delta((40, 60), 8, 0)
    assert (a - a).norm() <= 1e-6 * a.norm()


@pytest.mark.parametrize("noise", [1e-4, 3e-4, 1e-3, 1e-2])
def test_a_difference_of_near_copies_is_exact_to_its_own_size(noise):
    """Of two epochs of one run, say."""
    a, b = random_delta((80, 90), 8, 0), random_delta((80, 90), 8, 1)
    other = Delta(a.shape, a.up + noise * b.up, a.down + noise * b.down)
    want = exact(other) - exact(a)
    reduced, spectrum = (other - a).with_spectrum(16)
    assert (exact(reduced) - want).norm() <= 2e-6 * exact(a).norm()
    torch.testing.assert_close(spectrum[:8], torch.linalg.svdvals(want)[:8], rtol=3e-3, atol=0)


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_a_sum_widens_what_is_narrow(narrow):
    parts = [random_delta((7, 8), 2 + i, i) for i in range(2)]
    small = [Delta(part.shape, part.up.to(narrow), part.down.to(narrow)) for part in parts]
    wide = [Delta(part.shape, part.up.float(), part.down.float()) for part in small]
    for count in (1, 2):
        found, want = (Delta.sum(of[:count], [0.3, -0.7][:count]) for of in (small, wide))
        assert torch.equal(found.up, want.up) and torch.equal(found.down, want.down)


def test_truncated_factors_share_the_size_evenly():
    big_up = random_delta((6, 8), 2, 0)
    lopsided = Delta(big_up.shape, big_up.up * 1e6, big_up.down * 1e-6)
    reduced, _ = lopsided.truncated(2)
    assert reduced.up.norm().item() == pytest.approx(reduced.down.norm().item(), rel=1e-4)


def test_nothing_has_no_error():
    empty = Delta(torch.Size((4, 5)))
    assert empty.rank == 0
    assert empty.norm() == 0
    assert empty.dense().shape == (4, 5)
    zero, error = Delta(torch.Size((4, 5)), torch.zeros(4, 2), torch.zeros(2, 5)).truncated(1)
    assert error == 0
    assert not zero.dense().any()
    assert tail_error(torch.zeros(3), 1) == 0


def test_only_equal_sizes_add_up():
    with pytest.raises(ValueError, match="cannot add"):
        random_delta((5, 9), 1, 0) + random_delta((9, 5), 1, 0)
    linear, conv = random_delta((7, 8), 1, 0), random_delta((7, 8, 1, 1), 1, 1)
    assert (linear + conv).rank == 2


def test_rank_starts_at_one():
    with pytest.raises(ValueError, match="at least 1"):
        random_delta((5, 9), 1, 0).truncated(0)
