"""Sketches of gradients keep their inner products, and what all have in common does not count."""

from __future__ import annotations

import torch

from lib_lora.lora_files import load_network
from lib_lora.tools.influence import SKETCH, Sketch, pulls


def test_a_sketch_keeps_inner_products(make_lora) -> None:
    small_network = load_network(make_lora("mira"))
    sketch = Sketch(small_network)
    generator = torch.Generator().manual_seed(0)
    first = [torch.randn(p.shape, generator=generator) for p in small_network.parameters()]
    second = [0.5 * a + torch.randn(a.shape, generator=generator) for a in first]
    true = sum(float((a * b).sum()) for a, b in zip(first, second, strict=True))
    lengths = [sum(float((a * a).sum()) for a in tensors) ** 0.5 for tensors in (first, second)]
    folded = float(sketch.of(first) @ sketch.of(second))
    assert abs(folded - true) < 4 / SKETCH**0.5 * lengths[0] * lengths[1]
    assert torch.equal(sketch.of(first), Sketch(small_network).of(first))


def test_what_right_and_wrong_share_tells_nothing() -> None:
    learned = torch.zeros(4, 8)
    learned[:, 0] = torch.tensor([9.0, 11.0, 10.0, 12.0])  # what all have in common
    learned[2, 1], learned[:, 2] = 1.0, torch.tensor([0.3, -0.3, 0.0, 0.0])
    wrong, right = torch.zeros(1, 8), torch.zeros(2, 8)
    wrong[:, 0], right[:, 0] = 10.0, 10.0
    wrong[0, 1] = 0.2
    scores = pulls(learned, wrong, right)
    assert int(scores.argmax()) == 2 and float(scores.square().mean()) == 1.0 and float(scores[0]) == 0.0
    assert int(pulls(learned, wrong + right[:1], right[:0]).argmax()) == 3  # without any, length counts
