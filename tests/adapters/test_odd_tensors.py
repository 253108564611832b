"""Tensors that trainers did write: factors of several types, half-precision cores, square layers, whole numbers."""

from __future__ import annotations

import random

import pytest
import safetensors.torch
import torch

from lib_lora.adapters import Network, NetworkSpec, read_lora, write_lora
from lib_lora.adapters.algorithms.glora import GLoRA
from lib_lora.adapters.build import adapter_from
from lib_lora.adapters.file import join_keys, to_delta
from lib_lora.adapters.merge import combine
from lib_lora.errors import UserError

KEY = "lora_unet_mid_block_attentions_0_proj_in"
SPECS = [
    *(NetworkSpec(name, 2, 1.0) for name in ("lora", "loha", "lokr", "full", "ia3", "glora", "oft", "boft")),
    *(NetworkSpec("lokr", 2, 1.0, decompose_both=both, full_matrix=not both) for both in (False, True)),
    *(NetworkSpec(name, 2, 1.0, dora=True) for name in ("lora", "loha", "lokr")),
]
TYPES = [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.int32, torch.int64, torch.bool]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("algorithm", ["loha", "lokr", "lora"])
def test_tucker_products_of_half_precision_files_are_exact(algorithm, dtype):
    spec = NetworkSpec(algorithm, 2, 1.0, conv_rank=3, tucker=True, factor=4, layers="conv")
    layer = torch.nn.Conv2d(16, 24, 3)
    params = Network.create({KEY + "_conv": layer}, spec, 0).modules()[KEY + "_conv"]
    assert any(tensor.ndim == 4 and tensor.shape[2] == 3 for tensor in params.values())
    half = {
        name: (0.3 * noise(*t.shape, seed=i)).to(dtype) if t.ndim else t for i, (name, t) in enumerate(params.items())
    }
    want = to_delta({name: tensor.double() for name, tensor in half.items()}).dense()
    got = to_delta(half).dense().double()
    assert ((got - want).norm() / want.norm()).item() < 1e-6


def test_old_glora_on_a_square_layer():
    new = {"a1.weight": noise(8, 2), "a2.weight": noise(2, 8), "b1.weight": noise(8, 2), "b2.weight": noise(2, 8)}
    old = {"a1.weight": new["a2.weight"], "a2.weight": new["a1.weight"]}
    old |= {"b1.weight": new["b2.weight"], "b2.weight": new["b1.weight"]}
    base = noise(8, 8, seed=3)
    want = new["b1.weight"] @ new["b2.weight"] + base @ new["a1.weight"] @ new["a2.weight"]
    for tensors in (new, old):
        adapter = GLoRA.from_tensors(tensors)
        assert adapter.rank == 2
        assert torch.allclose(adapter.delta(base).dense(), want, atol=1e-5)


def test_factors_of_several_types():
    mixed = {"lokr_w1": noise(2, 3).half(), "lokr_w2": noise(4, 2).bfloat16()}
    adapter = adapter_from(mixed)
    assert torch.equal(adapter.delta().dense(), torch.kron(mixed["lokr_w1"].float(), mixed["lokr_w2"].float()))
    assert adapter.forward_delta(noise(5, 6), torch.nn.Linear(6, 8)).shape == (5, 8)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.algorithm}{' dora' * s.dora}{' both' * s.decompose_both}")
def test_mutated_tensors_are_read_or_refused_by_name(tmp_path, spec):
    rng, layer = random.Random(1), torch.nn.Linear(6, 8)
    good = join_keys(Network.create({KEY: layer}, spec, 0).modules())
    path, used = tmp_path / "bad.safetensors", 0
    for _ in range(130):
        safetensors.torch.save_file(mutated(good, rng), path)
        try:
            file = read_lora(path)
            network = Network.from_file(file)
            network.adapters[KEY].float()
            with network.attached_to({KEY: layer}):
                layer(torch.ones(2, 6))
            write_lora(tmp_path / "again.safetensors", file.modules, {}, None, overwrite=True)
            used += 1
        except UserError as error:
            assert error.what
    assert used


def mutated(tensors: dict[str, torch.Tensor], rng: random.Random) -> dict[str, torch.Tensor]:
    """The tensors with one or two of another type or shape, gone, or under another's name."""
    changed = dict(tensors)
    for _ in range(rng.randrange(1, 3)):
        name = rng.choice(sorted(changed))
        tensor = changed[name]
        kind = rng.randrange(6)
        if kind == 0:
            changed[name] = tensor.to(rng.choice(TYPES))
        elif kind == 1:
            del changed[name]
        elif kind == 2:
            shape = list(tensor.shape)
            shape[rng.randrange(len(shape)) if shape else 0 :] = [rng.randrange(4) for _ in range(rng.randrange(3))]
            changed[name] = torch.ones(shape)
        elif kind == 3:
            changed[name] = tensor.reshape(-1)[: rng.randrange(3)].clone()
        elif kind == 4:
            changed[name] = tensor.reshape(*tensor.shape, *[1] * rng.randrange(1, 3)).clone()
        else:
            changed[
                f"{KEY}.{rng.choice(['diff_b', 'lora_mid.weight', 'lokr_t2', 'hada_t1', 'scalar', 'dora_scale'])}"
            ] = tensor.clone()
        if not changed:
            return dict(tensors)
    return changed


