from __future__ import annotations

import pytest
import torch

from lib_lora.adapters.blocks import BlockWeights, block_of, load_presets
from lib_lora.adapters.file import read_lora, to_delta
from lib_lora.errors import Cancelled, UserError
from lib_lora.tools.merge import merge, report


@pytest.fixture
def loras(tiny_host, make_lora):
    make_lora("STYLE", seed=1)
    make_lora("BASE", seed=2)
    return tiny_host.paths.loras


def test_a_formula_subtracts_with_presets_and_saves(loras, tmp_path):
    merged = merge("STYLE:1:GP1,BASE:-1:GP2", loras)
    saved = read_lora(merged.save(tmp_path / "TUNED.safetensors", torch.float32))
    presets = load_presets()
    gp1, gp2 = BlockWeights.parse("GP1", presets), BlockWeights.parse("GP2", presets)
    style, base = read_lora(loras / "STYLE.safetensors"), read_lora(loras / "BASE.safetensors")
    for key, params in saved.modules.items():
        block = block_of(key)
        expected = gp1[block] * to_delta(style.modules[key]).dense() - gp2[block] * to_delta(base.modules[key]).dense()
        assert torch.allclose(to_delta(params).dense(), expected, atol=1e-6)
    assert report(merged).splitlines() == [f"{len(style.modules)} layers, rank 4", "exact: nothing is lost"]
    assert saved.metadata["merge_formula"] == "STYLE:1:GP1,BASE:-1:GP2"


def test_a_reduced_rank_reports_its_error(loras):
    merged = merge("STYLE:1,BASE:-1", loras, rank=3)
    assert 0 < merged.report.total_error < 1
    assert f"{merged.report.total_error:.2%}" in report(merged)
    assert merged.rank == 3


def test_the_users_presets_win(loras, tmp_path):
    presets = tmp_path / "block_presets.txt"
    presets.write_text("GP1:" + ",".join(["0"] * 16 + ["1"]), encoding="utf-8")
    merged = merge("STYLE:1:GP1", loras, presets=presets)
    assert {block_of(key) for key in merged.modules} == {"OUT11"}


@pytest.mark.parametrize("name", ["STILE", "nothing-like-it"])
def test_an_unknown_name_is_an_error_with_advice(loras, name):
    with pytest.raises(UserError) as error:
        merge(f"{name}:1", loras)
    assert ("STYLE" in error.value.fix) == (name == "STILE")


def test_names_in_sub_folders(loras, make_lora):
    nested = make_lora("old/STYLE", seed=3)
    one = merge("old/STYLE:1", loras)
    assert one.sources == (nested,)
    make_lora("new/only", seed=4)
    assert merge("only:1", loras).sources == (loras / "new" / "only.safetensors",)
    with pytest.raises(UserError) as error:
        (loras / "STYLE.safetensors").rename(loras / "new" / "STYLE.safetensors")
        merge("STYLE:1", loras)
    assert "new/STYLE" in error.value.fix
    assert "old/STYLE" in error.value.fix


def test_progress_counts_layers_and_can_end_the_merge(loras):
    seen = []
    merged = merge("STYLE:1,BASE:-1", loras, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, len(merged.modules)) for i in range(len(merged.modules))]

    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        merge("STYLE:1,BASE:-1", loras, progress=stop)
