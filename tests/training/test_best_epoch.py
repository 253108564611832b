from __future__ import annotations

import random

from lib_lora.training.best_epoch import suggest_epoch


def rows(losses_by_epoch, prefix="fixed"):
    return [
        {"epoch": epoch, f"{prefix}_loss": sum(losses) / len(losses), f"{prefix}_losses": losses}
        for epoch, losses in losses_by_epoch.items()
    ]


def test_pairing_tells_apart_what_the_means_cannot():
    draw = random.Random(1)
    hard = [draw.uniform(0.05, 0.5) for _ in range(16)]  # pictures differ far more than epochs do
    noise = [draw.gauss(0, 0.0005) for _ in range(16)]
    found = suggest_epoch(rows({
        1: [h + 0.02 for h in hard],
        2: hard,
        3: [h + 0.004 + n for h, n in zip(hard, noise, strict=True)],
        4: [h + 0.0001 * sign for h, sign in zip(hard, [3, -2] * 8, strict=True)],
    }))  # fmt: skip
    assert found.epoch == 2 and found.kind == "fixed noise" and found.pictures == 16
    third = next(d for d in found.differences if d.epoch == 3)
    assert 0.0035 < third.mean < 0.0045 and third.error < 0.0002 and third.clear
    assert found.as_good == (4,)


def test_held_out_pictures_decide():
    both = [{**a, **b} for a, b in zip(
        rows({1: [0.3] * 4, 2: [0.1] * 4}), rows({1: [0.2] * 4, 2: [0.4] * 4}, "validation"), strict=True
    )]  # fmt: skip
    found = suggest_epoch(both)
    assert (found.epoch, found.kind, found.as_good) == (1, "validation", ())


def test_too_little_is_known():
    assert suggest_epoch([]) is None
    assert suggest_epoch([{"epoch": 1, "fixed_loss": None}]) is None
    few = suggest_epoch(rows({1: [0.3, 0.1], 2: [0.1, 0.2]}))
    assert few.epoch == 2 and few.differences == ()
    old = suggest_epoch([{"epoch": 1, "fixed_loss": 0.2}, {"epoch": 2, "fixed_loss": 0.1}])  # runs of an older version
    assert old.epoch == 2 and old.differences == ()
