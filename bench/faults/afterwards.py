"""What is done with a run or a LoRA afterwards: publishing, saving for another program, tuning by taste, the mixture
that was found, the test of the card, and training again without some pictures; whole or damaged before."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

from bench.faults.campaign import HALF, LEFT, LOST, Campaign, Files, all_or_nothing
from bench.faults.training import DAMAGES, sweep
from lib_lora.adapters.file import open_lora, write_lora
from lib_lora.small_files import Damaged, write_json
from lib_lora.tools.convert import convert
from lib_lora.tools.examples import Example
from lib_lora.tools.model_card import CardText
from lib_lora.tools.publish import Publication, publish
from lib_lora.tools.taste.preference import FIRST
from lib_lora.tools.taste.recipe import Recipe
from lib_lora.tools.taste.session import TasteSession
from lib_lora.training.config import TrainConfig
from lib_lora.training.data import leaving_out
from lib_lora.training.run import Record, Run
from lib_lora.training.run_store import RunStore

Act = Callable[[Path], Any]
WIDTH, RANK = 320, 2  # of the first block of SD1's U-Net
LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
MIXED = {"weights": {"1": 0.4, "2": 0.6}, "evaluations": 9, "loss": 0.1, "best_loss": 0.11, "gain": 0.01, "error": 0.0}
KEPT = {"mixture.json": "mixture", "session.json": "an answer"}


def campaigns() -> list[Campaign]:
    """Each is there whole or not at all, and asked for again it is there."""
    acts: dict[str, Act] = {
        "mixture": lambda folder: _run(folder).set_mixture(MIXED),
        "an answer": _answer,
        "an answer taken back": lambda folder: _session(folder).undo().save(folder / "session.json"),
        "test of the card": lambda folder: write_json(folder / "card.json", {"lines": ["new"], "found": {}}),
        "saved for diffusers": _converted,
    }
    kept = [Campaign(f"afterwards: {name}", _prepare, act, sweep, all_or_nothing) for name, act in acts.items()]
    return [
        *kept,
        *(_of_damaged(name, damage, acts[act]) for name, act in KEPT.items() for damage in DAMAGES),
        Campaign("afterwards: tuned anew", _prepare, _anew, sweep, _kept_beside),
        *(_published(zipped) for zipped in (False, True)),
        Campaign("afterwards: trained without", _trained, _train_without, sweep, _whole_runs),
    ]


def _of_damaged(name: str, damage: str, act: Act) -> Campaign:
    """What is ``damage``d is named, or kept under another name, before it is written over."""

    def prepare(folder: Path) -> None:
        _prepare(folder)
        (folder / name).write_bytes(DAMAGES[damage]((folder / name).read_bytes()))

    def tried(folder: Path) -> None:
        try:
            act(folder)
        except Damaged:
            (folder / "said").touch()

    return Campaign(f"afterwards: {name} {damage}", prepare, tried, sweep, all_or_nothing)


def _prepare(folder: Path) -> None:
    for name, data in _lora().items():
        (folder / name).write_bytes(data)
    _run(folder).set_mixture({**MIXED, "loss": 0.2})
    write_json(folder / "card.json", {"lines": ["old"], "found": {}})
    session = TasteSession(Recipe("MIRA", prompts=("1girl",)), 3).asked_ahead()
    session.answer(FIRST).asked_ahead().save(folder / "session.json")


def _run(folder: Path) -> Run:
    return Run(folder, Record("run", 1.0, 7, "base"))


@lru_cache(maxsize=1)
def _lora() -> Files:
    """A small one, with its picture."""
    g = torch.Generator().manual_seed(0)
    shapes = {"lora_up.weight": (WIDTH, RANK), "lora_down.weight": (RANK, WIDTH)}
    params = {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}
    with TemporaryDirectory() as name:
        path = Path(name) / "MIRA.safetensors"
        write_lora(path, {LAYER: {**params, "alpha": torch.tensor(2.0)}}, {"ss_base_model_version": "sd_v1"})
        picture = BytesIO()
        Image.new("RGB", (32, 32), "red").save(picture, format="PNG")
        return {path.name: path.read_bytes(), "cover.png": picture.getvalue()}


def _session(folder: Path) -> TasteSession:
    session = TasteSession.load(folder / "session.json")
    assert session is not None
    return session


def _answer(folder: Path) -> None:
    _session(folder).answer(FIRST).asked_ahead().save(folder / "session.json")


def _anew(folder: Path) -> None:
    """As `lib_lora.workbench.taste` does."""
    TasteSession.keep_earlier(folder / "session.json")
    TasteSession(Recipe("MIRA", prompts=("1girl, hat",)), 3).asked_ahead().save(folder / "session.json")


def _kept_beside(before: Files, after: Files, now: Files) -> list[str]:
    """In between, the earlier session may be there twice."""
    twice = {**before, **{name: data for name, data in after.items() if data in before.values()}}
    twice["session.json"] = before["session.json"]
    return [] if now == twice else all_or_nothing(before, after, now)


def _converted(folder: Path) -> None:
    convert(open_lora(folder / "MIRA.safetensors"), "diffusers").save(folder / "MIRA-diffusers.safetensors")


def _published(zipped: bool) -> Campaign:
    def act(folder: Path) -> None:
        wanted = Publication(CardText("Mira", "mira"), (Example(folder / "cover.png", "chosen"),), zipped=zipped)
        publish(folder / "MIRA.safetensors", folder / "published", wanted, _run(folder))

    def judge(before: Files, after: Files, now: Files) -> list[str]:
        """All of it, or nothing; only that it was published may be forgotten."""
        now, after = _unpacked(now), _unpacked(after)
        wanted = {name: data for name, data in after.items() if name != "published.json"}
        return [] if now in (before, wanted) else all_or_nothing(before, after, now)

    return Campaign(f"afterwards: published{', zipped' * zipped}", _prepare, act, sweep, judge)


def _unpacked(files: Files) -> Files:
    """Archives by what is in them: they have times."""
    found: Files = {}
    for name, data in files.items():
        if not name.endswith(".zip"):
            found[name] = data
            continue
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                found |= {f"{name}/{inner}": archive.read(inner) for inner in archive.namelist()}
        except zipfile.BadZipFile:
            found[name] = data
    return found


def _trained(folder: Path) -> None:
    (folder / "set").mkdir()
    RunStore(folder / "runs", clock=lambda: 1.0).create(TrainConfig(name="mira", data_dir=str(folder / "set")))


def _train_without(folder: Path) -> None:
    """As `lib_lora.workbench.revisit` does."""
    (run,) = RunStore(folder / "runs").list()
    config = leaving_out(run.config(), [folder / "set" / "1.png"])
    RunStore(folder / "runs", clock=lambda: 2.0).create(config)


def _whole_runs(before: Files, after: Files, now: Files) -> list[str]:
    """The first as it was; of the second all files or none. A random number is in each."""
    wrong = [f"{LOST}: {name}" for name in before if now.get(name) != before[name]]
    wrong += [f"{LEFT}: {name}" for name in now if name not in after]
    new = {name for name in now if name not in before}
    wrong += [] if new in (set(), after.keys() - before.keys()) else [f"{HALF}: only {sorted(new)}"]
    for name in new:
        wrong += [] if not name.endswith(".json") or json.loads(now[name]) else [f"{HALF}: {name}"]
    return wrong
