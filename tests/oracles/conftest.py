"""A narrow model with a LoRA file of ours, and what the model gives with and without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from lib_lora.adapters import Network, NetworkSpec, write_lora
from lib_lora.tools.convert import merge_for
from lib_lora.tools.merge import merge

if TYPE_CHECKING:
    from lib_lora.hosts.standalone.model import StandaloneModel

SPECS = {
    "lora": NetworkSpec(rank=4, alpha=2.0),
    "locon": NetworkSpec(rank=4, alpha=2.0, conv_rank=3, conv_alpha=1.0),
}


@dataclass
class Case:
    """A LoRA file and the model's outputs: U-Net [2, 4, 8, 8] and text encoder [2, 77, D]."""

    path: Path
    model: StandaloneModel
    plain: dict[str, Tensor]
    ours: dict[str, Tensor]

    @torch.no_grad()
    def outputs(self) -> dict[str, Tensor]:
        """What the model gives now. The U-Net gets the same conditioning whatever the text encoder does."""
        g = torch.Generator().manual_seed(1)
        x, t = torch.randn(2, 4, 8, 8, generator=g), torch.tensor([20, 700])
        cond = torch.randn(2, 77, self.model.unet.config.cross_attention_dim, generator=g)
        return {"unet": self.model.predict(x, t, cond), "te": self.model.encode_text(["1girl, red hat", ""])}

    def errors(self) -> dict[str, float]:
        """Relative differences of what the model gives now from what it gave with our network."""
        return {part: relative(output, self.ours[part]) for part, output in self.outputs().items()}


@pytest.fixture(params=["lora", "locon", "merged", "for diffusers"])
def case(request: pytest.FixtureRequest, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[Case]:
    from lib_lora.hosts.standalone.checkpoint import load_checkpoint

    model = load_checkpoint(tiny_checkpoint, "tiny", torch.device("cpu"), torch.float32)
    for name, spec in SPECS.items():
        network = random_network(model, spec)
        write_lora(tmp_path / f"{name}.safetensors", network.modules(), {}, torch.float32)
    formula = "locon:0.7:GP1,lora:-1:GP2"
    merge(formula, tmp_path).save(tmp_path / "merged.safetensors", torch.float32)
    merge_for("diffusers", formula, tmp_path).save(tmp_path / "for diffusers.safetensors", torch.float32)
    result = Case(tmp_path / f"{request.param}.safetensors", model, {}, {})
    result.plain = result.outputs()
    with Network.from_file(result.path).attached_to(model.layers()) as report:
        assert not report.missing
        result.ours = result.outputs()
    for part, output in result.ours.items():
        assert relative(output, result.plain[part]) > 0.1, "the file must matter"
    yield result


def random_network(model: StandaloneModel, spec: NetworkSpec) -> Network:
    network = Network.create(model.layers(), spec, seed=0)
    g = torch.Generator().manual_seed(2)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=g) * 0.2
    return network


def relative(a: Tensor, b: Tensor) -> float:
    """‖a − b‖ ÷ ‖b‖."""
    return ((a - b).norm() / b.norm()).item()
