from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_lora.errors import UserError
from lib_lora.training.data import usable_scan
from lib_lora.training.events import EpochDone
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from lib_lora.training.validation import split
from tests.training.worlds import image_folder, small_config


@pytest.fixture
def folder(tmp_path):
    return image_folder(tmp_path / "set")


def test_split_is_a_function_of_the_seed(folder):
    scan = usable_scan(small_config(folder))
    kept, held = split(scan, 0.3, 5)
    assert len(kept.items) == 2 and len(held.items) == 1
    assert {i.path for i in kept.items} | {i.path for i in held.items} == {i.path for i in scan.items}
    assert held.items[0].concept.repeats == 1 and kept.items[0].concept.repeats == 2
    assert split(scan, 0.3, 5) == (kept, held)
    assert len({split(scan, 0.3, seed)[1].items[0].path for seed in range(20)}) == 3
    assert split(scan, 0.0, 5) == (scan, split(scan, 0.0, 1)[1])


def test_regularisation_images_are_never_held_out(folder):
    scan = usable_scan(small_config(folder))
    first, *others = scan.items
    others = [replace(item, concept=replace(item.concept, regularisation=True)) for item in others]
    mixed = replace(scan, items=(first, *others, replace(first, path=first.path.with_name("9.png"))))
    held = {split(mixed, 0.5, seed)[1].items[0].path.name for seed in range(10)}
    assert held == {first.path.name, "9.png"}


def test_one_picture_cannot_be_split(folder):
    scan = usable_scan(small_config(folder))
    single = replace(scan, items=scan.items[:1])
    with pytest.raises(UserError, match="none would be left"):
        split(single, 0.1, 0)


def test_held_out_pictures_are_measured_and_never_trained(tiny_host, folder):
    torch.set_num_threads(1)
    run = RunStore(tiny_host.paths.runs).create(small_config(folder, epochs=2, validation_split=0.3))
    with tiny_host.training_session() as model:
        trainer = Trainer(run, model, tiny_host.paths)
        seen = set()
        for event in trainer.run():
            if isinstance(event, EpochDone):
                held = {item.path for item in trainer.session.data.held_out.items}
                for micro in range(trainer.session.data.batches.steps_per_epoch):
                    seen |= {draw.item.path for draw in trainer.session.data.batches.batch(micro).draws}
    assert len(held) == 1 and len(seen) == 2 and not held & seen
    rows = run.epochs()
    assert all(row["validation_loss"] > 0 and row["validation_loss"] != row["fixed_loss"] for row in rows)
    assert [len(row["fixed_losses"]) for row in rows] == [2, 2] and [len(r["validation_losses"]) for r in rows] == [
        1,
        1,
    ]
