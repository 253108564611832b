"""Sliders on the miniature: day ↔ night from two words, and from pairs of pictures, read by the judge.

A slider is right where the background is read as its end at weight ±2, and where hair, hat and outfit are read as in
the same picture at weight 0. What was trained, drawn and read is kept in ``.state/slider``, so a second start goes on
where the first one ended.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from lib_lora.demo import CHECKPOINT
from lib_lora.demo.judge import Judge
from lib_lora.demo.world import Spec, random_spec, tags
from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.lora_files import load_network
from lib_lora.models.base import GenerationRequest, HostPaths
from lib_lora.workbench import Workbench
from lib_lora.workbench.sliders import SliderSpec, start_slider

STATE = Path(__file__).resolve().parents[1] / ".state" / "slider"
SETTINGS = GenerationRequest("", width=128, height=128, steps=8, cfg=4.0, sampler="DPM++ 2M")
MORE, LESS = "night", "outdoors"
WEIGHTS = (0.0, 2.0, -2.0, 3.0, -3.0)
HELD = ("hair", "hat", "outfit")
PICTURES, LEARNED, STEPS = 32, 16, 80
FIRST_SEED = 9000


def run(pictures: int = PICTURES, kinds: Sequence[str] = ("words", "pairs")) -> dict[str, object]:
    """Train and read both kinds.

    Returns:
        By kind and weight: ``night`` and ``outdoors``, shares of pictures read as that, and ``hair``, ``hat`` and
        ``outfit``, shares read as at weight 0.
    """
    torch.set_num_threads(1)
    host = StandaloneHost(HostPaths(STATE / "loras", STATE / "checkpoints", STATE / "runs", STATE), [CHECKPOINT])
    host.load("miniature")
    bench = Workbench(host)
    found: dict[str, object] = {"pictures": pictures}
    for kind in kinds:
        path = trained(bench, kind)
        found[kind] = read(host, path, kind, pictures)
        print(kind, json.dumps(found[kind]), file=sys.stderr, flush=True)
    return found


def trained(bench: Workbench, kind: str) -> Path:
    """The LoRA of a kind; trained, or gone on with, where it is missing."""
    path = bench.host.paths.loras / f"{kind}.safetensors"
    if path.exists():
        return path
    begun = next((r for r in bench.runs.named(kind) if r.status != "finished"), None)
    job = bench.resume(begun.id) if begun else start_slider(bench, wanted(bench.host, kind))
    view = bench.queue.wait(job)
    if view.error:
        raise UserError(view.error["what"], where=view.error["where"] or None, fix=view.error["fix"] or None)
    return path


def wanted(host: StandaloneHost, kind: str) -> SliderSpec:
    """What is trained."""
    plain = SliderSpec(kind, steps=STEPS, settings=SETTINGS, count=LEARNED)
    if kind == "words":
        return replace(plain, more=MORE, less=LESS, prompts=prompts(LEARNED, 1))
    folders = [STATE / "pairs" / name for name in ("outdoors", "night")]
    for folder, end in zip(folders, (LESS, MORE), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{prompt}, {end}" for prompt in prompts(LEARNED, 1)]
        missing = [number for number in range(LEARNED) if not (folder / f"{number:04}.png").exists()]
        images = draw(host, [lines[number] for number in missing], [500 + number for number in missing])
        for number, image in zip(missing, images, strict=True):
            (folder / f"{number:04}.txt").write_text(prompts(LEARNED, 1)[number], encoding="utf-8")
            image.save(folder / f"{number:04}.png")
    return replace(plain, before=str(folders[0]), after=str(folders[1]))


def read(host: StandaloneHost, path: Path, kind: str, pictures: int) -> dict[str, dict[str, float]]:
    """Weight -> shares, see :func:`run`."""
    judge, lines = Judge.load(), prompts(pictures, 99)
    network = load_network(path)
    readings = {}
    for weight in WEIGHTS:
        kept = STATE / f"{kind}{weight:+g}.json"
        if not kept.exists():
            seeds = range(FIRST_SEED, FIRST_SEED + pictures)
            images = draw(host, lines, seeds, weight, network)
            print(f"{kind} {weight:+g} is drawn", file=sys.stderr, flush=True)
            rows = [{name: getattr(r, name) for name in (*HELD, "background")} for r in judge.read(images)]
            kept.write_text(json.dumps(rows), encoding="utf-8")
        readings[weight] = json.loads(kept.read_text(encoding="utf-8"))
    base, found = readings[0.0], {}
    for weight, rows in readings.items():
        shares = {end: mean([row["background"] == end for row in rows]) for end in (MORE, LESS)}
        same = {n: mean([row[n] == other[n] for row, other in zip(rows, base, strict=True)]) for n in HELD}
        found[f"{weight:+g}"] = shares | same
    return found


def draw(
    host: StandaloneHost, lines: Sequence[str], seeds: Sequence[int], weight: float = 0.0, network: object = None
) -> list[Image.Image]:
    """A picture for each line and seed."""
    weights = () if network is None else (weight,)
    requests = [replace(SETTINGS, prompt=p, seed=s, weights=weights) for p, s in zip(lines, seeds, strict=True)]
    return host.generate(requests, () if network is None else (network,)) if requests else []


def prompts(count: int, seed: int) -> tuple[str, ...]:
    """Dolls seen from the front in the world's own style, whose background is not said."""
    r, found = random.Random(seed), []
    while len(found) < count:
        spec = random_spec(r, people=1)
        if spec.angle == "front" and spec.style == "anime" and spec.view != "close-up":
            found.append(", ".join(tag for tag in tags(spec) if tag not in _background(spec)))
    return tuple(found)


def mean(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 3)


def _background(spec: Spec) -> tuple[str, ...]:
    return "simple background", f"{spec.background} background", spec.background
