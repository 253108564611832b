from __future__ import annotations

import pytest

from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.run_store import RunStore

CONFIG = TrainConfig(name="mira v1", data_dir="images", model="tiny")


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs", clock=lambda: 1_700_000_000.0)


def test_create_open_list(store):
    first, second = store.create(CONFIG), store.create(CONFIG)
    assert first.id != second.id and "mira_v1" in first.id
    assert store.open(first.id) == first and first.config() == CONFIG
    assert {run.id for run in store.list()} == {first.id, second.id}
    assert first.record.session_id != second.record.session_id
    assert first.status == "unfinished" and first.metrics() == [] and first.epochs() == []


def test_newest_first(tmp_path):
    times = iter((100.0, 300.0, 200.0))
    store = RunStore(tmp_path, clock=lambda: next(times))
    runs = [store.create(CONFIG) for _ in range(3)]
    assert [run.id for run in store.list()] == [runs[1].id, runs[2].id, runs[0].id]


def test_half_written_line_is_left_out(store):
    run = store.create(CONFIG)
    run.append_metrics([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}])
    with open(run.folder / "metrics.jsonl", "a", encoding="utf-8") as f:
        f.write('{"step": 3, "lo')
    assert [row["step"] for row in run.metrics()] == [1, 2]


def test_rewind_forgets_what_will_be_done_again(store):
    run = store.create(CONFIG)
    run.append_metrics([{"step": step} for step in range(1, 6)])
    run.add_epoch({"epoch": 1, "step": 2})
    run.add_epoch({"epoch": 2, "step": 4})
    run.set_result("stopped", 5)
    assert run.status == "stopped"
    run.rewind(3)
    assert [row["step"] for row in run.metrics()] == [1, 2, 3]
    assert [row["epoch"] for row in run.epochs()] == [1]
    assert run.status == "unfinished"


def test_an_epoch_done_twice_is_listed_once(store):
    run = store.create(CONFIG)
    run.add_epoch({"epoch": 1, "step": 2, "fixed_loss": 1})
    run.add_epoch({"epoch": 1, "step": 2, "fixed_loss": 2})
    assert run.epochs() == [{"epoch": 1, "step": 2, "fixed_loss": 2}]


def test_delete_moves_to_the_trash(store):
    run = store.create(CONFIG)
    place = store.delete(run.id)
    assert (place / "config.toml").is_file() and store.list() == []
    with pytest.raises(UserError, match="no such run"):
        store.open(run.id)


def test_damaged_record_is_named_and_hides_nothing(store):
    good, bad = store.create(CONFIG), store.create(CONFIG)
    (bad.folder / "run.json").write_text("{", encoding="utf-8")
    assert {run.id for run in store.list()} == {good.id, bad.id}
    found = store.open(bad.id)
    assert "run.json" in found.damaged()["run.json"] and found.config() == CONFIG
    assert found.record == store.open(bad.id).record and abs(found.record.created - good.record.created) < 2
