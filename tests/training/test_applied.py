"""Training with a LoRA applied that is not saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lib_lora.adapters import Network, NetworkSpec, read_lora, write_lora
from lib_lora.adapters.file import to_delta
from lib_lora.errors import UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.training.applied import applied_networks
from lib_lora.training.config import TrainConfig
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder, small_config


def style(host: StandaloneHost, name: str = "style") -> Path:
    """A LoRA that changes what the model says."""
    with host.training_session() as model:
        network = Network.create(model.layers(), NetworkSpec(rank=2, alpha=2.0), seed=5)
    with torch.no_grad():
        for adapter in network.adapters.values():
            for parameter in adapter.parameters():
                parameter.normal_(std=0.2)
    host.paths.loras.mkdir(parents=True, exist_ok=True)
    return write_lora(host.paths.loras / f"{name}.safetensors", network.modules(), {})


def first_step(host: StandaloneHost, folder: Path, name: str, **changes: object) -> dict[str, torch.Tensor]:
    run = RunStore(host.paths.runs).create(small_config(folder, name=name, epochs=1, te_lr=0.0, **changes))
    with host.training_session() as model:
        hooks = [len(layer._forward_hooks) for layer in model.layers().values()]
        list(Trainer(run, model, host.paths).run())
        assert [len(layer._forward_hooks) for layer in model.layers().values()] == hooks
    modules = read_lora(host.paths.loras / f"{name}.safetensors").modules
    return {key: to_delta(params).dense() for key, params in modules.items()}


def test_it_acts_while_training_and_is_not_saved(tiny_host: StandaloneHost, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    folder, file = image_folder(tmp_path / "set"), style(tiny_host)
    before = file.read_bytes()
    plain = first_step(tiny_host, folder, "plain")
    beside = first_step(tiny_host, folder, "beside", apply_loras="style:0.8")
    nothing = first_step(tiny_host, folder, "nothing", apply_loras="style:0")
    assert file.read_bytes() == before
    assert plain.keys() == beside.keys() == nothing.keys()
    assert all(torch.equal(plain[key], nothing[key]) for key in plain)
    assert any(not torch.allclose(plain[key], beside[key], rtol=0.05) for key in plain)
    own = {key: to_delta(params).dense() for key, params in read_lora(file).modules.items()}
    for key, delta in beside.items():  # what is saved has nothing of the style in it
        cosine = torch.nn.functional.cosine_similarity(delta.flatten(), own[key].flatten(), dim=0)
        assert delta.norm() < 0.1 * own[key].norm() and abs(cosine) < 0.9


def test_it_is_frozen_and_weighed(tiny_host: StandaloneHost) -> None:
    style(tiny_host)
    (network,) = applied_networks("style:0.5:OUTALL", (tiny_host.paths.loras,))
    assert network.multiplier == 0.5 and not any(p.requires_grad for p in network.parameters())
    assert network.layer_scale("lora_unet_down_blocks_0_attentions_0_proj_in") == 0
    assert applied_networks(" ", (tiny_host.paths.loras,)) == []


@pytest.mark.parametrize("text", ["a:b:c:d:e", "style:x", ":"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UserError) as error:
        TrainConfig(name="a", data_dir="x", apply_loras=text).check()
    assert error.value.where == "apply_loras"
