"""CONTRIBUTING.md's recipe "Add a family of models", followed: one file, and nothing else knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from lib_lora.adapters import LoraFile, Network, NetworkSpec, metadata, read_lora, write_lora
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.adapters.file import to_delta
from lib_lora.adapters.merge import combine
from lib_lora.models import families as folder
from lib_lora.models.family import Family

TOY = """
from lib_lora.models.dit import DiTNames, Stack, dit_blocks, dit_kinds, dit_trained
from lib_lora.models.family import Family, Latents, Marking

STACKS = (Stack("petals", 3, {"mix.qkv": ("mix.q mix.k mix.v",), "grow": ("ff.net",), "gate_mod": ()}, "P{n:02}"),)

TOY = Family(
    name="toy",
    label="Toy flower",
    short="Toy",
    order=99,
    names=DiTNames(STACKS, {"root": (), "last": ()}),
    text_encoders={"lora_te_": ("words_", "lora_te_")},
    blocks=dit_blocks(STACKS, {"TE": "lora_te"}, last="last"),
    kinds=dit_kinds("_mix_qkv$", "_grow$"),
    trained=dit_trained(("petals",), "_mod$", "_mix_qkv$"),
    latents=Latents(channels=16),
    marking=Marking("toy", "toy-flower", "https://example.org/toy"),
)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    (tmp_path / "toy_flower.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    folder.families.cache_clear()
    yield folder.family("toy")
    folder.families.cache_clear()


@pytest.fixture
def layers() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    found: dict[str, nn.Module] = {"lora_unet_root": nn.Linear(4, 8), "lora_te_words_0": nn.Linear(4, 4)}
    for n in range(3):
        found[f"lora_unet_petals_{n}_mix_qkv"] = nn.Linear(8, 24)
        found[f"lora_unet_petals_{n}_grow"] = nn.Linear(8, 8)
        found[f"lora_unet_petals_{n}_gate_mod"] = nn.Linear(8, 8)
    return found


def trained(layers: dict[str, nn.Module], seed: int) -> Network:
    """A network that has learned something on the layers that the family's usual choice takes."""
    network = Network.create(layers, NetworkSpec(rank=2, alpha=2.0), seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with network.attached_to(layers):
        for _ in range(3):
            loss = sum((layers[key](torch.ones(1, 8)) - 1).square().mean() for key in network.adapters)
            assert isinstance(loss, torch.Tensor)
            loss.backward()
            optimizer.step()
    return network


def test_it_trains_merges_and_weighs_its_blocks(toy: Family, layers: dict[str, nn.Module], tmp_path: Path) -> None:
    networks = [trained(layers, seed) for seed in (1, 2)]
    for network in networks:
        assert network.families == (toy,)
        assert sorted(network.adapters) == sorted(
            f"lora_unet_petals_{n}_{x}" for n in range(3) for x in ("mix_qkv", "grow")
        )
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    about = metadata.base_model(toy, "flow")
    assert about["modelspec.architecture"] == "toy-flower/lora"
    files: list[LoraFile] = []
    for i, network in enumerate(networks):
        files.append(read_lora(write_lora(tmp_path / f"{i}.safetensors", network.modules(), about, None)))
        assert files[i].families == (toy,) and files[i].lost == 0
    weights = BlockWeights.parse("P01=0,P02.attn=0.5", {}, toy)
    merged = combine([(files[0], 1.0, weights), (files[1], -1.0, None)])
    for n, x, weight in ((0, "grow", 1.0), (1, "grow", 0.0), (2, "mix_qkv", 0.5)):
        key = f"lora_unet_petals_{n}_{x}"
        one, two, both = (to_delta(f.modules[key]).dense().double() for f in (*files, merged.file()))
        assert torch.allclose(both, weight * one - two, atol=1e-7)
    assert BlockWeights.parse(weights.format(), {}, toy) == weights


def test_its_other_spelling_is_read(toy: Family, tmp_path: Path) -> None:
    parts = {x: (torch.randn(8, 2), torch.randn(2, 8)) for x in "qkv"}
    tensors = {
        f"diffusion_model.petals.1.mix.{x}.lora_{n}.weight": t
        for x, (b, a) in parts.items()
        for n, t in (("A", a), ("B", b))
    }
    file = read_lora(write_lora(tmp_path / "split.safetensors", tensors, {}, None))
    assert file.families == (toy,)
    found = to_delta(file.modules["lora_unet_petals_1_mix_qkv"]).dense()
    assert torch.allclose(found, torch.cat([b @ a for b, a in parts.values()]), atol=1e-5)
