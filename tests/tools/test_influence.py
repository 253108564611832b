"""Sketches of gradients keep their inner products, and what all have in common does not count."""

from __future__ import annotations

import torch

from lib_lora.lora_files import load_network
from lib_lora.tools.influence import SKETCH, Sketch, suspicion


def test_a_sketch_keeps_inner_products(make_lora) -> None:
    small_network = load_network(make_lora("mira"))
    count = sum(p.numel() for p in small_network.parameters())
    sketch = Sketch(count)
    generator = torch.Generator().manual_seed(0)
    first = [torch.randn(p.shape, generator=generator) for p in small_network.parameters()]
    second = [0.5 * a + torch.randn(a.shape, generator=generator) for a in first]
    true = sum(float((a * b).sum()) for a, b in zip(first, second, strict=True))
    lengths = [sum(float((a * a).sum()) for a in tensors) ** 0.5 for tensors in (first, second)]
    folded = float(sketch.of(first) @ sketch.of(second))
    assert abs(folded - true) < 4 / SKETCH**0.5 * lengths[0] * lengths[1]
    assert torch.equal(sketch.of(first), Sketch(count).of(first))


def test_what_right_and_wrong_share_tells_nothing() -> None:
    learned = torch.zeros(4, 8)
    learned[:, 0] = 1.0  # what all have in common
    learned[range(4), range(2, 6)] = 0.5  # and of its own, each as much
    wrong, right = torch.zeros(1, 8), torch.zeros(2, 8)
    wrong[:, 0], right[:, 0] = 10.0, 7.0  # lengths tell nothing either
    assert torch.allclose(suspicion(learned, wrong, right), suspicion(learned, wrong, right)[:1])
    wrong[0, 4] = 2.0
    assert int(suspicion(learned, wrong, right).argmax()) == 2
    assert int(suspicion(learned, wrong, right[:0]).argmax()) == 2


def test_a_picture_that_teaches_something_else_stands_out() -> None:
    generator = torch.Generator().manual_seed(0)
    learned = torch.randn(24, 64, generator=generator) + 1.0
    learned[7] = torch.randn(64, generator=generator) * 40  # the longest of all, and of another direction
    shown = torch.randn(3, 64, generator=generator) + 1.0
    assert int(suspicion(learned, shown[:1], shown[1:]).argmax()) == 7
