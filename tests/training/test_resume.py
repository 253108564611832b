"""A run that is killed, again and again, ends with the same file, byte for byte."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import shutil
import time
from pathlib import Path

import pytest

from lib_lora.adapters.file import read_lora
from lib_lora.training.run_store import RunStore
from lib_lora.training.state import StateSlots
from tests.rounds import rounds
from tests.training.resume_worker import train
from tests.training.worlds import image_folder, small_config

KILLS = rounds(4)  # two of each way; `bench faults` has more
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@pytest.fixture(scope="module")
def processes():
    """A way to start fresh processes that have torch imported already, where the system can do that."""
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(["tests.training.resume_worker"])
    return context


class Attempt:
    """One process training the run under ``root``."""

    def __init__(self, context, root: Path, checkpoint: Path, run_id: str, halt_at_write: int = 0):
        self.reports, child_end = context.Pipe(duplex=False)
        self.process = context.Process(target=train, args=(root, checkpoint, run_id, child_end, halt_at_write))
        self.process.start()
        child_end.close()

    def wait_for(self, *kinds: str) -> str:
        """The first report of one of these kinds."""
        while self.reports.poll(120):
            kind, _ = self.reports.recv()
            if kind in kinds:
                return kind
        raise AssertionError(f"no report of {kinds}")

    def kill(self) -> bool:
        """Whether that ended it, and not its own end."""
        self.process.kill()
        self.process.join()
        return self.process.exitcode != 0

    def finish(self) -> None:
        self.wait_for("end")
        self.process.join()
        assert self.process.exitcode == 0


@pytest.fixture(scope="module")
def finished(processes, tiny_checkpoint, tmp_path_factory):
    """An uninterrupted run, and an untouched copy of its folder as it was before the first step."""
    base = tmp_path_factory.mktemp("resume")
    config = small_config(image_folder(base / "set"), "mira", state_every_n_steps=2)
    run = RunStore(base / "whole" / "runs").create(config)
    shutil.copytree(base / "whole", base / "fresh")
    Attempt(processes, base / "whole", tiny_checkpoint, run.id).finish()
    return base, run


def test_killed_again_and_again(processes, tiny_checkpoint, finished):
    """By turns at any moment and inside a write; a run that gets to its end all the same makes room for a new one."""
    base, run = finished
    dice = random.Random(5)
    roots = (copied(base, f"killed{count}") for count in itertools.count())
    root, kills = next(roots), 0
    while kills < KILLS:
        write = dice.randint(1, 8) * (kills % 2)
        attempt = Attempt(processes, root, tiny_checkpoint, run.id, halt_at_write=write)
        if attempt.wait_for("in write" if write else "step", "end") == "end":
            attempt.process.join()
            assert_same_result(base, root, run.id)
            root = next(roots)
            continue
        if not write:
            time.sleep(dice.uniform(0, 0.3))  # anywhere: in a step, in a save, between them
        kills += attempt.kill()
        for path in (root / "loras").glob("*.safetensors"):
            read_lora(path)  # no half-written file under its final name
    Attempt(processes, root, tiny_checkpoint, run.id).finish()
    assert_same_result(base, root, run.id)


def copied(base: Path, name: str) -> Path:
    """The run before its first step; latents are there, so that all writes are the run's own."""
    shutil.copytree(base / "fresh", base / name)
    shutil.copytree(base / "whole" / "data", base / name / "data", dirs_exist_ok=True)
    return base / name


def test_damaged_newest_slot_falls_back(processes, tiny_checkpoint, finished):
    base, run = finished
    root = base / "damaged"
    shutil.copytree(base / "whole", root)
    (root / "loras" / "mira.safetensors").unlink()
    state = run_folder(root, run.id) / "state"
    older, newest = sorted(state.glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    damaged = bytearray(newest.read_bytes())
    damaged[-100] ^= 255
    newest.write_bytes(damaged)
    assert older.is_file() and StateSlots(state).position().step == 10
    Attempt(processes, root, tiny_checkpoint, run.id).finish()
    assert_same_result(base, root, run.id)


def run_folder(root: Path, run_id: str) -> Path:
    return root / "runs" / run_id


def assert_same_result(base: Path, root: Path, run_id: str) -> None:
    names = sorted(path.name for path in (base / "whole" / "loras").iterdir())
    assert names == [f"mira{end}.safetensors" for end in ("-000001", "-000002", "-000003", "")]
    for name in names:
        assert (root / "loras" / name).read_bytes() == (base / "whole" / "loras" / name).read_bytes(), name
    whole, other = (RunStore(r / "runs").open(run_id) for r in (base / "whole", root))
    assert other.metrics() == whole.metrics()
    assert [{**row, "lora_path": ""} for row in other.epochs()] == [{**row, "lora_path": ""} for row in whole.epochs()]
    assert other.status == "finished"
