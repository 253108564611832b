"""The largest singular values of whole matrices against a full decomposition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lib_lora.adapters.delta import Delta
from lib_lora.adapters.krylov import leading_by_krylov

SIDE, RANK = 300, 8


def with_values(values: Tensor, tall: int) -> Tensor:
    """A matrix [tall, len(values)] of these singular values and random vectors."""
    generator = torch.Generator().manual_seed(3)
    left = torch.linalg.qr(torch.randn(tall, len(values), generator=generator)).Q
    right = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator)).Q
    return left * values @ right.T


KINDS = {
    "flat": torch.linspace(1, 0.9, SIDE),  # the hardest: hardly anything tells the first values from the next
    "slow": torch.arange(1, SIDE + 1) ** -0.3,
    "fast": torch.arange(1, SIDE + 1) ** -2.0,
    "of rank 5": (torch.arange(SIDE) < 5).float(),
    "of rank 8 over noise": torch.where(torch.arange(SIDE) < 8, 1.0, 0.01),
    "1e-20 in size": 1e-20 * torch.arange(1, SIDE + 1) ** -0.5,
    "1e20 in size": 1e20 * torch.arange(1, SIDE + 1) ** -0.5,
}


@pytest.mark.parametrize("wide", [False, True], ids=["tall", "wide"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_what_a_full_decomposition_keeps(kind: str, wide: bool) -> None:
    matrix = with_values(KINDS[kind], 400)
    matrix = matrix.T if wide else matrix
    exact = torch.linalg.svdvals(matrix.double())
    found = leading_by_krylov(matrix, RANK)
    assert (found is None) == (kind == "flat")
    if found is None:
        return
    left, values, right = found
    size = exact.square().sum()
    lost = (matrix.double() - left * values[:RANK] @ right).square().sum()
    assert lost / size == pytest.approx((exact[RANK:].square().sum() / size).item(), abs=1e-7)
    assert values.shape == exact.shape
    torch.testing.assert_close(values[:RANK], exact[:RANK], rtol=1e-4, atol=1e-6 * exact[0].item())
    assert values.square().sum() == pytest.approx(size.item(), rel=1e-6)


def test_one_matrix_has_one_result_and_no_random_number_is_taken() -> None:
    matrix, state = with_values(KINDS["slow"], 400), torch.get_rng_state()
    first, second = leading_by_krylov(matrix, RANK), leading_by_krylov(matrix, RANK)
    assert first is not None and second is not None
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dense_difference_is_reduced_optimally_whichever_way_it_goes(kind: str) -> None:
    matrix = with_values(KINDS[kind], 400)
    exact = torch.linalg.svdvals(matrix.double())
    reduced, error = Delta(matrix.shape, dense_part=matrix).truncated(RANK)
    best = (exact[RANK:].norm() / exact.norm()).item()
    assert error == pytest.approx(best, abs=1e-6)
    lost = (reduced.matrix() - matrix).double().norm() / matrix.double().norm()
    assert lost.item() == pytest.approx(best, abs=2e-6)
