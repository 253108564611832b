"""What a graphics card makes of this program, in one command and without a download: ``python -m lib_lora bench card``.

For any CUDA, ROCm, XPU or MPS device. Models have their published sizes and random weights, which do not change times.
Each measurement is a row; one that fails, does not fit or has no time left says so and costs its row only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.card.checks import checks
from bench.card.device import Card, matmul_rate
from bench.card.models import FULL, Sizes, random_model
from bench.card.rows import Rows
from bench.card.steps import flops_of_a_step, measured
from bench.card.whole import grid, start

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
BUDGET = 520.0  # seconds, of the nine minutes that are promised
TFLOPS = 1e12
WHOLE = "SD1.5"  # the model of the grid and of the start


def run(
    device: torch.device | str | None = None,
    sizes: Sizes = FULL,
    budget: float = BUDGET,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Measure, print a table, and return what it says.

    Args:
        device: the first card that torch finds.
        sizes: of the models.
        budget: seconds; what has not begun by then is left out.
        say: gets the lines of the table as they are known.

    Returns:
        ``device``, ``memory_gb``, ``torch``; ``rows``: dictionaries with ``part``, ``what``, figures and ``note``.

    Raises:
        UserError: there is no card.
    """
    card = Card.found(device)
    rows = Rows(budget, say)
    say(card.title())
    rates: dict[str, float] = {}
    for name in sizes.precisions:
        if figures := rows.add("matrix product", name, partial(matmul_rate, card, DTYPES[name], sizes.matmul)):
            rates[name] = figures["tflops"] * TFLOPS
    best = "bf16" if "bf16" in rates else "fp16"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for what, check in checks(card, folder, sizes.checks):
            rows.add("as on a CPU", what, check)
        for name in sizes.models:  # the short ones first: what is left out at the end is said
            whole = folder if name == WHOLE and sizes.whole else None
            steps(card, rows, sizes, name, best, rates, sizes.variants, whole)
        for name in sizes.models:
            other = next((known for known in rates if known != best), None)
            if other is not None:
                steps(card, rows, sizes, name, other, rates, sizes.variants[:1])
    return {**card.facts(), "rows": rows.found, "seconds": rows.seconds()}


def steps(
    card: Card,
    rows: Rows,
    sizes: Sizes,
    name: str,
    precision: str,
    rates: dict[str, float],
    variants: Sequence[str],
    whole_of: Path | None = None,
) -> None:
    """The rows of one model in one precision: a training step of each variant, and with ``whole_of`` grid and start."""
    size, rate = sizes.models[name], rates.get(precision)
    part = f"{name} {size.pixels}² {precision}"
    made: list[Any] = []

    def make() -> dict[str, float]:
        made.append(random_model(size, card.device, DTYPES[precision]))
        return {"model_gb": sum(p.numel() * p.element_size() for p in made[0].unet.parameters()) / 1e9}

    if rows.add(part, "model in memory", make) is None:
        return
    flops = rows.quietly(lambda: flops_of_a_step(card, made[0], size))
    for variant in variants:
        measure = partial(measured, card, made[0], size, variant, flops, rate, sizes.seconds)
        rows.add(part, variant or "one image", measure)
        del measure  # else it would keep the model
    if whole_of is not None:
        rows.add(part, "epoch grid", partial(grid, card, made[0], whole_of, sizes))
        rows.add(part, "click to first step", partial(start, made[0], whole_of, sizes))
    made.clear()
    card.reset()
