"""A web UI of A1111's kind, fresh for each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from lib_lora.adapters.file import write_lora
from lib_lora.adapters.network import Network
from tests.hosts.common import forget, visible_network

DOUBLE = Path(__file__).parents[1] / "doubles" / "a1111"
OWN = {"modules", "networks", "ldm_double", "sgm_double", "starting", "txt2img_double"}
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
    forget(OWN, OUR_HOSTS)
    try:
        import starting
        from ldm.modules.diffusionmodules import openaimodel

        for name, module in starting.needed_by_ldm().items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(openaimodel, "th", openaimodel.th)  # put back afterwards
        host = starting.start(tiny_checkpoint, tmp_path / "webui")
        import modules.call_queue
        import modules.processing

        yield WebUI(host, modules, tmp_path / "webui")
    finally:
        forget(OWN, OUR_HOSTS)


@pytest.fixture
def network(webui: WebUI) -> Network:
    """A LoRA that visibly changes both the U-Net and the text encoder."""
    return visible_network(webui.host)


@pytest.fixture
def lora(webui: WebUI, network: Network) -> str:
    """The same as a file in the web UI's folder; its tag for the prompt."""
    write_lora(webui.host.paths.loras / "hat.safetensors", network.modules(), {}, dtype=torch.float32)
    return "<lora:hat:1>"
