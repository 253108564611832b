"""More epochs, sweeps, backups and changes in the queue, as the page asks for them."""

from __future__ import annotations

import pytest
import torch

from lib_lora.errors import UserError
from lib_lora.training.tensorboard import TAGS
from lib_lora.workbench import Workbench
from tests.jobs.test_workbench import WAIT, until
from tests.training.worlds import image_folder, small_config


@pytest.fixture
def bench(tiny_host):
    torch.set_num_threads(1)
    return Workbench(tiny_host)


@pytest.fixture
def config(tmp_path):
    return small_config(image_folder(tmp_path / "set"), epochs=1, fixed_loss_images=1, fixed_loss_timesteps=1)


def test_a_sweep_ends_in_one_grid(bench, config):
    jobs = bench.start_variants(small_config(config.data_dir, epochs=1, sample_prompts="mira --s 1"), "rank = 1, 2")
    assert [bench.queue.view(job).title for job in jobs][:2] == ["mira-rank1", "mira-rank2"]
    grid = bench.queue.wait(jobs[-1], WAIT)
    assert grid.state == "done", grid.traceback
    runs = [bench.runs.open(bench.queue.view(job).run) for job in jobs[:2]]
    assert [run.sweep()["label"] for run in runs] == ["rank 1", "rank 2"]
    assert {run.sweep()["grid"] for run in runs} == {str(grid.folder)}
    assert (bench.host.paths.data / "grids" / "mira-variants" / "grid.png").is_file()
    with pytest.raises(UserError, match="exists already"):
        bench.start_variants(config, "rank = 2, 4")
    assert len(bench.runs.list()) == 2  # all or none
    assert bench.free_name("mira-rank2") == "mira-rank2-2" and bench.free_name("new") == "new"


def test_a_sweep_of_which_nothing_finished_says_so(bench, config):
    jobs = bench.start_variants(small_config(config.data_dir, epochs=500), "rank = 1, 2")
    for job in jobs[:2]:
        bench.queue.cancel(job)
    view = bench.queue.wait(jobs[-1], WAIT)
    assert view.state == "failed" and "None of the variants" in view.error["what"]


def test_a_waiting_run_can_be_changed_and_moved(bench, config):
    first = bench.start_training(small_config(config.data_dir, name="first", epochs=500))
    until(lambda: bench.queue.view(first).state == "running")
    second = bench.start_training(small_config(config.data_dir, name="second", epochs=1))
    third = bench.start_training(small_config(config.data_dir, name="third", epochs=1))
    for taken in ("first", "second"):
        with pytest.raises(UserError, match="running or in the queue"):
            bench.start_training(small_config(config.data_dir, name=taken))
    bench.change_waiting(third, small_config(config.data_dir, name="other", epochs=1, rank=3))
    with pytest.raises(UserError, match=r"not begun|not wait"):
        bench.change_waiting(first, config)
    with pytest.raises(UserError, match="needs a name"):
        bench.change_waiting(second, small_config(config.data_dir, name=""))
    bench.queue.reorder(third, -1)
    assert [job.title for job in bench.queue.jobs()] == ["first", "other", "second"]
    bench.queue.cancel(second)
    bench.queue.stop(first)
    assert bench.queue.wait(third, WAIT).state == "done"
    assert bench.runs.open(bench.queue.view(third).run).config().rank == 3
    assert bench.lora_path("other").is_file()


def test_backup_more_epochs_and_notes(bench, config):
    job = bench.start_training(config)
    bench.request(job, "backup")
    with pytest.raises(UserError, match="no sample prompts"):
        bench.request(job, "sample")
    run = bench.runs.open(bench.queue.wait(job, WAIT).run)
    assert (run.folder / "backups").is_dir()
    again = bench.extend(run.id, 1)
    with pytest.raises(UserError, match="being trained"):
        bench.go_back(run.id, 1)
    assert bench.queue.wait(again, WAIT).state == "done" and run.config().epochs == 2
    bench.go_back(run.id, 1)
    assert run.status == "unfinished"
    run.set_notes("  the hat is too dark\n")
    assert run.notes() == "the hat is too dark\n"
    run.set_notes(" ")
    assert run.notes() == ""
    events = next(run.folder.glob("events.out.tfevents.*")).read_bytes()
    assert TAGS["loss"].encode() in events and TAGS["fixed_loss"].encode() not in events  # rewound with the rest
