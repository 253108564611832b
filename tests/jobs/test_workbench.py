"""Training through the workbench, as the page does it."""

from __future__ import annotations

import errno
import time
from collections import Counter

import pytest
import torch
from PIL import Image

from lib_lora.errors import Cancelled, UserError
from lib_lora.jobs import train_job
from lib_lora.jobs.job import Progress
from lib_lora.models.base import GenerationRequest
from lib_lora.training import keeper
from lib_lora.training.events import Preparing
from lib_lora.training.trainer import Trainer
from lib_lora.ui.run_view import warnings_of
from lib_lora.ui.runs_table import state_of
from lib_lora.ui.train_live import where_it_is
from lib_lora.workbench import Workbench
from tests.training.worlds import image_folder, small_config

WAIT = 300


@pytest.fixture
def bench(tiny_host):
    torch.set_num_threads(1)
    return Workbench(tiny_host)


@pytest.fixture
def folder(tmp_path):
    return image_folder(tmp_path / "set")


def until(condition) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def test_train_with_samples(bench, folder):
    config = small_config(folder, epochs=2, sample_prompts="mira --s 1\ngirl --s 1 --d 3", sample_every_n_epochs=1)
    job = bench.start_training(config)
    view = bench.queue.wait(job, WAIT)
    assert view.state == "done", view.traceback
    run = bench.runs.open(view.run)
    assert run.status == "finished" and run.config().model == "tiny"
    samples = sorted(run.samples.iterdir())
    assert len(samples) == 4
    with Image.open(samples[0]) as image:
        assert image.size == (64, 64) and "mira" in image.info["parameters"]
    assert Counter(path.name.split("_")[0] for path in samples) == {"e000001": 2, "e000002": 2}
    files = bench.epoch_files(run.id)
    assert [f.epoch for f in files] == [1, 2] and sum(f.best for f in files) == 1
    assert [entry.name for entry in bench.list_loras()] == ["mira", "mira-000001"]
    assert bench.lora_path("mira").is_file()
    with pytest.raises(UserError, match="no LoRA called 'nobody'"):
        bench.lora_path("nobody")


