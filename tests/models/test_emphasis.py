from __future__ import annotations

import pytest
import torch

from lib_lora.models.captions import chunk_ids, chunk_weights, kohya_chunk_ids
from lib_lora.models.emphasis import parse, weighted_tokens


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a tag, b", [("a tag, b", 1.0)]),
        ("a (b) c", [("a ", 1.0), ("b", 1.1), (" c", 1.0)]),
        ("((a))", [("a", 1.1 * 1.1)]),
        ("[a]", [("a", 1 / 1.1)]),
        ("(a:1.5), b", [("a", 1.5), (", b", 1.0)]),
        ("(a (b:2):0.5)", [("a ", 0.5), ("b", 1.0)]),
        (r"ball \(toy\)", [("ball (toy)", 1.0)]),
        ("(a, b", [("a, b", 1.1)]),
        ("a) 3:4 b", [("a) 3:4 b", 1.0)]),
    ],
)
def test_weights_as_in_the_web_ui(text, pieces):
    found = parse(text)
    assert [piece for piece, _ in found] == [piece for piece, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])


def test_every_token_has_the_weight_of_its_piece():
    ids, weights = weighted_tokens("ab (c:2)", lambda text: [ord(letter) for letter in text if letter != " "])
    assert ids == [97, 98, 99] and weights == [1.0, 1.0, 2.0]


def test_chunks_of_both_layouts_carry_the_weights_along():
    tokens = [5] * 70 + [267] + [6] * 20  # a comma at place 70: the web UI breaks behind it, kohya after 75
    weights = [1.0] * 71 + [2.0] * 20
    web, kohya = chunk_ids([tokens]), kohya_chunk_ids([tokens], 150)
    assert web.shape == kohya.shape == (1, 2, 77)
    assert (web[0] == 6).sum(1).tolist() == [0, 20] and (kohya[0] == 6).sum(1).tolist() == [4, 16]
    for ids, layout in ((web, False), (kohya, True)):
        laid = chunk_weights([tokens], [weights], ids, layout)
        assert torch.equal(laid == 2, ids == 6)


def test_kohyas_layout_is_always_full_length():
    assert kohya_chunk_ids([[7]], 225).shape == (1, 3, 77)
    assert kohya_chunk_ids([[7] * 400], 225).shape == (1, 3, 77)
