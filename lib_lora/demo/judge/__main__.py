"""``python -m lib_lora.demo.judge``: make the judge's weights; about fifteen minutes on one core."""

from __future__ import annotations

import argparse
from pathlib import Path

from .judge import WEIGHTS
from .training import RATE, train


def main() -> None:
    """The command line of the judge's training."""
    parser = argparse.ArgumentParser(prog="python -m lib_lora.demo.judge", description="Train the judge from scratch.")
    parser.add_argument("--folder", type=Path, default=Path("outputs/judge"), help="rendered pictures and state")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="weights file to write")
    parser.add_argument("--pictures", type=int, default=28_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--start", type=Path, help="weights to go on from, at a third of the rate")
    options = parser.parse_args()
    rate = RATE if options.start is None else RATE / 3
    train(options.folder, options.output, options.pictures, options.epochs, options.start, rate)


if __name__ == "__main__":
    main()
