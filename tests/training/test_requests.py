"""What is asked of a training while it runs."""

from __future__ import annotations

import threading

import pytest
import torch

from lib_lora.training.events import BackedUp, Finished, SampleDue, Saved, StepDone, Stopped, Warned
from lib_lora.training.requests import Requests
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config

EXTRAS = (Saved, BackedUp, SampleDue, Warned, Stopped, Finished)


@pytest.fixture
def asked(tiny_host, tmp_path):
    """The events of three short epochs' extras when ``wishes`` are made in step ``at``."""
    torch.set_num_threads(1)
    store, folder = RunStore(tiny_host.paths.runs), image_folder(tmp_path / "set")

    def run(*wishes: str, at: int = 2, **changes) -> list[type]:
        settings = {"epochs": 1, "te_lr": 0.0, "rank": 1, "fixed_loss_images": 0, "name": f"m{len(store.list())}"}
        with tiny_host.training_session() as model:
            trainer = Trainer(store.create(small_config(folder, **settings | changes)), model, tiny_host.paths)
            events = []
            for event in trainer.run():
                if isinstance(event, StepDone) and event.step == at:
                    assert all([trainer.requests.add(wish) for wish in wishes])
                events.append(event)
        assert not trainer.requests.add("save"), "after the end nobody would do it"
        return [type(event) for event in events if isinstance(event, EXTRAS)]

    return run


def test_several_wishes_are_due_after_one_step(asked):
    assert asked("sample", "backup", "save", "save") == [Saved, BackedUp, SampleDue, Finished]


@pytest.mark.parametrize("wishes", [("stop", "save"), ("save", "stop"), ("save_and_stop", "backup", "stop")])
def test_a_stop_is_never_lost(asked, wishes):
    found = asked(*wishes)
    assert found[0] is Saved and found[-1] is Stopped and (BackedUp in found) == ("backup" in wishes)


def test_samples_do_not_hold_up_a_stop_and_it_is_said(asked):
    assert asked("sample", "stop") == [Warned, Stopped]


def test_wishes_in_the_last_step_are_fulfilled(asked):
    assert asked("sample", "backup", "save", "stop", at=3) == [BackedUp, SampleDue, Finished]


def test_an_epochs_samples_are_drawn_once(asked):
    assert asked("sample", at=3, epochs=2, sample_every_n_epochs=1).count(SampleDue) == 2


def test_none_is_lost_between_threads():
    requests, taken, adding = Requests(), [], [True]
    kinds = ["save", "sample", "backup"]

    def take() -> None:
        while adding[0]:
            taken.extend(requests.take())

    def ask(kind: str) -> None:
        for _ in range(2000):
            requests.add(kind)

    threads = [threading.Thread(target=ask, args=(kind,)) for kind in kinds]
    taker = threading.Thread(target=take)
    for thread in (taker, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    adding[0] = False
    taker.join()
    requests.add("stop")
    last = requests.close()
    assert "stop" in last and requests.stopping and {*taken, *last} == {*kinds, "stop"}
    assert not requests.add("save") and requests.take() == frozenset()
    with pytest.raises(ValueError, match="unknown"):
        requests.add("dance")
