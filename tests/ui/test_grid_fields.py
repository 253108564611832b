"""What the fields of the Epoch grid ask for, and where its grids are kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lib_lora.adapters.file import read_lora, to_delta, write_lora
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest, HostPaths
from lib_lora.tools.picks import Pick, Picks
from lib_lora.training.config import TrainConfig
from lib_lora.ui.choices import sample_prompt_of
from lib_lora.ui.compat import SKIP
from lib_lora.ui.files import Pictures
from lib_lora.ui.grid_export import CELL, GridExport
from lib_lora.ui.grid_fields import GridFields
from lib_lora.ui.grid_more import added, offers
from lib_lora.ui.grid_place import FILES, GridPlace
from lib_lora.ui.grid_tab import GridTab
from lib_lora.workbench import Workbench

SIZE = ("", 64, 96, 2, 7.0, "Euler", 1)
KEY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
LORA = {KEY: {"lora_up.weight": torch.ones(4, 1), "lora_down.weight": torch.ones(1, 4)}}
EMPTY = {
    "files": [], "tables": [], "cells": [], "columns": "file", "rows": "weight",
    "settings": asdict(GenerationRequest("")),
}  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """Two LoRA files, and a run with two epochs; no model is needed for the fields."""
    paths = HostPaths(tmp_path / "loras", tmp_path / "models", tmp_path / "runs", tmp_path / "data")
    bench = Workbench(SimpleNamespace(paths=paths, samplers=lambda: ["DPM++ 2M", "Euler"]))
    paths.loras.mkdir()
    for name in ("luna", "mira-000001", "mira"):
        write_lora(paths.loras / f"{name}.safetensors", LORA, {})
    run = bench.runs.create(TrainConfig(name="mira", trigger="mira", data_dir="x", resolution=64))
    for epoch, name in ((1, "mira-000001"), (2, "mira")):
        path = str(paths.loras / f"{name}.safetensors")
        run.add_epoch({"epoch": epoch, "step": epoch, "running_loss": 1.0, "fixed_loss": 1.0, "lora_path": path})
    return bench


def ask(bench: Workbench, run: str, **changes: object):
    fields = {
        "epochs": "", "weights": "0.5, 1", "seeds": "1", "prompts": "girl, red hat", "columns": "Epoch or file",
        "rows": "Weight", "blocks": [], "replaced": "", "others": [],
    }  # fmt: skip
    return GridFields(bench).spec(run, *{**fields, **changes}.values(), *SIZE)


def test_steps_are_among_the_epochs_in_the_order_of_training(bench):
    run = bench.runs.list()[0]
    for step in (2, 30, 4):  # an epoch ends at 2
        write_lora(bench.host.paths.loras / f"mira-step{step:08}.safetensors", LORA, {})
    write_lora(bench.host.paths.loras / "mira-b-step00000003.safetensors", LORA, {})
    place = GridPlace(bench, run.id)
    assert [candidate.label for candidate in place.candidates()] == ["e1", "e2", "s4", "s30"]
    assert [file.label for file in ask(bench, run.id, epochs="s30, 1-2").files] == ["s30", "e1", "e2"]
    with pytest.raises(UserError, match=r"Step 5 has no LoRA file.*Saved are 1, 2, s4, s30"):
        ask(bench, run.id, epochs="step 5")
    pick = Pick("s30", 0.8)
    assert str(pick) == "step 30 at 0.8" and pick.of_run and pick.epoch is None
    place.choose(pick)
    assert run.chosen() == {}, "a run's choice is an epoch"


def test_epochs_files_presets_and_words(bench):
    run = bench.runs.list()[0].id
    spec = ask(bench, run, others=["luna"], blocks=["ALL", "OUTS"], replaced="red hat, cap", columns="Block preset")
    assert [file.label for file in spec.files] == ["e1", "e2", "luna"]
    assert spec.prompts == ("girl, red hat", "girl, cap")
    assert [choice.label for choice in spec.blocks] == ["ALL", "OUTS"]
    assert spec.blocks[0].weights == "" and spec.blocks[1].weights.count(",") == 25
    assert (spec.columns, spec.rows, spec.settings.width, spec.settings.height) == ("blocks", "weight", 64, 96)
    assert [file.label for file in ask(bench, run, epochs="2").files] == ["e2"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"epochs": "7"}, "Epochs to compare"),
        ({"weights": "much"}, "Weights to compare"),
        ({"prompts": " "}, "Grid prompts"),
        ({"replaced": "blue hat, cap"}, "Replace in prompt"),
        ({"rows": "Epoch or file"}, "rows"),
    ],
)
def test_what_cannot_be_read_is_named(bench, changes, where):
    with pytest.raises(UserError) as error:
        ask(bench, bench.runs.list()[0].id, **changes)
    assert error.value.where == where


def test_a_grid_begins_with_the_sample_prompts_and_their_size(bench):
    prompts = "# the pair\nmira left, rin right --w 192 --h 128 --d 4\nmira (x), solo --n bad --w 96 --h 128"
    run = bench.runs.create(TrainConfig(name="duo", data_dir="nowhere", resolution=160, sample_prompts=prompts))
    bench.host.literal = str
    values = GridFields(bench).of_run(run.id)
    assert values[3] == "mira left, rin right\nmira (x), solo"
    sides = [update["value"] for update in values if isinstance(update, dict) and "value" in update]
    assert sides[:2] == [192, 128]


def test_files_without_a_run(bench):
    with pytest.raises(UserError, match="No LoRA is chosen"):
        ask(bench, FILES)
    assert [file.label for file in ask(bench, FILES, others=["luna", "mira"]).files] == ["luna", "mira"]


def test_a_style_is_drawn_by_one_of_its_captions(bench, tmp_path):
    folder = tmp_path / "set"
    for name in (".rejected/0.txt", "5_style/1.txt"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(f"caption of {name}", encoding="utf-8")
    run = bench.runs.create(TrainConfig(name="style", data_dir=str(folder)))
    assert sample_prompt_of(run) == "caption of 5_style/1.txt"
    assert sample_prompt_of(run, str.upper) == "CAPTION OF 5_STYLE/1.TXT"
    gone = bench.runs.create(TrainConfig(name="style", data_dir="nowhere"))
    assert sample_prompt_of(gone) == "style"


def test_a_prompt_from_words_of_a_caption_is_escaped_and_a_typed_one_is_not(bench, tmp_path):
    """In web UIs parentheses weigh, so a grid of saber (fate) drew something else than was trained."""
    bench.host.literal = lambda text: text.replace("(", "\\(").replace(")", "\\)")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "1.txt").write_text("saber (fate), hat", encoding="utf-8")
    prompts = []
    for given in ({}, {"trigger": "mira (x)"}, {"trigger": "mira (x)", "sample_prompts": "mira, (hat:1.2) --s 20"}):
        run = bench.runs.create(TrainConfig(name="style", data_dir=str(tmp_path / "set"), **given))
        prompts.append(GridFields(bench).of_run(run.id)[3])
    assert prompts == ["saber \\(fate\\), hat", "mira \\(x\\)", "mira, (hat:1.2)"]


def test_epochs_whose_files_are_gone_are_not_waited_for(bench):
    run = bench.runs.list()[0].id
    for file in bench.host.paths.loras.glob("mira*"):
        file.unlink()
    with pytest.raises(UserError, match="are gone"):
        ask(bench, run)


def test_a_grid_of_a_sweep_keeps_its_files(bench):
    folder = bench.host.paths.data / "grids" / "mira-variants"
    folder.mkdir(parents=True)
    assert GridFields(bench).names() == [bench.runs.list()[0].id, "Grid mira-variants", FILES]
    luna, gone = bench.lora_path("luna"), bench.host.paths.loras / "gone.safetensors"
    files = [{"label": "rank 4", "path": str(luna)}, {"label": "rank 8", "path": str(gone)}]
    (folder / "grid.json").write_text(json.dumps({**EMPTY, "files": files}), encoding="utf-8")
    spec = ask(bench, "Grid mira-variants")
    assert [(file.label, file.path) for file in spec.files] == [("rank 4", luna)]
    place = GridPlace(bench, "Grid mira-variants")
    assert place.source(Pick("rank 4", 1.0)) == luna
    with pytest.raises(UserError, match="is gone"):
        place.source(Pick("rank 8", 1.0))


def make_record(bench: Workbench, run: str, sampler: str = "Euler", **asked: object) -> list[object]:
    """Write what a grid writes about itself; returns the values that the fields then show."""
    spec = replace(ask(bench, run, **asked), settings=GenerationRequest("", "fog", 64, 96, 2, 5.5, sampler=sampler))
    files = [{"label": file.label, "path": str(file.path)} for file in spec.files]
    record = {**asdict(spec), "files": files, "tables": [], "cells": []}
    folder = GridPlace(bench, run).folder
    folder.mkdir(exist_ok=True)
    (folder / "grid.json").write_text(json.dumps(record), encoding="utf-8")
    return [v.get("value", "left") if isinstance(v, dict) else v for v in GridFields(bench).of_run(run)]


def test_a_grid_fills_the_fields_that_made_it(bench):
    run = bench.runs.list()[0].id
    asked = {
        "epochs": "2",
        "weights": "0.5, 1",
        "seeds": "3, 4",
        "prompts": "girl",
        "columns": "Seed",
        "rows": "Weight",
    }
    shown = make_record(bench, run, **asked, others=["luna"])
    assert shown == [*asked.values(), [], "", ["luna"], "fog", 64, 96, 2, 5.5, "Euler", 1]
    assert make_record(bench, run)[0] == "", "all epochs"


def test_a_sampler_that_is_gone_is_not_asked_for(bench):
    assert make_record(bench, bench.runs.list()[0].id, sampler="gone")[-2] == "left"


def test_a_choice_is_the_runs_too(bench):
    run = bench.runs.list()[0]
    place = GridPlace(bench, run.id)
    with pytest.raises(UserError, match="No cell is chosen"):
        place.chosen()
    place.star(Pick("luna", 1.0))
    place.choose(Pick("e2", 0.8))
    assert run.chosen() == {"epoch": 2, "weight": 0.8}
    place.choose(Pick("luna", 1.0))
    assert run.chosen() == {"epoch": 2, "weight": 0.8}, "luna is none of its epochs"
    assert place.picks() == Picks((Pick("luna", 1.0),), Pick("luna", 1.0))


def test_a_file_that_is_called_like_an_epoch_is_none(bench):
    """Its name alone decided what the run remembers as its chosen epoch."""
    run = bench.runs.list()[0]
    write_lora(bench.host.paths.loras / "e2.safetensors", LORA, {})
    make_record(bench, run.id, epochs="1", others=["e2"])
    place = GridPlace(bench, run.id)
    place.choose(Pick("e2", 0.8))
    assert place.source(place.chosen()).name == "e2.safetensors" and run.chosen() == {}
    place.choose(Pick("e1", 1.0))
    assert run.chosen() == {"epoch": 1, "weight": 1.0}


def test_choosing_the_chosen_cell_again_keeps_the_name_that_was_typed_for_it(bench):
    run = bench.runs.list()[0].id
    tab = GridTab(bench, Pictures(bench.host.paths))
    make_record(bench, run)
    assert tab.choose(run, "e1:0.8:|17")[-2] == "mira-e1-w0.8"
    assert tab.choose(run, "e1:0.8:|18")[-2:] == [SKIP, SKIP]
    assert tab.choose(run, "e2:0.8:|19")[-2] == "mira-e2-w0.8"


def test_a_mistake_in_a_field_is_told_once(bench):
    tab = GridTab(bench, Pictures(bench.host.paths))
    bench.queue = SimpleNamespace(jobs=list)
    fields = {"run": bench.runs.list()[0].id, "epochs": "7", "weights": "1", "seeds": "1", "prompts": "girl",
              "columns": "Epoch or file", "rows": "Weight", "blocks": [], "replaced": "", "others": []}  # fmt: skip
    assert tab.announce(*fields.values(), *SIZE).count("Epoch 7 has no LoRA file") == 1
    assert tab.start(*fields.values(), *SIZE) == ""
    fields |= {"epochs": "", "prompts": " "}  # as while a page is being filled: no mistake yet
    assert "lw-error" not in tab.announce(*fields.values(), *SIZE) != ""
    with pytest.raises(UserError, match="At least one line"):
        tab.start(*fields.values(), *SIZE)
    fields |= {"epochs": "7", "prompts": "girl"}
    tab.fields.names = list  # where there is no plan above the button, the button says it
    with pytest.raises(UserError, match="Epoch 7 has no LoRA file"):
        tab.start(*fields.values(), *SIZE)


def test_a_dora_is_kept_at_a_weight_with_the_checkpoint_of_its_run(bench, monkeypatch):
    """It depends on the weights it acts on, and there was no way to give them."""
    run = bench.runs.create(TrainConfig(name="dora", data_dir="x", model="base"))
    source = bench.host.paths.loras / "dora.safetensors"
    write_lora(source, {KEY: {**LORA[KEY], "dora_scale": torch.full((1, 4), 2.0)}}, {}, None)
    run.add_epoch({"epoch": 1, "step": 1, "running_loss": 1.0, "fixed_loss": 1.0, "lora_path": str(source)})
    make_record(bench, run.id)
    GridPlace(bench, run.id).choose(Pick("e1", 0.5))
    asked, base = [], 2 * torch.eye(4)
    monkeypatch.setattr(bench, "weights_of", lambda name: asked.append(name) or {KEY: base})
    monkeypatch.setattr(GridPlace, "picture", lambda *_: None)
    bench.host.refresh_loras = list
    GridExport(bench).write(run.id, "kept", "", CELL, True)
    moved = base + 1
    want = 0.5 * (2 * moved / moved.norm(dim=0) - base)  # DoRA: columns of W + ΔW at the length that is stored
    kept = to_delta(read_lora(bench.host.paths.loras / "kept.safetensors").modules[KEY]).dense()
    assert asked == ["base"] and torch.allclose(kept, want, atol=2e-3)


def test_the_first_run_is_chosen_when_there_is_one(bench):
    def chosen(name: str | None) -> object:
        return GridTab(bench, Pictures(bench.host.paths)).now(name)[0].get("value", "left")

    bench.queue = SimpleNamespace(jobs=list)
    run = bench.runs.list()[0].id
    (bench.host.paths.runs / run / "epochs.json").write_text('[{"epoch": 1}]', encoding="utf-8")
    newer = bench.runs.create(TrainConfig(name="newer", data_dir="set", model="x")).folder
    (newer / "epochs.json").write_text("[]", encoding="utf-8")  # stopped in its first epoch
    assert [one.id for one in bench.runs.list()] == [newer.name, run] and chosen(None) == run and chosen(run) == "left"
    shutil.rmtree(newer)
    bench.delete_run(run)
    assert chosen(None) == "left"
    assert chosen(run) is None, "a page that still shows the deleted run lets go of it"
    place = GridPlace(bench, FILES)
    place.folder.mkdir(parents=True)
    (place.folder / "grid.json").write_text(json.dumps(EMPTY), encoding="utf-8")
    assert chosen(None) == FILES, "as before a reload"


def test_more_of_a_grid_goes_on_with_its_steps() -> None:
    shown = offers({"weights": [0.6, 0.8, 1.0], "seeds": [1, 2]})
    assert all(f'"{one}"' in shown for one in ("weight:0.4", "weight:1.2", "seed:3")) and offers({}) == ""
    assert "weight:-" not in offers({"weights": [0.1, 0.4], "seeds": [1]})
    assert added("weight:0.4|17", "0.6-1.0:0.2", "1") == ("0.4, 0.6, 0.8, 1", "1")
    assert added("seed:3|17", "0.6", "1-2") == ("0.6", "1, 2, 3")
    with pytest.raises(UserError, match="Unknown addition"):
        added("file:x|17", "1", "1")


def test_blocks_follows_the_chosen_epoch_of_its_run(bench: Workbench) -> None:
    run, export = bench.runs.list()[0].id, GridExport(bench)
    place = GridPlace(bench, run)
    place.folder.mkdir(parents=True)
    files = [{"label": one.label, "path": str(one.path)} for one in place.candidates()]
    (place.folder / "grid.json").write_text(json.dumps({**EMPTY, "files": files}), encoding="utf-8")
    assert export.follow(run, None) == SKIP
    place.choose(Pick("e1", 0.8))
    assert export.follow(run, None)["value"] == export.follow(run, "mira")["value"] == "mira-000001"
    assert export.follow(run, "luna") == SKIP  # another's LoRA stays where it is
