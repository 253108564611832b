"""A web UI of A1111's kind, fresh for each test."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lib_lora.adapters.file import write_lora
from lib_lora.adapters.network import Network, NetworkSpec

DOUBLE = Path(__file__).parents[1] / "doubles" / "a1111"
OWN = {"modules", "networks", "ldm_double"}
OUR_HOSTS = ("lib_lora.hosts.a1111", "lib_lora.hosts.webui")
PICTURE = {"prompt": "1girl, (red hat)", "negative_prompt": "blurry", "width": 64, "height": 64, "steps": 2, "seed": 5}


@dataclass
class WebUI:
    """The double, from the user's side, and the host that is to be tested."""

    host: Any
    modules: Any
    data: Path

    @property
    def sd_model(self) -> Any:
        return self.modules.shared.sd_model

    def txt2img(self, **changes: Any) -> bytes:
        """What the user gets: the pixels of an image that waits its turn in the queue."""
        processing = self.modules.processing
        with self.modules.call_queue.queue_lock:
            self.modules.shared.state.begin("task(1)")
            p = processing.StableDiffusionProcessingTxt2Img(sd_model=self.sd_model, **{**PICTURE, **changes})
            image = processing.process_images(p).images[0]
            self.modules.shared.state.end()
        return image.tobytes()

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of all weights, by their present names."""
        return {key: t.clone() for key, t in self.sd_model.model.state_dict().items()}

    def flags(self) -> list[Any]:
        """Everything about the modules that a training may change and must put back."""
        modules = list(self.sd_model.modules())
        return [
            *((p.requires_grad, p.grad is None) for p in self.sd_model.parameters()),
            *((m.training, vars(m).get("use_checkpoint"), vars(m).get("checkpoint")) for m in modules),
            *("forward" in vars(m) or len(m._forward_hooks) for m in modules),
        ]


@pytest.fixture
def webui(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebUI]:
    monkeypatch.syspath_prepend(str(DOUBLE))
    # ldm's U-Net only asks whether context_dim is one of omegaconf's lists
    monkeypatch.setitem(sys.modules, "omegaconf", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "omegaconf.listconfig", SimpleNamespace(ListConfig=()))
    _forget()
    try:
        web_ui = _started(tiny_checkpoint, tmp_path)
        unet_torch = web_ui.modules.sd_hijack.TorchForUNet()
        monkeypatch.setattr("ldm.modules.diffusionmodules.openaimodel.th", unet_torch)
        yield web_ui
    finally:
        _forget()


def _started(checkpoint: Path, folder: Path) -> WebUI:
    import modules
    import modules.call_queue
    import modules.paths
    import modules.processing
    import modules.sd_models
    import modules.shared

    data = folder / "webui"
    (data / "models" / "Lora").mkdir(parents=True)
    modules.paths.data_path, modules.paths.models_path = str(data), str(data / "models")
    modules.shared.cmd_opts.lora_dir = str(data / "models" / "Lora")
    modules.shared.cmd_opts.ckpt_dir = str(checkpoint.parent)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    modules.sd_models.CheckpointInfo(checkpoint, digest).register()

    from lib_lora.hosts.detect import web_ui_host

    return WebUI(web_ui_host(), modules, data)


def _forget() -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in OWN or name.startswith(OUR_HOSTS):
            del sys.modules[name]


@pytest.fixture
def network(webui: WebUI) -> Network:
    """A LoRA that visibly changes both the U-Net and the text encoder."""
    with webui.host.training_session() as model:
        network = Network.create(model.layers(), NetworkSpec(rank=2, alpha=2, conv_rank=2), seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2, generator=generator)
    network.name = "hat"
    return network


@pytest.fixture
def lora(webui: WebUI, network: Network) -> str:
    """The same as a file in the web UI's folder; its tag for the prompt."""
    write_lora(webui.host.paths.loras / "hat.safetensors", network.modules(), {}, dtype=torch.float32)
    return "<lora:hat:1>"
