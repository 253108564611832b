"""What the judge reads in pictures of a way, drawn once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from bench.truth.claims import CHARACTER, EPOCH, KEPT, OF_STYLE, STYLE
from bench.truth.epochs import FRESH as EPOCH_FRESH
from bench.truth.epochs import RUNS, epochs
from bench.truth.trainings import FRESH, SEEDS, Trainings
from lib_lora.adapters.block_presets import load_presets
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.adapters.formula import parse
from lib_lora.demo.judge import truth
from lib_lora.demo.tour.datasets import style_specs
from lib_lora.demo.tour.tour import STYLE as NEON
from lib_lora.demo.world import Spec, tags
from lib_lora.lora_files import load_network
from lib_lora.models.families import family

if TYPE_CHECKING:
    from bench.taste.tasks import Bench

PICTURES = 12  # of each way: as many prompts, each with a seed of its own
FIRST_SEED = 9000
ASKED = ("hair", "hat", "outfit", "background")


def is_trained(way: str) -> bool:
    """Whether a way has trainings of its own."""
    return way.split()[0] in (CHARACTER, OF_STYLE)


class Readings:
    """Measures of pictures, by way; kept in a file."""

    def __init__(self) -> None:
        from bench.taste.tasks import STATE

        self.path = STATE.parent / "truth" / "readings.jsonl"
        self._known: dict[str, dict[str, float]] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                self._known.update(json.loads(line))

    @cached_property
    def bench(self) -> Bench:
        """The miniature with STYLE and BASE, trained when they are first needed."""
        from bench.taste.tasks import Bench

        bench = Bench()
        bench.train_styles()
        return bench

    @cached_property
    def trainings(self) -> Trainings:
        return Trainings()

    def of(self, way: str, seeds: Sequence[int] = SEEDS) -> list[dict[str, float]]:
        """Measure -> value, for each of the pictures; ``seeds`` of trainings."""
        if is_trained(way):
            return [row for seed in seeds for row in self._trained(way, seed)]
        if way.startswith(EPOCH):
            return [row for seed in range(RUNS) for row in self._chosen(way, seed)]
        return [self._one(way, number) for number in range(PICTURES)]

    def there(self, way: str) -> dict[int, list[dict[str, float]]]:
        """What was read of a way already: all of it under 0, of trainings by seed."""
        if is_trained(way):
            keys = {seed: [f"{way} seed {seed} {number}" for number in range(FRESH)] for seed in SEEDS}
        elif way.startswith(EPOCH):
            keys = {0: [f"{way} run {run} {number}" for run in range(RUNS) for number in range(EPOCH_FRESH)]}
        else:
            keys = {0: [f"{way} {number}" for number in range(PICTURES)]}
        return {
            seed: [self._known[key] for key in of] for seed, of in keys.items() if all(k in self._known for k in of)
        }

    def _trained(self, way: str, seed: int) -> list[dict[str, float]]:
        keys = [f"{way} seed {seed} {number}" for number in range(FRESH)]
        if keys[-1] not in self._known:
            self._keep(dict(zip(keys, self.trainings.measured(way, seed), strict=True)))
        return [self._known[key] for key in keys]

    def _chosen(self, way: str, seed: int) -> list[dict[str, float]]:
        if f"{way} run {seed} 0" not in self._known:
            for choice, rows in epochs(self.trainings.lab, seed).items():
                self._keep({f"{EPOCH} {choice} run {seed} {number}": row for number, row in enumerate(rows)})
        return [row for key, row in self._known.items() if key.startswith(f"{way} run {seed} ")]

    def _keep(self, found: dict[str, dict[str, float]]) -> None:
        self._known.update(found)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")

    def _one(self, way: str, number: int) -> dict[str, float]:
        key = f"{way} {number}"
        if key not in self._known:
            self._keep({key: self._draw(way, number)})
        return self._known[key]

    def _draw(self, way: str, number: int) -> dict[str, float]:
        from bench.lab import QUICK

        spec = self._specs[number]
        terms, presets, networks = parse(way), load_presets(), []
        for term in terms:
            network = load_network(self.bench.host.paths.loras / f"{term.name}.safetensors")
            if term.blocks:
                network.set_block_weights(BlockWeights.parse(term.blocks, presets, family("sd1")))
            networks.append(network)
        weights = tuple(term.weight for term in terms)
        request = replace(QUICK, prompt=", ".join(tags(spec)), seed=FIRST_SEED + number, weights=weights)
        images = self.bench.host.generate([request], tuple(networks))
        (read,) = self.bench.probabilities(images)
        shown = truth(spec)
        kept = [read[name][shown[name]] for name in ASKED if name in shown]
        return {STYLE: read["style"][NEON], KEPT: sum(kept) / len(kept)}

    @cached_property
    def _specs(self) -> list[Spec]:
        return style_specs("anime", PICTURES, seed=9)
