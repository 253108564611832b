"""Small files and temporary files: what is left by the dead is swept, what is the living's stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib_lora.adapters.block_presets import load_presets, preset_faults, save_presets
from lib_lora.files import atomic_write
from lib_lora.part_files import PART, part_name, sweep_parts
from lib_lora.places import Places
from lib_lora.training.config import TrainConfig
from lib_lora.training.own_presets import OwnPresets
from lib_lora.ui.draft import Draft
from lib_lora.ui.faults import Faults

KILLED = """
import os, sys
from lib_lora.files import atomic_write
with atomic_write(sys.argv[1]) as part:
    part.write_text("half")
    os._exit(1)
"""


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x.json")], check=False)
    (left,) = tmp_path.iterdir()
    assert PART.fullmatch(left.name)
    with atomic_write(tmp_path / "y.json") as mine:
        mine.write_text("being written", encoding="utf-8")
        assert sweep_parts([tmp_path]) == [left]
        assert mine.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["y.json"]


def test_another_machine_and_other_programs_are_left_in_peace(tmp_path: Path) -> None:
    machine, pid, start, rest = part_name().removeprefix(".").split("-")
    recycled = tmp_path / f".{machine}-{pid}-00000000-{rest}"  # a process of our number, before the last restart
    elsewhere, before, foreign = (
        tmp_path / name for name in (f".0000000a-{pid}-{start}-{rest}", f".{rest}", ".a.part")
    )
    for path in (recycled, elsewhere, before, foreign):
        path.touch()
    assert sweep_parts([tmp_path, tmp_path / "none"]) == [recycled]
    two_days = time.time() - 48 * 3600
    for path in (elsewhere, before, foreign):
        os.utime(path, (two_days, two_days))
    assert set(sweep_parts([tmp_path])) == {elsewhere, before} and foreign.exists()


@pytest.mark.parametrize("bad", [b"no preset here\n", b",X:1\n", b"\x80\x81:1\n", b"M\xe4r:1,1\n", b"\0\0\0\0"])
def test_a_bad_line_of_the_block_presets_costs_itself(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "block_presets.txt"
    path.write_bytes(b"MINE:1,0\n" + bad + b"\nYOURS:0,1\n")
    assert load_presets(path)["MINE"] == "1,0" and load_presets(path)["YOURS"] == "0,1"
    assert len(preset_faults(path)) == (b":" not in bad or bad.startswith(b","))
    save_presets(path, {"NEW": "1"})
    assert load_presets(path)["MINE"] == "1,0" and load_presets(path)["NEW"] == "1"


def test_damaged_files_of_the_data_folder_are_named(tmp_path: Path) -> None:
    places = Places(tmp_path)
    assert Faults(places).now() == [""]
    presets = OwnPresets(places.presets)
    presets.save("good", TrainConfig(rank=3))
    places.presets.joinpath("bad.toml").write_text("rank = [", encoding="utf-8")
    places.block_presets.write_text("x\n", encoding="utf-8")
    places.draft.write_text('{"preset": 1, "values"', encoding="utf-8")
    (shown,) = Faults(places).now()
    assert all(name in shown for name in ("bad.toml", "Line 1", "train-draft.json"))
    assert presets.find("good").applied_to(TrainConfig()).rank == 3


@pytest.mark.parametrize("value", ['"x"', "true", "[1]", "1e999", "{}", '"' + "9" * 5000 + '"'])
def test_a_draft_gives_fields_only_what_they_can_show(tmp_path: Path, value: str) -> None:
    draft = Draft(tmp_path / "draft.json")
    draft.path.write_text(f'{{"preset": "a", "values": {{"epochs": {value}, "rank": 4}}}}', encoding="utf-8")
    assert draft.load() == ("a", {"rank": 4})