def test_the_line_says_what_goes_on_between_the_steps(bench, folder, monkeypatch):
    said, draw, measure = [], bench.host.generate, keeper.epoch_losses
    shown = lambda: said.append(((view := bench.queue.view(job)).done, view.total, view.note))  # noqa: E731

    def generate(*args, **options):
        shown()
        return draw(*args, **options)

    def epoch_losses(*args):
        shown()
        return measure(*args)

    monkeypatch.setattr(bench.host, "generate", generate)
    monkeypatch.setattr(keeper, "epoch_losses", epoch_losses)
    drawn = {"sample_prompts": "mira --s 1", "sample_first": True, "sample_every_n_epochs": 1}
    job = bench.start_training(small_config(folder, epochs=2, **drawn))
    view = bench.queue.wait(job, WAIT)
    last = view.total
    assert said[0] == (0, last, "drawing samples")  # it said "Encoding images 4/4"
    assert said[1][0] == last // 2 and said[1][2].endswith(", measuring and saving the epoch")
    assert said[2] == (last // 2, last, "epoch 1, drawing samples")
    assert said[3][0] == last and said[3][2].endswith(", measuring and saving the epoch")  # it said "0 s left" alone
    assert said[4] == (last, last, "epoch 2, drawing samples")
    assert len(said) == 5 and view.state == "done"
    assert view.note.startswith("epoch 2, loss") and "saving" not in view.note


def test_an_image_made_during_training_is_the_untouched_models(bench, folder):
    request = GenerationRequest("girl", width=64, height=64, steps=2, seed=4)
    before = bench.host.generate([request])[0]
    job = bench.start_training(small_config(folder, epochs=50, fixed_loss_images=0))
    until(lambda: bench.queue.view(job).done > 12)
    between = bench.host.generate([request])[0]
    assert not bench.queue.view(job).ended
    bench.queue.stop(job)
    assert bench.queue.wait(job, WAIT).state == "stopped"
    after = bench.host.generate([request])[0]
    assert before.tobytes() == between.tobytes() == after.tobytes()


def test_stop_and_save_then_continue(bench, folder):
    job = bench.start_training(small_config(folder, epochs=4))
    until(lambda: bench.queue.view(job).phase == "training")
    bench.queue.stop(job, save=True)
    view = bench.queue.wait(job, WAIT)
    assert view.state == "stopped" and "mira-step" in view.saved.name
    run_id = view.run
    assert bench.runs.open(run_id).status == "stopped"
    view = bench.queue.wait(bench.resume(run_id), WAIT)
    assert view.state == "done" and bench.runs.open(run_id).status == "finished"
    with pytest.raises(UserError, match="finished"):
        bench.resume(run_id)


def test_save_now_goes_on(bench, folder):
    job = bench.start_training(small_config(folder, epochs=3))
    bench.request(job, "save")
    assert bench.queue.wait(job, WAIT).state == "done"
    assert any("step" in entry.name for entry in bench.list_loras())


def test_runs_in_use_cannot_be_deleted(bench, folder):
    job = bench.start_training(small_config(folder, epochs=50))
    run_id = bench.queue.view(job).run
    with pytest.raises(UserError, match="Stop it first"):
        bench.delete_run(run_id)
    with pytest.raises(UserError, match="in the queue"):
        bench.resume(run_id)
    bench.queue.cancel(job)
    assert bench.queue.wait(job, WAIT).state == "cancelled"
    assert bench.delete_run(run_id).is_dir() and bench.runs.list() == []


def test_mistakes_are_found_before_anything_is_made(bench, folder):
    for changes, match in (
        ({"name": ""}, "needs a name"),
        ({"data_dir": str(folder / "nowhere")}, "No usable image"),
        ({"model": "nothing"}, "no such checkpoint"),
        ({"name": "nul.txt"}, "for a device"),
    ):
        with pytest.raises(UserError, match=match):
            bench.start_training(small_config(folder, **changes))
    assert bench.runs.list() == [] and bench.queue.jobs() == []


def test_check(bench, folder):
    found = bench.check(small_config(folder))
    assert found.dataset.total_steps == 12 and len(found.dataset.captions) == 3
    assert found.dataset.captions[0].startswith("mira, ")


def test_a_name_that_is_taken(bench, folder, monkeypatch):
    monkeypatch.setattr(bench.host, "training_session", lambda: pytest.fail("told after the model was opened"))
    bench.host.paths.loras.mkdir(parents=True)
    (bench.host.paths.loras / "mira.safetensors").write_bytes(b"mine")
    for ask in (bench.check, bench.start_training):
        with pytest.raises(UserError, match="another name"):
            ask(small_config(folder))
    assert bench.list_loras()[0].metadata == {}


def test_failed_training_is_told(bench, folder):
    job_id = bench.start_training(small_config(folder))
    job = bench.queue.find(job_id)
    until(lambda: job.trainer and job.trainer.session and job.trainer.session.step > 0)
    with bench.host.gpu_lock:
        job.trainer.session.network.parameters()[0].data.fill_(float("nan"))
    view = bench.queue.wait(job_id, WAIT)
    assert view.state == "failed" and "NaN" in view.error["what"] and "learning rates" in view.error["fix"]


def test_a_training_that_fails_before_its_first_step_says_so(bench, folder, monkeypatch):
    """Runs called it not begun, and Train said "Step 8 of 8": of the images that had been encoded."""

    def fails(*_args, **_options):
        yield Preparing("Encoding images", 8, 8)
        raise UserError("No memory for the images")

    monkeypatch.setattr(Trainer, "run", fails)
    view = bench.queue.wait(bench.start_training(small_config(folder)), WAIT)
    run = bench.runs.open(view.run)
    assert view.state == "failed" and run.status == "failed" and "No memory" in run.result()["reason"]
    assert state_of(run, None) == "failed before the first step"
    shown = where_it_is(view)
    assert "failed before the first step" in shown and "8 of 8" not in shown and "Step" not in shown
    monkeypatch.undo()
    assert bench.queue.wait(bench.resume(run.id), WAIT).state == "done"
    assert bench.runs.open(run.id).status == "finished"


def test_other_work(bench):
    def work(host):
        yield Progress(1, 2, "half")
        return "result"

    view = bench.queue.wait(bench.submit("merge", "A + B", work), WAIT)
    assert (view.kind, view.state, view.result) == ("merge", "done", "result")
    with pytest.raises(UserError, match="Only a training"):
        bench.request(view.id, "save")


def test_samples_that_cannot_be_drawn_end_no_training(bench, folder, monkeypatch):
    errors = [RuntimeError("CUDA out of memory"), OSError(errno.ENOSPC, "No space left"), Cancelled(), ValueError("x")]

    def fail(*_, **__):
        raise errors[bench.queue.current().done // 3 - 1]

    monkeypatch.setattr(bench.host, "generate", fail)
    monkeypatch.setattr(bench.host, "refresh_loras", fail)
    config = small_config(folder, sample_prompts="mira", sample_every_n_epochs=1, fixed_loss_images=0)
    view = bench.queue.wait(bench.start_training(config), WAIT)
    assert view.state == "done", view.traceback
    run = bench.runs.open(view.run)
    assert run.status == "finished" and bench.lora_path("mira").is_file()
    assert [said for said in run.warnings() if "were not drawn" in said] == [
        "The sample images of step 3 were not drawn: CUDA out of memory",
        "The sample images of step 6 were not drawn: [Errno 28] No space left",
        "The sample images of step 9 were not drawn: Interrupt was pressed in the web UI",
        "The sample images of step 12 were not drawn: x",
    ]
    assert sum("could not be refreshed" in said for said in run.warnings()) == 4
    assert "out of memory" not in warnings_of(run) and "step 12 were not drawn" in warnings_of(run)  # the latest


def test_a_full_disk_at_the_samples_ends_no_training(bench, folder, monkeypatch):
    def full(image, path):
        raise UserError("The disk is full", where=path)

    monkeypatch.setattr(train_job, "save_png", full)
    job = bench.start_training(small_config(folder, epochs=1, sample_prompts="mira --s 1", sample_every_n_epochs=1))
    view = bench.queue.wait(job, WAIT)
    assert view.state == "done" and "disk is full" in bench.runs.open(view.run).warnings()[0]


def test_stop_does_not_wait_for_samples(bench, folder):
    job = bench.start_training(small_config(folder, sample_prompts="mira --s 1000", sample_every_n_epochs=1))
    until(lambda: bench.queue.view(job).phase == "sampling")
    bench.queue.stop(job)
    view = bench.queue.wait(job, WAIT)
    assert view.state == "stopped", view.traceback
    run = bench.runs.open(view.run)
    assert run.status == "stopped" and not list(run.samples.glob("*")) and "was stopped" in run.warnings()[0]
