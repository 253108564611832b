"""More epochs, backups and warm starts of whole runs on the tiny checkpoint."""

from __future__ import annotations

import pytest
import torch

from bench.faults.disk import FULL, Disk
from lib_lora.adapters.file import read_lora, read_metadata
from lib_lora.errors import UserError
from lib_lora.training.backups import back_up, backups, go_back
from lib_lora.training.continuation import extend, rate_jump, steps_per_epoch
from lib_lora.training.events import BackedUp, SampleDue, Saved, StepDone, Stopped, Warned
from lib_lora.training.run_store import RunStore
from lib_lora.training.state import StateSlots
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config


@pytest.fixture
def train(tiny_host, tmp_path):
    """Run a config, or go on with a run; ``at`` asks for something after a step."""
    torch.set_num_threads(1)
    folder = image_folder(tmp_path / "set")

    def begin(run=None, at=None, **changes):
        run = run or RunStore(tiny_host.paths.runs).create(
            small_config(folder, fixed_loss_images=0, schedule="constant", warmup=0.0, **changes)
        )
        events = []
        with tiny_host.training_session() as model:
            trainer = Trainer(run, model, tiny_host.paths)
            for event in trainer.run():
                events.append(event)
                if at and isinstance(event, StepDone) and event.step in at:
                    trainer.requests.add(at[event.step])
        return run, events

    return begin


def weights(path):
    return read_lora(path).modules


def same(a, b):
    return all(torch.equal(a[key][name], b[key][name]) for key in a for name in a[key])


def test_more_epochs_give_the_longer_run_to_the_bit(tiny_host, train):
    loras = tiny_host.paths.loras
    train(name="whole", epochs=3)
    run, _ = train(name="mira", epochs=1)
    first = weights(loras / "mira.safetensors")
    assert extend(run, 2).epochs == 3 and run.status == "unfinished"
    _, events = train(run)
    assert [e.step for e in events if isinstance(e, StepDone)] == list(range(4, 10))
    assert run.status == "finished" and run.config().epochs == 3
    assert same(weights(loras / "mira.safetensors"), weights(loras / "whole.safetensors"))
    assert same(weights(loras / "mira-000001.safetensors"), first)  # what was there is kept
    assert [row["epoch"] for row in run.epochs()] == [1, 2, 3]
    assert run.epochs()[0]["lora_path"].endswith("mira-000001.safetensors")
    assert [row["step"] for row in run.metrics()] == list(range(1, 10))


def test_what_cannot_be_extended(train):
    run, _ = train(at={1: "stop"})
    with pytest.raises(UserError, match="not finished"):
        extend(run, 1)
    run.set_result("finished", 12)
    with pytest.raises(UserError, match="one more"):
        extend(run, 0)
    for path in run.state.iterdir():
        path.unlink()
    with pytest.raises(UserError, match="was deleted"):
        extend(run, 1)


def test_rate_jump_of_a_falling_schedule(tmp_path):
    config = small_config(tmp_path, epochs=2, schedule="linear", warmup=0.0)
    end, start = rate_jump(config, 2, 100)
    assert end == pytest.approx(0.01) and start == pytest.approx(0.5)
    assert rate_jump(small_config(tmp_path, schedule="constant", warmup=0.0), 3, 12) == (1.0, 1.0)


def test_back_to_a_backup(tiny_host, train):
    run, events = train(epochs=2, at={2: "backup"})
    saved = [e for e in events if isinstance(e, BackedUp)]
    assert [e.step for e in saved] == [2] and saved[0].path.is_file() and backups(run) == [2]
    end = weights(tiny_host.paths.loras / "mira.safetensors")
    go_back(run, 2)
    assert backups(run) == [2, 6] and run.status == "unfinished"  # where it stood can be gone back to as well
    assert [row["step"] for row in run.metrics()] == [1, 2] and run.epochs() == []
    _, events = train(run)
    assert [e.step for e in events if isinstance(e, StepDone)] == [3, 4, 5, 6]
    assert same(weights(tiny_host.paths.loras / "mira.safetensors"), end)
    with pytest.raises(UserError, match="no backup of step 5"):
        go_back(run, 5)
    empty = RunStore(tiny_host.paths.runs).create(run.config())
    with pytest.raises(UserError, match="No progress"):
        back_up(empty)


def test_a_full_disk_leaves_a_run_where_it_stood(train):
    """However its two slots lie: there is no step in between at which it could end up."""
    for many in (2, 3):
        run, _ = train(name=f"mira{many}", epochs=many, at={2: "backup", 4: "save"})
        before = StateSlots(run.state).position()
        with Disk(run.state, 1, FULL).mounted(), pytest.raises(UserError, match="disk is full"):
            go_back(run, 2)
        assert StateSlots(run.state).position() == before and before.step == 3 * many
        go_back(run, 2)
        assert StateSlots(run.state).position().step == 2


def test_warm_start(tiny_host, train):
    train(name="before", epochs=1, save_precision="fp32")
    before = weights(tiny_host.paths.loras / "before.safetensors")
    run, events = train(
        name="after", start_from="before", unet_lr=1e-9, te_lr=1e-9, save_precision="fp32", at={1: "stop"}
    )
    assert not [e for e in events if isinstance(e, Warned)] and isinstance(events[-1], Stopped)
    (tiny_host.paths.loras / "before.safetensors").unlink()  # is not needed again
    train(run)
    after = weights(tiny_host.paths.loras / "after.safetensors")
    moved = max((after[key][name] - t).abs().max() for key in before for name, t in before[key].items())
    assert 0 < moved < 1e-6


def test_a_run_bounded_by_steps_ends_there_and_goes_on_to_the_bit(tiny_host, train):
    loras = tiny_host.paths.loras
    varied = {"max_steps": 8, "token_warmup": 0.5, "stop_te_after": 2, "epochs": 1}
    whole, events = train(name="whole", save_every_n_steps=2, sample_every_n_steps=3, **varied)
    assert [e.step for e in events if isinstance(e, StepDone)] == list(range(1, 9))
    assert [e.path.stem for e in events if isinstance(e, Saved)] == [f"whole-step{n:08d}" for n in (2, 4, 6)]
    assert [e.step for e in events if isinstance(e, SampleDue)] == [3, 6]
    assert [(row["epoch"], row["step"]) for row in whole.epochs()] == [(1, 3), (2, 6), (3, 8)]
    assert read_metadata(loras / "whole.safetensors")["ss_num_epochs"] == "3" and whole.status == "finished"
    cut, _ = train(name="cut", at={4: "stop"}, **varied)
    train(cut)
    assert same(weights(loras / "cut.safetensors"), weights(loras / "whole.safetensors"))


def test_more_of_a_run_bounded_by_steps(tiny_host, train):
    loras = tiny_host.paths.loras
    train(name="whole", max_steps=8)
    run, _ = train(name="mira", max_steps=5)
    assert extend(run, 1).max_steps == 8 and steps_per_epoch(run) == 3
    train(run)
    assert same(weights(loras / "mira.safetensors"), weights(loras / "whole.safetensors"))
    assert (loras / "mira-step00000005.safetensors").is_file()


def test_only_the_last_file_and_none_that_is_another_runs(tiny_host, train):
    loras = tiny_host.paths.loras
    train(name="mira", epochs=2, save_every_n_epochs=0)
    assert [path.name for path in loras.glob("mira*")] == ["mira.safetensors"]
    (loras / "other-step00000002.safetensors").write_bytes((loras / "mira.safetensors").read_bytes())
    with pytest.raises(UserError, match="exists already"):
        train(name="other", max_steps=4, save_every_n_steps=2)
