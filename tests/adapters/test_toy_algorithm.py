"""CONTRIBUTING.md's recipe "Add an algorithm", followed: one file, and nothing else names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from lib_lora.adapters import Network, NetworkSpec, algorithms, metadata, read_lora, write_lora
from lib_lora.adapters.file import to_delta
from lib_lora.adapters.loaders import kinds_of, limits
from lib_lora.adapters.merge import combine

TOY = '''
import torch
from torch import nn

from lib_lora.adapters.base import Adapter
from lib_lora.adapters.delta import Delta

class Row(Adapter):
    """The same change in every column: ΔW = row · 1ᵀ."""

    algorithm = "row"
    label, place = "Row", 99
    lycoris = "rows"
    param_names = ("row_v",)
    elsewhere = {"Forge": ""}

    def __init__(self, row, shape):
        super().__init__()
        self.row, self.weight_shape = nn.Parameter(row), shape

    @classmethod
    def create(cls, layer_shape, spec, *, generator=None, dtype=torch.float32, device="cpu"):
        return cls(torch.zeros(layer_shape, dtype=dtype, device=device), layer_shape)

    @classmethod
    def from_tensors(cls, tensors):
        row = tensors["row_v"]
        return cls(row, row.shape)

    def tensors(self, dtype=None):
        return {"row_v": self.row.detach().to(dtype or self.row.dtype)}

    def forward_delta(self, x, layer):
        return nn.functional.linear(x, self.row.to(x.dtype))

    def delta(self, base=None):
        return Delta(self.weight_shape, dense_part=self.row.detach().float())
'''
KEY = "lora_unet_mid_block_attentions_0_proj_in"


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "toy_row.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(algorithms, "__path__", [*algorithms.__path__, str(tmp_path)])
    algorithms.algorithms.cache_clear()
    yield "row"
    algorithms.algorithms.cache_clear()


def test_it_trains_is_written_read_and_merged(row: str, tmp_path: Path) -> None:
    assert algorithms.choices()[-1] == row and row not in algorithms.wrappable()
    layers: dict[str, nn.Module] = {KEY: nn.Linear(6, 4)}
    network = Network.create(layers, NetworkSpec(algorithm=row), seed=1)
    with network.attached_to(layers):
        (layers[KEY](torch.ones(1, 6)) - 1).square().mean().backward()
    torch.optim.SGD(network.parameters(), lr=0.5).step()
    file = read_lora(write_lora(tmp_path / "a.safetensors", network.modules(), {}, None))
    assert kinds_of(file.modules) == {row} and limits({row}) == ["Forge does not apply Row"]
    assert '"algo": "rows"' in metadata.network(NetworkSpec(algorithm=row))["ss_network_args"]
    merged = combine([(file, 2.0, None)])
    one, two = (to_delta(f.modules[KEY]).dense() for f in (file, merged.file()))
    assert one.norm() > 0 and torch.allclose(two, 2 * one)
