"""What the user keeps: presets, the form's draft, notes, stars."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.faults.campaign import Campaign, Files, all_or_nothing
from bench.faults.training import DAMAGES, sweep
from lib_lora.adapters.block_presets import save_presets
from lib_lora.tools.picks import Pick, give_star, read_picks
from lib_lora.training.config import TrainConfig
from lib_lora.training.own_presets import OwnPresets
from lib_lora.training.run import Record, Run
from lib_lora.ui.draft import Draft

Act = Callable[[Path], Any]


def campaigns() -> list[Campaign]:
    """Each as it is saved over what was there, whole or damaged."""
    acts: dict[str, Act] = {
        "preset": lambda folder: OwnPresets(folder).save("new", TrainConfig(name="mira", rank=8)),
        "preset deleted": lambda folder: OwnPresets(folder).delete("old"),
        "block presets": lambda folder: save_presets(folder / "blocks.txt", {"FACE": "1,0.5", "OLD": "0"}, True),
        "draft": lambda folder: _draft(folder).put("new", {"rank": 8}, {}),
        "notes": lambda folder: _run(folder).set_notes("Better than the last one"),
        "notes emptied": lambda folder: _run(folder).set_notes(" "),
        "stars": _star,
    }
    kept = [Campaign(f"settings: {name}", _prepare, act, sweep, all_or_nothing) for name, act in acts.items()]
    damaged = [_of_damaged(name, damage, acts[act]) for name, act in OVER.items() for damage in DAMAGES]
    return [*kept, *damaged]


# what is there is damaged -> what is saved over it
OVER = {"old.toml": "preset", "blocks.txt": "block presets", "draft.json": "draft", "picks.json": "stars"}


def _prepare(folder: Path) -> None:
    OwnPresets(folder).save("old", TrainConfig(rank=4))
    save_presets(folder / "blocks.txt", {"OLD": "1"})
    _draft(folder).save("old", {"rank": 4, "name": "mira"})
    _run(folder).set_notes("Mine")
    _star(folder)


def _of_damaged(name: str, damage: str, act: Act) -> Campaign:
    """Saved over a file that is ``damage``d."""

    def prepare(folder: Path) -> None:
        _prepare(folder)
        (folder / name).write_bytes(DAMAGES[damage]((folder / name).read_bytes()))

    return Campaign(f"settings: {name} {damage}", prepare, act, sweep, _nothing_lost)


def _nothing_lost(before: Files, after: Files, now: Files) -> list[str]:
    """Between the two, what is damaged may be set aside already, and the new file not yet there."""
    aside = {name: data for name, data in after.items() if data in before.values()}
    return [] if now == aside and {*before.values()} <= {*now.values()} else all_or_nothing(before, after, now)


def _draft(folder: Path) -> Draft:
    return Draft(folder / "draft.json")


def _run(folder: Path) -> Run:
    return Run(folder, Record("run", 1.0, 7, "base"))


def _star(folder: Path) -> None:
    give_star(folder, Pick(f"e{len(read_picks(folder).stars) + 1}", 0.8))
