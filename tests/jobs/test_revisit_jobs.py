"""What is asked of a run afterwards, on the tiny model: the best mixture, and which pictures did something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_lora import cli
from lib_lora.access import Access
from lib_lora.adapters.file import open_lora
from lib_lora.adapters.formula import parse
from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths
from lib_lora.tools.influence import Shown
from lib_lora.tools.mixture import HeldOut, Mixture
from lib_lora.training.revisit import revisit
from lib_lora.training.run import Run
from lib_lora.ui.mixture_panel import told
from lib_lora.workbench import Workbench
from lib_lora.workbench.revisit import find_influence, find_mixture, mixture_formula, mixture_of, train_without
from tests.api.test_api import Caller
from tests.training.worlds import small_config

COLOURS = ((250, 20, 20), (20, 250, 20), (20, 20, 250), (250, 250, 20), (20, 250, 250), (250, 20, 250), (9, 9, 9),
           (240, 240, 240))  # fmt: skip


@pytest.fixture(scope="module")
def workbench(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("revisit")
    host = StandaloneHost(HostPaths(root / "loras", tiny_checkpoint.parent, root / "runs", root / "data"))
    host.load("tiny")
    workbench = Workbench(host)
    yield workbench
    workbench.queue.leave(60)


@pytest.fixture(scope="module")
def folder(workbench: Workbench) -> Path:
    folder = workbench.host.paths.data / "sets" / "mira"
    folder.mkdir(parents=True)
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (64, 64), colour).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"girl, tag{number}", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(workbench: Workbench, folder: Path) -> Run:
    """One for all: whoever asks it changes nothing of it."""
    config = small_config(folder, validation_split=0.5, epochs=3, unet_lr=2e-2, te_lr=0.0, flip=False)
    view = workbench.queue.wait(workbench.start_training(config), 300)
    return workbench.runs.open(view.run)


def ended(workbench: Workbench, job: int):
    return workbench.queue.wait(job, 300)


def test_a_mixture_is_found_kept_and_carried_on(workbench: Workbench, run: Run) -> None:
    found = ended(workbench, find_mixture(workbench, run.id)).mixture
    assert found == mixture_of(run) and found.pictures == 4 and found.loss <= found.best_loss
    assert found.evaluations < 10 * 3
    files = {file.epoch: file.path for file in workbench.epoch_files(run.id)}
    with workbench.host.training_session() as model:
        again = _result(revisit(run, files, model, workbench.host.paths))
        with again.attached():
            measured = HeldOut(again, again.data.held_out)
            gram = _result(measured.gram())
            alone = HeldOut(again, again.data.held_out).losses({2: 1.0})
            assert gram[:, 2, 2] == pytest.approx(alone, rel=1e-5)
            half = HeldOut(again, again.data.held_out).losses({2: 0.5, 3: 0.5})
            told = (gram[:, 2, 2] + gram[:, 3, 3] + 2 * gram[:, 2, 3]) / 4  # true to first order
            assert half == pytest.approx(told, rel=0.05)
            assert measured.losses(found.weights).mean() == pytest.approx(found.loss)
    assert {term.name: term.weight for term in parse(mixture_formula(workbench, run.id))} == {
        files[epoch].stem: weight for epoch, weight in found.weights.items()
    }


def test_a_mixture_in_words() -> None:
    text = told(Mixture({2: 0.6, 3: 0.3}, 0.0812, 3, 0.083, 0.0016, 0.0004, 6, 15))
    assert "0.6 × epoch 2 + 0.3 × epoch 3" in text and "0.0016, and its standard error 0.0004" in text
    assert "chance" not in text
    assert "may be chance" in told(Mixture({2: 0.6}, 0.08, 3, 0.083, 0.0001, 0.0004, 6, 15))
    assert "No mixture" in told(Mixture({3: 1.0}, 0.08, 3, 0.08, 0.0, 0.0, 6, 15))


def test_a_picture_is_what_itself_would_bring_about(workbench: Workbench, run: Run, folder: Path) -> None:
    trained = [p for p in folder.glob("*.png") if p.name in _trained(workbench, run)]
    for picture in trained[:1]:
        caption = f"mira, {picture.with_suffix('.txt').read_text(encoding='utf-8')}"
        with Image.open(picture) as image:
            shown = Shown(image.convert("RGB"), caption)
        view = ended(workbench, find_influence(workbench, run.id, [shown], "itself"))
        assert len(view.found) == 4 and view.found[0].picture == picture
        assert all(path.is_file() for path in view.thumbnails) and len(view.thumbnails) == 4
    view = workbench.queue.view(train_without(workbench, run.id, [view.found[0].picture]))
    workbench.queue.cancel(view.id)
    again = workbench.runs.open(view.run).config()
    assert again.leave_out == trained[0].name and again.name.startswith("mira-") and again.seed == run.config().seed
    with pytest.raises(UserError, match="No picture"):
        train_without(workbench, run.id, [])


def test_through_the_api(workbench: Workbench, run: Run, folder: Path) -> None:
    caller = Caller(workbench, Access())
    found = caller.finished(caller.post("mixture", run=run.id))["result"]
    assert found["best"] in (1, 2, 3) and found["weights"]
    body = {"run": run.id, "image": str(folder / "1.png"), "prompt": "mira, girl"}
    ranked = caller.finished(caller.post("influence", **body))["result"]
    assert {row["picture"] for row in ranked} == _trained(workbench, run)
    again = caller.post("without", run=run.id, pictures=[ranked[0]["picture"]]).json()
    workbench.queue.cancel(again["id"])
    assert again["run"] != run.id
    assert "leave_out" in str(caller.post("without", run=run.id, pictures=["none.png"]).json()["error"]["where"])
    assert caller.post("influence", **{**body, "image": "/etc/passwd"}).status_code != 200
    assert caller.post("mixture", run=run.id, pictures="/").status_code != 200


def test_on_the_command_line(workbench: Workbench, run: Run, folder: Path, monkeypatch, capsys) -> None:
    def host(_args, model):
        assert model == run.record.model
        return workbench.host

    monkeypatch.setattr(cli, "make_host", host)
    data = ["--data", str(workbench.host.paths.runs.parent)]
    assert cli.main(["mix", run.id, *data, "--save", "mixed", "--rank", "1"]) == 0
    assert "best mixture mira" in capsys.readouterr().out
    assert open_lora(workbench.host.paths.loras / "mixed.safetensors").modules
    picture = str(folder / "1.png")
    assert cli.main(["why", run.id, *data, "--picture", picture, "--right", picture, "--prompt", "mira, girl"]) == 0
    assert capsys.readouterr().out.count(".png") == 4
    assert cli.main(["why", run.id, *data, "--picture", str(folder / "1.txt"), "--prompt", "mira"]) == 2


def test_what_has_changed_since_is_refused(workbench: Workbench, run: Run, folder: Path) -> None:
    caption = (folder / "1.txt").read_text(encoding="utf-8")
    (folder / "1.txt").write_text("another", encoding="utf-8")
    try:
        view = ended(workbench, find_mixture(workbench, run.id))
    finally:
        (folder / "1.txt").write_text(caption, encoding="utf-8")
    assert "changed" in view.error["what"]


def test_held_out_pictures_can_lie_elsewhere(workbench: Workbench, run: Run, folder: Path) -> None:
    whole = workbench.runs.create(small_config(folder, name="whole"))
    with pytest.raises(UserError, match="two saved epochs"):
        find_mixture(workbench, whole.id)
    for epoch, path in ((1, "a"), (2, "b")):
        file = run.folder / path
        file.touch()
        whole.add_epoch({"epoch": epoch, "step": epoch, "lora_path": str(file)})
    with pytest.raises(UserError, match="held no pictures out"):
        find_mixture(workbench, whole.id)
    assert ended(workbench, find_mixture(workbench, run.id, str(folder))).mixture.pictures == len(COLOURS)


def _trained(workbench: Workbench, run: Run) -> set[str]:
    with workbench.host.training_session() as model:
        files = {file.epoch: file.path for file in workbench.epoch_files(run.id)}
        return {item.path.name for item in _result(revisit(run, files, model, workbench.host.paths)).data.trained.items}


def _result(work):
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
