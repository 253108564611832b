from __future__ import annotations

import json
from pathlib import Path

import pytest

from lib_lora.errors import UserError
from lib_lora.small_files import write_json
from lib_lora.training import run_store
from lib_lora.training.config import TrainConfig
from lib_lora.training.run_store import RunStore
from lib_lora.training.tensorboard import append_rows, event, record
from lib_lora.ui.poll import Watched
from tests.pace import within
from tests.training.test_tensorboard import read as events

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


def test_a_run_appears_whole_or_not_at_all(store, monkeypatch):
    """A full disk while its settings are written left a folder that no list showed."""
    seen: list[list[str]] = []

    def full(path, value):
        seen.append([run.id for run in store.list()])
        path.write_text("{}", encoding="utf-8")
        seen.append([run.id for run in store.list()])
        raise UserError("The disk is full", where=path)

    monkeypatch.setattr("lib_lora.training.run_store.write_json", full)
    with pytest.raises(UserError, match="full") as caught:
        store.create(CONFIG)
    assert str(caught.value.where).endswith("mira_v1")
    assert seen == [[], []] and store.named(CONFIG.name) == [] and not list(store.folder.iterdir())


def test_two_programs_that_make_a_run_in_one_second_get_one_each(store, monkeypatch):
    taken = []

    def slower(source, target):
        if not taken:
            taken.append(target.name)
            target.mkdir()
            (target / "run.json").write_text("{}", encoding="utf-8")
        source.rename(target)

    monkeypatch.setattr("lib_lora.training.run_store.move", slower)
    run = store.create(CONFIG)
    assert run.id == f"{taken[0]}-2" and store.open(run.id).record.id == run.id and run.config() == CONFIG


@pytest.mark.parametrize("work", [
    lambda run: run.set_notes("mine"), lambda run: run.choose(1, 0.8), lambda run: run.set_mixture({}),
    lambda run: run.set_result("finished", 3), lambda run: run.set_epoch({"epoch": 1, "step": 2}),
    lambda run: run.join_sweep("rank 8", run.folder), lambda run: run.set_published("mira", run.folder),
    lambda run: run.extended(4),
], ids=["notes", "choice", "mixture", "result", "epoch", "sweep", "published", "extended"])  # fmt: skip
def test_what_is_kept_of_a_run_that_was_deleted_meanwhile_makes_no_folder(store, work):
    """A job or another page may still hold it; its place stays free for it to be put back."""
    run = store.create(CONFIG)
    work(run)
    trash = store.delete(run.id)
    with pytest.raises(UserError, match="deleted") as caught:
        work(run)
    assert caught.value.where == run.id and not run.folder.exists()
    trash.rename(run.folder)
    assert store.open(run.id).config() == CONFIG
    work(run)


def test_newest_first_also_when_the_clock_is_set_back(tmp_path):
    times = iter((1_700_000_000.0, 1_700_007_200.0, 1_700_003_600.0))
    store = RunStore(tmp_path, clock=lambda: next(times))
    runs = [store.create(CONFIG) for _ in range(3)]
    assert [run.id for run in store.list()] == [run.id for run in reversed(runs)]
    assert next(run.id for run in store.named(CONFIG.name)) == runs[2].id
    assert len({run.id for run in runs}) == 3


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


def test_a_long_run_is_continued_in_a_moment(store):
    """100,000 steps; what is read and written is the end of them."""
    run = store.create(CONFIG)
    total = 100_000
    rows = [{"step": step, "lr": 1e-4, "loss": step / total, "grad_norm": 1.0} for step in range(1, total + 1)]
    run._steps.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    append_rows(run._events, [])
    begun = run._events.stat().st_size
    early, late = (record(event(1.0, step, {"loss/step": 0.5})) for step in (7, total))
    run._events.write_bytes(run._events.read_bytes() + early * (total - 10) + late * 10)
    with within(1.5):
        assert run.steps == total and run.mean_loss(total - 2) == pytest.approx(1 - 0.5 / total)
        run.rewind(total - 10)
    assert run.steps == total - 10 and run.metrics() == rows[:-10]
    assert run._events.stat().st_size == begun + len(early) * (total - 10)
    before = {path: path.stat().st_mtime_ns for path in (run._steps, run._events)}
    run.rewind(total - 10)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("end", [b"", b"\n", b'\n{"step": 4, "lo', b"\n\0\0\0", b'\n7\n{"step": "x"}\n'])
def test_what_a_crash_left_at_the_end_of_the_steps_is_cut(store, end):
    run = store.create(CONFIG)
    run.append_metrics([{"step": step, "loss": 0.5} for step in (1, 2, 3)])
    path = run.folder / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip() + end)
    run.rewind(3)
    assert path.read_bytes() == whole and run.steps == 3
    run.rewind(0)
    assert path.read_bytes() == b"" and run.steps == 0 and len(events(run._events)) == 1


def test_an_event_file_that_is_none_or_cut_off_is_put_right(store):
    run = store.create(CONFIG)
    run.append_metrics([{"step": step, "loss": 0.5} for step in (1, 2, 300)])
    whole = run._events.read_bytes()
    for content, kept in ((b"", 4), (b"x" * 99, 4), (whole[:-3], 3), (whole, 4)):
        run._events.write_bytes(content)
        run.rewind(300)
        assert len(events(run._events)) == kept
    run.rewind(299)
    assert len(events(run._events)) == 3


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


def test_who_watches_the_folder_sees_a_run_that_could_not_be_read_when_it_came(tmp_path: Path, monkeypatch) -> None:
    store = RunStore(tmp_path / "runs")
    store.create(TrainConfig(name="first"))
    names = Watched(lambda: [run.id for run in store.list()], store.folder)
    seen: list[int] = []

    def looked_at(path: Path, content: object) -> None:
        seen.append(len(names()))  # the folder is there, run.json is not
        write_json(path, content)

    monkeypatch.setattr(run_store, "write_json", looked_at)
    store.create(TrainConfig(name="second"))
    assert seen == [1] and len(names()) == 2
