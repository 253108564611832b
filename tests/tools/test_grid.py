from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from lib_lora.errors import Cancelled, UserError
from lib_lora.lora_files import load_network
from lib_lora.tools.grid import make_grid, read_grid
from lib_lora.tools.grid_spec import BlockChoice, Candidate, GridSpec
from lib_lora.tools.pictures import BATCH, read_png


@pytest.fixture
def spec(make_lora, small):
    files = tuple(Candidate(f"e{n}", make_lora(f"mira-{n:06}", seed=n)) for n in (1, 2))
    return GridSpec(files, weights=(0.0, 0.5, 1.0), prompts=("1girl", "1boy, hat"), seeds=(3,), settings=small)


def pixels(image):
    return np.asarray(image, dtype=np.float32)


def test_every_cell_is_the_picture_of_its_own_generation(tiny_host, spec, tmp_path):
    cells = list(make_grid(tiny_host, spec, tmp_path / "grid"))
    assert [c.done for c in cells] == list(range(1, 13))
    assert {c.total for c in cells} == {12}
    shared = [c for c in cells if c.kept]
    assert {(c.cell.file.label, c.cell.weight) for c in shared} == {("e2", 0.0)}, "the base model is drawn once"
    for done in cells[::5]:
        network = load_network(done.cell.file.path)
        network.multiplier = done.cell.weight
        alone = replace(spec.settings, prompt=done.cell.prompt, seed=done.cell.seed)
        (expected,) = tiny_host.generate([alone], networks=(network,))
        assert np.abs(pixels(done.image) - pixels(expected)).max() <= 1  # of 255: other batch sizes round otherwise
    first = {(c.cell.file.label, c.cell.weight): pixels(c.image) for c in cells if c.cell.prompt == "1girl"}
    assert np.abs(first["e1", 1.0] - first["e2", 1.0]).mean() > 1, "files differ"
    assert np.abs(first["e1", 0.5] - first["e1", 1.0]).mean() > 0.5, "weights differ"
    assert np.abs(first["e1", 0.0] - first["e2", 0.0]).max() <= 1, "weight 0 is the base model"


def test_pictures_carry_their_parameters_and_grid_json_names_them(tiny_host, spec, tmp_path):
    cells = list(make_grid(tiny_host, spec, tmp_path))
    assert "<lora:mira-000001:0.5>" in cells[1].image.info["parameters"]
    written = json.loads((tmp_path / "grid.json").read_text(encoding="utf-8"))
    assert written["weights"] == [0.0, 0.5, 1.0]
    named = {(c["file"], c["weight"], c["prompt"]): tmp_path / c["image"] for c in written["cells"]}
    assert named == {(c.cell.file.label, c.cell.weight, c.cell.prompt): c.path for c in cells}
    assert all(c.path.exists() for c in cells)


def test_layers_that_act_nowhere_are_said_once(tiny_host, spec, tmp_path):
    for file in spec.files:
        tensors = safetensors.torch.load_file(file.path)
        alpha = next(name for name in tensors if name.endswith(".alpha"))
        safetensors.torch.save_file({**tensors, alpha: torch.tensor(0.0)}, file.path)
    one = replace(spec, weights=(1.0,), prompts=("1girl",))
    list(make_grid(tiny_host, one, tmp_path / "grid"))
    (remark,) = read_grid(tmp_path / "grid")["remarks"]
    assert remark.startswith("e1, e2: 1 layer has alpha 0")


def test_a_second_start_keeps_what_is_there(tiny_host, spec, tmp_path):
    before = {c.path: c.path.stat().st_mtime_ns for c in make_grid(tiny_host, spec, tmp_path)}
    list(before)[-1].unlink()
    again = list(make_grid(tiny_host, spec, tmp_path))
    assert [c.kept for c in again].count(False) == 1
    assert again[-1].done == 12
    kept = {c.path: c.path.stat().st_mtime_ns for c in again if c.kept}
    assert kept.items() <= before.items()


def test_a_damaged_picture_is_drawn_again(tiny_host, spec, tmp_path):
    """One kept the grid from ever being finished."""
    paths = list(dict.fromkeys(cell.path for cell in make_grid(tiny_host, spec, tmp_path / "grid")))
    damages = (b"", b"\x89PNG", bytes(3000), paths[3].read_bytes()[:400])
    for path, damage in zip(paths, damages, strict=False):
        path.write_bytes(damage)
    again = [cell for cell in make_grid(tiny_host, spec, tmp_path / "grid") if not cell.kept]
    assert {cell.path for cell in again} == set(paths[:4])
    assert all(read_png(path).size == again[0].image.size for path in paths)


def test_a_picture_of_other_settings_or_another_file_is_not_kept(tiny_host, spec, make_lora, tmp_path):
    list(make_grid(tiny_host, spec, tmp_path))
    other = replace(spec, settings=replace(spec.settings, steps=3))
    assert all(c.cell.weight == 0 for c in make_grid(tiny_host, other, tmp_path) if c.kept)
    spec.files[0].path.unlink()
    make_lora("mira-000001", seed=9)
    made = [c.cell for c in make_grid(tiny_host, spec, tmp_path) if not c.kept]
    assert {(cell.file.label, cell.weight) for cell in made} == {("e1", 0.5), ("e1", 1.0)}


def test_block_weights_are_a_dimension(tiny_host, spec, tmp_path):
    text_encoder = ",".join(["1"] + ["0"] * 16)
    blocks = (BlockChoice(), BlockChoice("TE", text_encoder))
    compared = replace(spec, files=spec.files[:1], weights=(1.0,), prompts=("1girl",), blocks=blocks, rows="blocks")
    plain, weighted = (done for done in make_grid(tiny_host, compared, tmp_path))
    assert f"<lora:mira-000001:1:lbw={text_encoder}>" in weighted.image.info["parameters"]
    assert "lbw" not in plain.image.info["parameters"]
    network = load_network(spec.files[0].path)
    network.set_block_weights([1.0] + [0.0] * 16)
    request = replace(spec.settings, prompt="1girl", seed=3)
    (expected,) = tiny_host.generate([request], networks=(network,))
    assert np.abs(pixels(weighted.image) - pixels(expected)).max() <= 1
    assert np.abs(pixels(weighted.image) - pixels(plain.image)).max() > 1


def test_cancel_leaves_finished_cells(tiny_host, spec, tmp_path):
    many = replace(spec, seeds=tuple(range(4)))
    work = make_grid(tiny_host, many, tmp_path, cancelled=lambda: len(done) == BATCH)
    done = []
    with pytest.raises(Cancelled):
        for cell in work:
            done.append(cell)
    assert len(done) == BATCH
    assert all(c.path.exists() for c in done)
    assert not (tmp_path / "grid.png").exists()


def test_the_sheet_has_a_table_for_each_prompt(tiny_host, spec, tmp_path):
    work = make_grid(tiny_host, spec, tmp_path)
    while True:
        try:
            next(work)
        except StopIteration as end:
            sheet = read_png(end.value)
            break
    assert sheet.width > 2 * 64
    assert sheet.height > 2 * 3 * 64


@pytest.mark.parametrize("name", ["files", "weights", "prompts", "seeds"])
def test_what_is_missing_or_double_is_named(spec, name):
    for values in ((), getattr(spec, name)[:1] * 2):
        with pytest.raises(UserError) as error:
            replace(spec, **{name: values}).check()
        assert error.value.where == name
