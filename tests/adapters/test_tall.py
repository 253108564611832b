from __future__ import annotations

import pytest
import torch

from lib_lora.adapters.tall import leading_svd, orthogonal, product_norm


def tall(kind: str) -> torch.Tensor:
    matrix = torch.randn(60, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if kind == "scaled":
        return matrix * torch.logspace(-6, 6, 8, dtype=torch.float64)
    if kind == "nearly dependent":
        return torch.cat([matrix, matrix + 1e-9 * matrix.flip(0)], dim=1)
    if kind == "dependent":
        return torch.cat([matrix, matrix], dim=1)
    if kind == "zero column":
        return torch.cat([matrix, torch.zeros(60, 1, dtype=torch.float64)], dim=1)
    return matrix.T if kind == "wide" else matrix


@pytest.mark.parametrize("kind", ["plain", "scaled", "nearly dependent", "dependent", "zero column", "wide"])
def test_factors_multiply_back_and_q_is_orthogonal(kind):
    matrix = tall(kind)
    times, triangle = orthogonal(matrix)
    q = times(torch.eye(len(triangle), dtype=torch.float64), torch.ones(len(triangle), dtype=torch.float64))
    assert torch.allclose(q.T @ q, torch.eye(q.shape[1], dtype=torch.float64), atol=1e-9)
    assert ((q @ triangle - matrix).norm(dim=0) <= 1e-12 * matrix.norm()).all()
    assert torch.equal(triangle, triangle.triu())


@pytest.mark.parametrize("apart", [1.0, 0.2, 0.01])
def test_single_precision_is_used_only_where_nothing_cancels(apart):
    """Columns that lean on each other more and more; against QR in float64."""
    g = torch.Generator().manual_seed(2)
    first, second = torch.randn(3000, 6, generator=g), torch.randn(3000, 6, generator=g)
    matrix = torch.cat([first, first + apart * second], dim=1)
    times, triangle = orthogonal(matrix)
    assert triangle.dtype == (torch.float32 if apart == 1 else torch.float64)
    x = torch.linalg.svd(triangle.double()).U[:, -4:]
    lengths = torch.tensor([1.0, 0.5, 2.0, 1e-6], dtype=torch.float64)
    got = times(x, lengths) / lengths
    assert times(x, lengths).dtype == (torch.float32 if apart == 1 else torch.float64)
    q, upper = torch.linalg.qr(matrix.double())
    want = q @ (upper.diagonal().sign()[:, None] * x)
    assert ((got.double() - want).norm(dim=0) <= 1e-6).all()


@pytest.mark.parametrize("noise", [0.0, 1e-8, 3e-4, 1e-3, 1e-2])
def test_columns_with_their_copies_need_no_householder_qr(noise, monkeypatch):
    """Two epochs of one run, say, one of them weighed: by QR, such a merge would take three times as long."""
    g = torch.Generator().manual_seed(3)
    first = torch.randn(400, 12, generator=g) * torch.logspace(-3, 3, 12)
    copy = 0.02 * (first + noise * first.std(dim=0) * torch.randn(400, 12, generator=g))
    matrix = torch.cat([first, copy, torch.zeros(400, 1), torch.randn(400, 3, generator=g)], dim=1)
    if noise:
        matrix = torch.cat([matrix[:, :24], matrix[:, 25:]], dim=1)
    monkeypatch.setattr(torch.linalg, "qr", None)
    times, r = orthogonal(matrix)
    assert len(r) == (15 if noise < 1e-6 else 27)
    q = times(torch.eye(len(r), dtype=torch.float64), torch.ones(len(r), dtype=torch.float64)).double()
    assert torch.allclose(q.T @ q, torch.eye(len(r), dtype=torch.float64), atol=1e-6)
    assert ((q @ r - matrix).norm(dim=0) <= 1e-30 + 2e-6 * matrix.double().norm(dim=0)).all()


def test_norm_of_a_product():
    g = torch.Generator().manual_seed(1)
    up, down = torch.randn(50, 6, generator=g), torch.randn(6, 40, generator=g)
    assert product_norm(up, down) == pytest.approx((up.double() @ down.double()).norm().item(), rel=1e-5)
    assert product_norm(torch.zeros(5, 2), down[:2]) == 0


@pytest.mark.parametrize("decay", [1.0, 0.9, 0.1])  # the last reaches rounding noise, where the SVD has to take over
@pytest.mark.parametrize("shape", [(30, 30), (30, 20), (20, 30)])
def test_leading_svd_is_the_svd(shape, decay):
    g = torch.Generator().manual_seed(2)
    matrix = torch.randn(*shape, generator=g, dtype=torch.float64) * decay ** torch.arange(shape[1])
    left, values, right = leading_svd(matrix, 8)
    u, s, vh = torch.linalg.svd(matrix)
    torch.testing.assert_close(values, s, rtol=1e-9, atol=1e-8 * s[0].item())
    best = u[:, :8] * s[:8] @ vh[:8]
    torch.testing.assert_close(left * values[:8] @ right, best, rtol=0, atol=1e-12 * s[0].item())
    assert ((left.T @ left) - torch.eye(8)).abs().max() < 1e-12


def test_leading_svd_of_an_exact_rank_leaves_nothing():
    g = torch.Generator().manual_seed(3)
    a, b = torch.randn(20, 5, generator=g, dtype=torch.float64), torch.randn(5, 20, generator=g, dtype=torch.float64)
    _, values, _ = leading_svd(a @ b, 5)
    assert values[5:].norm() / values.norm() < 1e-14


def clustered(kind: str) -> torch.Tensor:
    """Singular values of a matrix of 40 × 40, of which 8 are kept."""
    flat = torch.linspace(1, 0.9, 40, dtype=torch.float64)
    return {
        "flat": flat,
        "all equal": torch.ones(40, dtype=torch.float64),
        "equal where it is cut": torch.cat([flat[:4], flat[20].repeat(30), flat[30:36]]),
        "nearly equal where it is cut": torch.cat([flat[:4], flat[20] * (1 + 1e-7 * torch.arange(30)), flat[30:36]]),
        "a tail in the noise": torch.cat([flat[:20], 1e-6 * flat[20:]]),
        "exact rank": torch.cat([flat[:20], torch.zeros(20, dtype=torch.float64)]),
        "steep": 0.3 ** torch.arange(40, dtype=torch.float64),
        "nothing": torch.zeros(40, dtype=torch.float64),
        "tiny": flat * 1e-25,
        "huge": flat * 1e25,
    }[kind]


@pytest.mark.parametrize("kind", [
    "flat", "all equal", "equal where it is cut", "nearly equal where it is cut", "a tail in the noise", "exact rank",
    "steep", "nothing", "tiny", "huge",
])  # fmt: skip
def test_single_precision_cuts_off_no_more_than_has_to_be(kind):
    """Against the best of rank 8, in the norm of the whole; whichever way was taken."""
    g = torch.Generator().manual_seed(4)
    u, v = (torch.linalg.qr(torch.randn(40, 40, generator=g, dtype=torch.float64)).Q for _ in range(2))
    values = clustered(kind).sort(descending=True).values
    matrix = ((u * values) @ v.T).float()
    left, found, right = leading_svd(matrix, 8)
    size, best = values.norm().item(), values[8:].norm().item()
    error = (matrix.double() - left * found[:8] @ right).norm().item()
    assert error <= best + 1e-6 * size
    assert (found - values).abs().max() <= 2e-6 * values[0] and found.dtype == torch.float64
    assert found[8:].norm().item() == pytest.approx(best, abs=1e-6 * size)
