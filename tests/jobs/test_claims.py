"""Asking twice makes one: two clicks, two pages, and two programs on one data folder."""

from __future__ import annotations

import copy
import threading

import pytest
import torch

from lib_lora.errors import UserError
from lib_lora.jobs.claims import NAMES, claim_name
from lib_lora.models.base import HostPaths
from lib_lora.workbench import Workbench
from tests.jobs.end_worker import one_step
from tests.jobs.test_workbench import WAIT, until


@pytest.fixture
def benches(tiny_host):
    """Two programs on one data folder, as far as one process can tell."""
    torch.set_num_threads(1)
    return Workbench(tiny_host), Workbench(tiny_host)


@pytest.fixture
def config(tmp_path):
    return one_step(tmp_path / "set", epochs=500)


def locks(bench: Workbench) -> list:
    return [*bench.host.paths.loras.glob(NAMES), *bench.runs.folder.rglob("*.lock")]


def test_many_clicks_on_start_make_one_run(benches, config):
    clicks, errors = threading.Barrier(8), []

    def click(bench: Workbench) -> None:
        clicks.wait()
        try:
            bench.start_training(config)
        except UserError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=click, args=(benches[i % 2],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 7 and all("running or in the queue" in error for error in errors), errors
    assert len(benches[0].runs.list()) == 1
    jobs = [(bench, view.id) for bench in benches for view in bench.queue.jobs()]
    assert len(jobs) == 1
    jobs[0][0].queue.cancel(jobs[0][1])
    assert jobs[0][0].queue.wait(jobs[0][1], WAIT).state == "cancelled"
    assert not locks(benches[0])


def test_two_programs_do_not_work_on_one_run(benches, config):
    here, there = benches
    job = here.start_training(config)
    run = here.queue.view(job).run
    for ask in (there.resume, there.delete_run, lambda run: there.go_back(run, 1), lambda run: there.extend(run, 1)):
        with pytest.raises(UserError, match="being trained"):
            ask(run)
    until(lambda: here.queue.view(job).phase == "training")
    here.queue.stop(job)
    assert here.queue.wait(job, WAIT).state == "stopped" and not locks(here)
    again = there.resume(run)
    with pytest.raises(UserError, match="in the queue"):
        here.resume(run)
    there.queue.cancel(again)
    there.queue.wait(again, WAIT)
    assert here.delete_run(run).is_dir() and not locks(here)


def test_what_is_taken_out_of_the_queue_is_free(benches, config, monkeypatch):
    here, there = benches
    with here.host.gpu_lock:  # nothing begins meanwhile
        first, *_ = here.start_variants(config, "rank = 1, 2")
        with pytest.raises(UserError, match="running or in the queue"):
            there.start_variants(config, "rank = 4, 2")
        second = here.queue.jobs()[1]
        renamed = there.start_training(_named(config, f"{config.name}-rank4"))  # its name was given back
        with pytest.raises(UserError, match="running or in the queue"):
            here.change_waiting(second.id, _named(config, f"{config.name}-rank4"))
        here.change_waiting(second.id, _named(config, "other"))
        freed = there.start_training(_named(config, f"{config.name}-rank2"))
        for bench, jobs in ((here, [view.id for view in here.queue.jobs()]), (there, [renamed, freed])):
            for job in jobs:
                bench.queue.cancel(job)
    assert {here.queue.wait(first, WAIT).state, there.queue.wait(renamed, WAIT).state} == {"cancelled"}
    assert not locks(here)


def test_the_name_is_tested_before_any_step_is_timed(benches, config, monkeypatch):
    monkeypatch.setattr("lib_lora.workbench.workbench.preflight", lambda *_: pytest.fail("timed"))
    here, _ = benches
    here.host.paths.loras.mkdir(parents=True)
    file = here.host.paths.loras / f"{config.name}-000001.safetensors"  # of a run that was cut off
    file.write_bytes(b"mine")
    for ask in (here.check, here.start_training):
        with pytest.raises(UserError, match="Choose another name") as caught:
            ask(config)
        assert caught.value.where == str(file)
    assert here.runs.list() == []


def test_two_installations_that_share_one_lora_folder(tiny_host, config, tmp_path):
    """Each with runs and data of its own: what one is training, the other does not begin."""
    other = copy.copy(tiny_host)
    paths = tiny_host.paths
    other.paths = HostPaths(paths.loras, paths.checkpoints, tmp_path / "other-runs", tmp_path / "other-data")
    here, there = Workbench(tiny_host), Workbench(other)
    with tiny_host.gpu_lock:
        job = here.start_training(config)
        with pytest.raises(UserError, match="running or in the queue"):
            there.start_training(config)
        Workbench(other)  # started now, it sweeps no claim that is alive
        with pytest.raises(UserError, match="running or in the queue"):
            claim_name(paths.loras, config.name.upper())
        here.queue.cancel(job)
    here.queue.wait(job, WAIT)
    assert not locks(here) and there.runs.list() == []
    left = paths.loras / NAMES.replace("*", "0" * 24)
    left.write_text("", encoding="utf-8")
    Workbench(other)
    assert not left.exists()


def test_a_lora_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "loras").write_text("a file", encoding="utf-8")
    with pytest.raises(UserError, match="LoRA folder cannot be written") as caught:
        claim_name(tmp_path / "loras", "mira")
    assert caught.value.where == str(tmp_path / "loras")


def _named(config, name):
    return type(config)(**{**vars(config), "name": name})
