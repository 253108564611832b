"""A run that is killed, again and again, ends with the same file, byte for byte."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from pathlib import Path

import pytest

from lib_lora.training.run_store import RunStore
from lib_lora.training.state import StateSlots
from tests.training.resume_worker import train
from tests.training.worlds import image_folder, small_config

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

    def wait_for(self, what: str, at_least: int = 0) -> tuple[str, int]:
        while self.reports.poll(120):
            report = self.reports.recv()
            if report[0] == what and report[1] >= at_least:
                return report
        raise AssertionError(f"no report of {what!r}")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        assert self.process.exitcode != 0

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


def test_killed_at_random_moments(processes, tiny_checkpoint, finished):
    base, run = finished
    root = base / "killed"
    shutil.copytree(base / "fresh", root)
    dice = random.Random(5)
    done = 0
    for _ in range(5):
        attempt = Attempt(processes, root, tiny_checkpoint, run.id)
        attempt.wait_for("step", done + dice.randint(1, 2))
        time.sleep(dice.uniform(0, 0.15))  # anywhere: in a step, in a save, between them
        attempt.kill()
        position = StateSlots(run_folder(root, run.id) / "state").position()
        done = position.step if position else 0
    Attempt(processes, root, tiny_checkpoint, run.id).finish()
    assert_same_result(base, root, run.id)


@pytest.mark.parametrize("write", [4, 9])
def test_killed_inside_a_save(processes, tiny_checkpoint, finished, write):
    base, run = finished
    root = base / f"write{write}"
    shutil.copytree(base / "fresh", root)
    shutil.copytree(base / "whole" / "data", root / "data")  # latents are there: all writes are the run's own
    attempt = Attempt(processes, root, tiny_checkpoint, run.id, halt_at_write=write)
    attempt.wait_for("in write")
    attempt.kill()
    Attempt(processes, root, tiny_checkpoint, run.id).finish()
    assert_same_result(base, root, run.id)


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