GOOD = {f"{KEY}.lora_down.weight": noise(2, 6), f"{KEY}.lora_up.weight": noise(8, 2), f"{KEY}.alpha": torch.tensor(1.0)}
OTHER = "lora_unet_mid_block_attentions_0_proj_out"
DOES_NOTHING = {
    "rank 0": {f"{OTHER}.lora_down.weight": torch.zeros(0, 6), f"{OTHER}.lora_up.weight": torch.zeros(8, 0)},
    "half of it": {f"{OTHER}.lora_down.weight": noise(2, 6)},
    "ranks that differ": {f"{OTHER}.lora_down.weight": noise(3, 6), f"{OTHER}.lora_up.weight": noise(8, 2)},
    "half of a factor": {f"{OTHER}.lokr_w1": noise(2, 2), f"{OTHER}.lokr_w2_a": noise(4, 2)},
    "a scale of another layer": {
        f"{OTHER}.lora_down.weight": noise(2, 6),
        f"{OTHER}.lora_up.weight": noise(8, 2),
        f"{OTHER}.dora_scale": torch.ones(7),
    },
    "alpha alone": {f"{OTHER}.alpha": torch.tensor(4.0)},
    "no layer": {"__dummy__": torch.zeros(1)},
    "positions": {"lora_te_text_model_embeddings.position_ids": torch.arange(77)[None]},
}
CHANGES_THE_RESULT = {
    "NaN": ({f"{OTHER}.diff": torch.full((2, 2), float("nan"))}, "NaN"),
    "whole numbers": ({f"{OTHER}.diff": torch.ones(2, 2, dtype=torch.int8)}, "int8"),
    "an unknown algorithm": ({f"{OTHER}.quux": torch.ones(2)}, "quux"),
    "a vector as alpha": ({f"{OTHER}.diff": torch.ones(2, 2), f"{KEY}.alpha": torch.ones(2)}, "one number"),
}


@pytest.mark.parametrize("odd", DOES_NOTHING.values(), ids=DOES_NOTHING.keys())
def test_a_layer_that_does_nothing_does_not_cost_the_file(tmp_path, odd):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({**GOOD, **odd}, path)
    file = read_lora(path)
    assert list(file.modules) == [KEY]
    (remark,) = file.remarks
    assert remark.startswith("a: 1 layer has ")
    assert combine([(file, 1.0, None)]).report.warnings == [remark]


@pytest.mark.parametrize(("odd", "complaint"), CHANGES_THE_RESULT.values(), ids=CHANGES_THE_RESULT.keys())
def test_a_layer_that_would_change_the_result_is_not_passed_over(tmp_path, odd, complaint):
    safetensors.torch.save_file({**GOOD, **odd}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=complaint) as error:
        read_lora(tmp_path / "a.safetensors")
    assert error.value.where == str(tmp_path / "a.safetensors")


def test_the_change_of_a_norm_by_another_name(tmp_path):
    """ComfyUI extracts it as that of a matrix; it counted as a layer that no program applies."""
    norm = "lora_unet_mid_block_attentions_0_norm"
    odd = {f"{norm}.diff": noise(8), f"{norm}.diff_b": noise(8), f"{norm}.alpha": torch.tensor(1.0)}
    safetensors.torch.save_file({**GOOD, **odd}, tmp_path / "a.safetensors")
    file = read_lora(tmp_path / "a.safetensors")
    assert not file.remarks and set(file.modules[norm]) == {"w_norm", "b_norm"}
    assert torch.equal(to_delta(file.modules[norm]).dense(), odd[f"{norm}.diff"])


def test_forms_that_mean_the_same(tmp_path):
    want = to_delta({name.removeprefix(f"{KEY}."): t for name, t in GOOD.items()}).dense()
    up, down = GOOD[f"{KEY}.lora_up.weight"], GOOD[f"{KEY}.lora_down.weight"]
    forms = {
        "a matrix beside a convolution": {f"{KEY}.lora_down.weight": down[:, :, None, None]},
        "and the other way": {f"{KEY}.lora_up.weight": up[:, :, None, None]},
        "a scalar of LyCORIS": {f"{KEY}.scalar": torch.tensor(0.5), f"{KEY}.alpha": torch.tensor(2.0)},
        "alpha in brackets": {f"{KEY}.alpha": torch.tensor([[1]])},
    }
    for name, form in forms.items():
        safetensors.torch.save_file({**GOOD, **form}, tmp_path / "a.safetensors")
        file = read_lora(tmp_path / "a.safetensors")
        assert torch.allclose(to_delta(file.modules[KEY]).matrix(), want), name
    safetensors.torch.save_file({**GOOD, f"{KEY}.alpha": torch.tensor(0.0)}, tmp_path / "a.safetensors")
    assert "alpha 0" in read_lora(tmp_path / "a.safetensors").remarks[0]
