"""Merges against dense float64 sums."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lib_lora.adapters import LoraFile, Network, NetworkSpec, model_hash, read_lora, write_lora
from lib_lora.adapters.blocks import BLOCKS_17, BlockWeights
from lib_lora.adapters.file import to_delta
from lib_lora.adapters.layers import Layers, outline
from lib_lora.adapters.merge import combine
from lib_lora.errors import UserError

QUERY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"
MODEL = {"ss_base_model_version": "sd_v1", "modelspec.architecture": "stable-diffusion-v1/lora", "ss_seed": "4"}


def lora(layers, seed: int, **spec) -> LoraFile:
    network = Network.create(layers, NetworkSpec(**spec), seed)
    for i, p in enumerate(network.parameters()):
        nn.init.normal_(p, generator=torch.Generator().manual_seed(100 * seed + i))
    return LoraFile(Path(f"lora{seed}.safetensors"), MODEL, network.modules())


@pytest.fixture
def a(layers) -> LoraFile:
    return unsaved(lora(layers, 1, rank=3, alpha=1.5, conv_rank=2))


@pytest.fixture
def b(layers) -> LoraFile:
    """Another rank and alpha, no convolutions."""
    return unsaved(lora(layers, 2, rank=2, alpha=4.0))


def unsaved(file: LoraFile) -> LoraFile:
    return LoraFile(None, file.metadata, file.modules)


def dense(file: LoraFile, key: str) -> torch.Tensor:
    if key not in file.modules:
        return torch.zeros(())
    p = file.modules[key]
    up, down = p["lora_up.weight"].double(), p["lora_down.weight"].double()
    return p["alpha"].item() / down.shape[0] * (up.flatten(1) @ down.flatten(1))


def merged_dense(modules, key: str) -> torch.Tensor:
    return to_delta(modules[key]).matrix().double()


@pytest.mark.parametrize("wa", [-1.0, -0.5, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("wb", [-1.0, 0.0, 0.3])
def test_the_sum_is_exact(a, b, wa, wb):
    merged = combine([(a, wa, None), (b, wb, None)])
    assert merged.modules.keys() == a.modules.keys()
    for key in merged.modules:
        want = wa * dense(a, key) + wb * dense(b, key)
        assert (merged_dense(merged.modules, key) - want).norm() <= 1e-6 * want.norm(), key
        if wb != 0:  # then the factors grow, but never beyond the matrix
            assert sum(t.numel() for name, t in merged.modules[key].items() if name != "alpha") <= want.numel(), key
    assert wb != 0 or merged.rank == 3
    assert merged.report.total_error == 0


def test_an_exact_sum_is_stored_in_its_smaller_form():
    wide, narrow = ({QUERY: nn.Linear(64, 48)}, {QUERY: nn.Linear(6, 6)})
    for layers, form in ((wide, "lora_up.weight"), (narrow, "diff")):
        merged = combine([(unsaved(lora(layers, seed, rank=2)), 1.0, None) for seed in (0, 1)])
        assert form in outline(merged.modules)[QUERY] and form in merged.modules[QUERY]


def test_an_exact_merge_reads_its_files_when_it_is_asked(tmp_path, a, b):
    """Layers are calculated on demand: their shapes are known before, and they are what they would be at once."""
    merged = combine([(a, 1.0, None), (b, -0.5, None)])
    shapes = outline(merged.modules)
    assert all(t.is_meta or name == "alpha" for params in shapes.values() for name, t in params.items())
    for key, params in merged.modules.items():
        assert {n: (t.shape, t.dtype) for n, t in params.items()} == {
            n: (t.shape, t.dtype) for n, t in shapes[key].items()
        }


def test_each_layer_of_an_exact_merge_is_made_once_to_be_saved(tmp_path, a, b):
    merged, made = combine([(a, 1.0, None), (b, -1.0, None)]), []
    counted = Layers(outline(merged.modules), lambda key: made.append(key) or merged.modules[key])
    replace(merged, modules=counted).save(tmp_path / "c.safetensors")
    assert sorted(made) == sorted(merged.modules)


def test_whoever_leaves_a_merge_early_waits_for_no_hash(tmp_path, a, monkeypatch):
    ended = threading.Event()

    def endless(path, given_up):
        while not given_up():
            time.sleep(0.001)
        ended.set()
        return path.name

    def stop(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr("lib_lora.adapters.hashing.model_hash", endless)
    file = read_lora(write_lora(tmp_path / "a.safetensors", a.modules, {}))
    with pytest.raises(KeyboardInterrupt):
        combine([(file, 1.0, None)], rank=1, progress=stop)
    assert ended.is_set()


@pytest.mark.parametrize("limits", [{"rank": 2}, {"energy": 0.9}, {"energy": 1.0}])
def test_what_cancels_is_nothing_and_no_error_of_half(a, limits):
    for weights in ((1.0, -1.0), (0.1, 0.2, -0.3)):
        merged = combine([(a, weight, None) for weight in weights], **limits)
        assert merged.report.total_error == merged.report.worst_error == 0
        for key in merged.modules:
            assert merged_dense(merged.modules, key).norm() == 0


def test_file_form_of_the_layers(a):
    merged = combine([(a, -1.0, None)])
    for key, params in merged.modules.items():
        assert params["lora_down.weight"].shape == a.modules[key]["lora_down.weight"].shape
        assert params["lora_up.weight"].shape == a.modules[key]["lora_up.weight"].shape
        assert params["alpha"].item() == params["lora_down.weight"].shape[0]


def test_block_weights_multiply_the_weight(a, b):
    first = {name: 0.0 for name in BLOCKS_17} | {"BASE": 0.5, "IN01": 2.0}
    merged = combine([(a, -2.0, first), (b, 1.0, BlockWeights.read([0.0] * 17))])
    assert torch.allclose(merged_dense(merged.modules, TEXT), -1.0 * dense(a, TEXT), atol=1e-5)
    assert torch.allclose(merged_dense(merged.modules, QUERY), -4.0 * dense(a, QUERY), atol=1e-5)
    assert "lora_unet_down_blocks_0_downsamplers_0_conv" not in merged.modules


@pytest.mark.parametrize("limits", [{}, {"rank": 2}, {"energy": 0.5}])
def test_a_merge_keeps_no_more_memory_than_it_has_numbers_and_none_of_its_inputs(a, limits):
    """A view would keep all that it is a part of, and a shared tensor would change with its owner."""
    a.modules = {
        key: {
            name: t.float() if name != "alpha" else torch.tensor(float(len(params["lora_down.weight"])))
            for name, t in params.items()
        }
        for key, params in a.modules.items()
    }
    inputs = {t.untyped_storage().data_ptr() for params in a.modules.values() for t in params.values()}
    merged = combine([(a, 1.0, None)], **limits)
    for key in merged.modules:
        for name, tensor in merged.modules[key].items():
            memory = tensor.untyped_storage()
            assert memory.nbytes() == tensor.numel() * tensor.element_size(), (key, name)
            assert memory.data_ptr() not in inputs, (key, name)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_reduction_is_optimal_and_reported(a, b, rank):
    merged = combine([(a, 1.0, None), (b, -1.0, None)], rank=rank)
    report, lost, whole = merged.report, 0.0, 0.0
    assert merged.rank == rank
    for key in merged.modules:
        exact = dense(a, key) - dense(b, key)
        values = torch.linalg.svdvals(exact)
        best = (values[rank:].norm() / values.norm()).item()
        got = ((merged_dense(merged.modules, key) - exact).norm() / exact.norm()).item()
        assert report.per_layer[key] == pytest.approx(best, abs=1e-6)
        assert got == pytest.approx(best, abs=1e-6)
        spectrum = report.spectrum[key]
        assert spectrum == pytest.approx(values[: len(spectrum)].tolist(), rel=1e-5)
        lost, whole = lost + values[rank:].square().sum().item(), whole + values.square().sum().item()
    assert report.total_error == pytest.approx(math.sqrt(lost / whole), abs=1e-6)
    assert report.worst_error == max(report.per_layer.values()) == report.per_layer[report.worst_layer]


def test_a_rank_above_the_layers_is_capped(a):
    merged = combine([(a, 1.0, None)], rank=64)
    assert merged.rank == 3
    assert merged.report.total_error < 1e-6


def test_merges_can_be_merged(a, b):
    once = combine([(a, 1.0, None), (b, 1.0, None)])
    back = combine([(once.file(), 1.0, None), (b, -1.0, None)], rank=3)
    for key in a.modules:
        assert torch.allclose(merged_dense(back.modules, key), dense(a, key), atol=1e-4)


def test_progress_and_nothing_left(a, b):
    calls = []
    combine([(a, 1.0, None)], progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i + 1, len(a.modules)) for i in range(len(a.modules))]
    for terms in ([], [(a, 0.0, None)], [(a, 1.0, [0.0] * 17)]):
        with pytest.raises(UserError, match="Nothing is left"):
            combine(terms)
    with pytest.raises(UserError, match="at least 1"):
        combine([(a, 1.0, None)], rank=0)


def test_other_shapes_are_named(a):
    other = unsaved(lora({QUERY: nn.Linear(9, 8)}, 3))
    with pytest.raises(UserError, match=rf"{QUERY} is \[8, 9\] here and \[8, 8\]"):
        combine([(a, 1.0, None), (other, 1.0, None)])


@pytest.mark.parametrize("rank", [None, 2])
def test_a_matrix_under_the_name_of_a_convolution(rank):
    """Of [8, 10] no 3×3 kernel can be made; it stays a matrix."""
    key = "lora_unet_down_blocks_0_resnets_0_conv1"
    params = {"lora_up.weight": torch.randn(8, 4), "lora_down.weight": torch.randn(4, 10)}
    file = LoraFile(None, modules={key: params})
    merged = combine([(file, 0.5, None), (file, 0.5, None)], rank=rank)
    assert to_delta(merged.modules[key]).matrix_shape == (8, 10)


def test_sdxl_has_block_weights_too():
    sdxl = unsaved(lora({QUERY: nn.Linear(9, 8)}, 3))
    sdxl.modules = {"lora_unet_input_blocks_4_1_proj_in": sdxl.modules[QUERY]}
    assert combine([(sdxl, 0.5, None)]).rank == 16
    assert combine([(sdxl, 0.5, [1.0] * 12)]).rank == 16
    with pytest.raises(UserError, match="Nothing is left"):
        combine([(sdxl, 0.5, [1.0, 0.0] + [1.0] * 10)])


def test_saving(tmp_path, a, b):
    files = []
    for name, file in (("Style, v2", a), ("base", b)):
        files.append(read_lora(write_lora(tmp_path / f"{name}.safetensors", file.modules, file.metadata)))
    merged = combine([(files[0], 1.0, [1.0] * 17), (files[1], -0.5, None)], rank=3)
    path = merged.save(tmp_path / "out.safetensors")
    metadata = read_lora(path).metadata
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert metadata["modelspec.merged_from"] == "Style, v2, base"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("3", "3.0")
    assert "ss_seed" not in metadata
    assert metadata["merge_formula"] == f'"Style, v2":1:{",".join("1" * 26)},base:-0.5'
    sources = json.loads(metadata["merge_sources"])
    assert [s["hash"] for s in sources] == [model_hash(file.path) for file in files]
    assert [s["weight"] for s in sources] == [1.0, -0.5]
    assert merged.report.warnings == []


def test_inputs_are_never_replaced(tmp_path, a):
    file = read_lora(write_lora(tmp_path / "a.safetensors", a.modules, {}))
    before = file.path.read_bytes()
    with pytest.raises(UserError, match="one of its inputs"):
        combine([(file, 1.0, None)], formula="a:1").save(tmp_path / "." / "a.safetensors", overwrite=True)
    assert file.path.read_bytes() == before


def test_costly_half_precision_is_reported(tmp_path, a):
    tiny = combine([(a, 1e-12, None)])
    tiny.save(tmp_path / "tiny.safetensors")
    assert len(tiny.report.warnings) == 1 and "float16" in tiny.report.warnings[0]
    tiny.save(tmp_path / "tiny32.safetensors", torch.float32)
    assert tiny.report.warnings == []


def test_overflow_is_told_before_saving(tmp_path, a):
    huge = combine([(a, 1e9, None)])
    (warning,) = huge.rounding_warnings(torch.float16)
    assert "float16 cannot store" in warning
    assert huge.rounding_warnings(torch.float32) == []
    with pytest.raises(UserError, match="float16 cannot store"):
        huge.save(tmp_path / "huge.safetensors")
    assert not list(tmp_path.glob("huge*"))
