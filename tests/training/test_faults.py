"""What goes wrong around a run leaves it able to go on, and the model as it was."""

from __future__ import annotations

import errno
import shutil

import pytest
import torch

from lib_lora import files
from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.models.memory import OUT_OF_MEMORY
from lib_lora.training.config_file import read_config
from lib_lora.training.events import Failed, Finished, StepDone, Warned
from lib_lora.training.run_store import RunStore
from lib_lora.training.state import StateSlots
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config


@pytest.fixture
def world(tiny_host, tmp_path):
    """(store, new run of six steps, its trainer on a model): everything afresh."""
    torch.set_num_threads(1)
    image_folder(tmp_path / "set")
    store = RunStore(tiny_host.paths.runs)

    return tiny_host, lambda: store.create(settings(tmp_path / "set"))


def settings(folder):
    """Six steps, for which the text encoder is not trained."""
    return small_config(folder, epochs=2, te_lr=0.0, fixed_loss_images=0, rank=1)


def final(host) -> bytes:
    data = (host.paths.loras / "mira.safetensors").read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]  # the tensors; the header has the run's id


def clean(model) -> bool:
    return not any(layer._forward_hooks for layer in model.layers().values())


@pytest.fixture(scope="module")
def whole(tiny_checkpoint, tmp_path_factory):
    """The tensors of an untroubled run."""
    base = tmp_path_factory.mktemp("untroubled")
    host = StandaloneHost(HostPaths(base / "loras", tiny_checkpoint.parent, base / "runs", base / "data"))
    host.load("tiny")
    run = RunStore(host.paths.runs).create(settings(image_folder(base / "set")))
    with host.training_session() as model:
        list(Trainer(run, model, host.paths).run())
    return final(host)


@pytest.mark.parametrize("what", ["latents", "loras", "state"])
def test_a_full_disk(world, whole, monkeypatch, what):
    host, new_run = world
    run = new_run()
    full = []

    def until_full(move):
        def moved(source, target):
            if target.parent.name == what and len(full) < 1:
                full.append(target)
                raise OSError(errno.ENOSPC, "No space left on device", str(target))
            move(source, target)

        return moved

    with host.training_session() as model:
        for name in ("move", "move_new"):
            monkeypatch.setattr(files, name, until_full(getattr(files, name)))
        with pytest.raises(UserError, match="disk is full") as caught:
            list(Trainer(run, model, host.paths).run())
        assert caught.value.where == str(full[0]) and clean(model)
        assert not list(host.paths.loras.rglob("*.part")) and not full[0].exists()
        assert isinstance(list(Trainer(run, model, host.paths).run())[-1], Finished)
    assert final(host) == whole


def test_rusts_message_of_a_full_disk_is_understood(tmp_path):
    with pytest.raises(UserError, match="disk is full"), files.atomic_write(tmp_path / "x"):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(OSError, match="else"), files.atomic_write(tmp_path / "x"):
        raise OSError(errno.EIO, "something else")
    assert not list(tmp_path.iterdir())


def test_pictures_and_captions_may_change_while_it_trains(world, whole, tmp_path):
    host, new_run = world
    folder = tmp_path / "set" / "2_girl"
    with host.training_session() as model:
        for event in Trainer(new_run(), model, host.paths).run():
            if isinstance(event, StepDone) and event.step == 1:
                (folder / "0.png").unlink()
                (folder / "1.png").write_bytes(b"no picture any more")
                (folder / "2.txt").write_text("something else", encoding="utf-8")
    assert final(host) == whole


def test_a_run_whose_folder_vanishes_says_so_and_makes_no_other(world):
    host, new_run = world
    run = new_run()
    with host.training_session() as model:
        events = Trainer(run, model, host.paths).run()
        with pytest.raises(UserError, match="folder of this file is gone") as caught:
            for event in events:
                if isinstance(event, StepDone) and event.step == 2:
                    shutil.rmtree(run.folder)
        assert run.id in caught.value.where and clean(model)
    assert not run.folder.exists()


def test_memory_that_runs_out(world, whole):
    host, new_run = world
    run = new_run()
    with host.training_session() as model:
        trainer = Trainer(run, model, host.paths)
        events = []
        for event in trainer.run():
            events.append(event)
            if isinstance(event, StepDone) and event.step == 4:
                trainer.session.denoiser.loss = exhausted
        assert isinstance(events[-1], Failed) and "gradient checkpointing" in events[-1].error.fix
        assert run.status == "failed" and clean(model)
        assert StateSlots(run.state).position().step == 3
        assert isinstance(list(Trainer(run, model, host.paths).run())[-1], Finished)
    assert final(host) == whole


def exhausted(*_: object) -> None:
    raise OUT_OF_MEMORY("simulated")


@pytest.mark.parametrize("keep", [0, 40, -1])
def test_settings_that_were_cut_off_come_from_their_copy_and_it_is_said(world, whole, keep):
    host, new_run = world
    run = new_run()
    config, path = run.config(), run.folder / "config.toml"
    text = path.read_bytes()
    path.write_bytes(text.rstrip()[:keep] + b"\0\0")
    assert run.config() == config
    with host.training_session() as model:
        events = list(Trainer(run, model, host.paths).run())
    assert any("cut off" in event.message for event in events if isinstance(event, Warned))
    assert path.read_bytes() == text and not run.config_cut_off()
    assert final(host) == whole


@pytest.mark.parametrize("damage", [b"\xff\xfe\x00", b"rank = = 4", b"nonsense = 1\n"])
def test_settings_that_cannot_be_read_are_named_and_hide_no_other_run(world, damage):
    host, new_run = world
    good, run = new_run(), new_run()
    path = run.folder / "config.toml"
    path.write_bytes(damage)
    with pytest.raises(UserError) as caught:
        run.config()
    assert caught.value.where == str(path)
    store = RunStore(host.paths.runs)
    assert [found.id for found, _ in store.with_config()] == [found.id for found in store.named("mira")] == [good.id]
    assert len(store.list()) == 2


def test_the_copy_follows_a_change(world):
    _, new_run = world
    run = new_run()
    config = run.config()
    config.epochs = 7
    run.write_config(config)
    assert read_config(run.state / "config.toml").epochs == 7
