"""A paused run leaves the GPU: nothing of it is forgotten there, and all of it comes back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from lib_lora.training.events import StepDone
from lib_lora.training.resting import MAIN_MEMORY, Resting
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config

GPU = torch.device("cuda", 0)


@dataclass
class Placed:
    """A tensor on a device that this machine need not have; its ``data`` is the tensor itself."""

    device: torch.device
    room: bool = True

    def to(self, device: torch.device) -> Placed:
        if device == GPU and not self.room:
            raise MemoryError
        return Placed(device)

    @property
    def data(self) -> Placed:
        return self

    @data.setter
    def data(self, moved: Placed) -> None:
        self.device = moved.device


def test_they_go_and_come_back_to_where_they_were() -> None:
    weight, moment, counter = Placed(GPU), Placed(GPU), Placed(MAIN_MEMORY)
    resting = Resting()
    resting.send([weight, moment, counter, weight])
    assert [t.device for t in (weight, moment, counter)] == [MAIN_MEMORY] * 3
    resting.call_back()
    resting.call_back()
    assert [t.device for t in (weight, moment, counter)] == [GPU, GPU, MAIN_MEMORY]


def test_what_found_no_room_can_be_called_again() -> None:
    first, second = Placed(GPU), Placed(GPU)
    resting = Resting()
    resting.send([first, second])
    first.room = False
    with pytest.raises(MemoryError):
        resting.call_back()
    assert (first.device, second.device) == (MAIN_MEMORY, GPU)
    first.room = True
    resting.call_back()
    assert first.device == GPU


def test_all_that_a_run_keeps_is_known(tiny_host, tmp_path) -> None:
    changes = {"ema_decay": 0.9, "te_lr": 0.0, "shuffle": False, "algorithm": "lora", "optimizer": "AdamW"}
    config = small_config(image_folder(tmp_path / "set"), epochs=1, **changes)
    with tiny_host.training_session() as model:
        trainer = Trainer(RunStore(tiny_host.paths.runs).create(config), model, tiny_host.paths)
        events = trainer.run()
        next(event for event in events if isinstance(event, StepDone))
        session = trainer.session
        kept = {id(tensor) for tensor in session.held()}
        expected = [*session.network.parameters(), *session.averaging.mean, *session.denoiser.known_captions.values()]
        expected += [value for state in session.optimizer.state.values() for value in state.values()]
        assert len(session.denoiser.known_captions) > 0 and len(session.optimizer.state) > 0
        assert {id(tensor) for tensor in expected} <= kept
        assert all(parameter.grad is None for parameter in session.network.parameters())
        events.close()
