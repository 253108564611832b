"""A web UI of Forge's kind, fresh for each test."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lib_lora.adapters.file import write_lora
from lib_lora.adapters.network import Network
from tests.hosts.common import forget, visible_network

DOUBLES = Path(__file__).parents[1] / "doubles"
OWN = {
    "modules",
    "modules_forge",
    "backend",
    "networks",
    "lora_double",
    "ldm_double",
    "forge_double",
    "forge_xl_double",
    "sgm_double",
    "txt2img_double",
}
OUR_HOSTS = tuple(f"lib_lora.hosts.{name}" for name in ("forge", "forge_objects", "webui"))
PICTURE = {"prompt": "1girl, red hat", "negative_prompt": "blurry", "width": 64, "height": 64, "steps": 2, "seed": 5}


@dataclass
class WebUI:
    """The double, from the user's side, and the host that is to be tested."""

    host: Any
    modules: Any
    data: Path

    @property
    def sd_model(self) -> Any:
        return self.modules.sd_models.model_data.sd_model

    @property
    def unet(self) -> torch.nn.Module:
        return self.sd_model.forge_objects_original.unet.model.diffusion_model

    @property
    def text_encoder(self) -> torch.nn.Module:
        return self.sd_model.forge_objects_original.clip.cond_stage_model.clip_l.transformer

    def txt2img(self, **changes: Any) -> bytes:
        """What the user gets: the pixels of an image that waits its turn and is made on the main thread."""
        from modules_forge import main_thread

        def make() -> Any:
            processing = self.modules.processing
            p = processing.StableDiffusionProcessingTxt2Img(**{**PICTURE, **changes})
            return processing.process_images(p).images[0]

        with self.modules.call_queue.queue_lock:
            self.modules.shared.state.begin("task(1)")
            image = main_thread.run_and_wait_result(make)
            self.modules.shared.state.end()
        assert image is not None, main_thread.last_exception
        return image.tobytes()

    def weights(self) -> list[torch.Tensor]:
        """Copies of all weights that training may touch."""
        return [p.detach().clone() for m in (self.unet, self.text_encoder) for p in m.parameters()]

    def state(self) -> list[Any]:
        """Everything about the modules that a training may change and must put back."""
        modules = [*self.unet.modules(), *self.text_encoder.modules()]
        return [
            *((p.requires_grad, p.grad is None) for m in (self.unet, self.text_encoder) for p in m.parameters()),
            *((m.training, "forward" in vars(m), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules),
        ]


@pytest.fixture
def webui(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebUI]:
    with running(("a1111", "forge"), tiny_checkpoint, tmp_path, monkeypatch) as web_ui:
        yield web_ui


@contextmanager
def running(
    doubles: Sequence[str],
    checkpoint: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: Mapping[str, Any] | None = None,
) -> Iterator[WebUI]:
    """The web UI of ``doubles``, of which later ones come first, started with further command line ``options``."""
    for name in doubles:
        monkeypatch.syspath_prepend(str(DOUBLES / name))
    # ldm's U-Net only asks whether context_dim is one of omegaconf's lists
    monkeypatch.setitem(sys.modules, "omegaconf", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "omegaconf.listconfig", SimpleNamespace(ListConfig=()))
    forget(OWN, OUR_HOSTS)
    try:
        web_ui = _started(checkpoint, folder, options or {"ckpt_dir": str(checkpoint.parent)})
        import modules.sd_hijack

        # as Forge's U-Net, ldm's then takes sizes that are no multiples of 64 pixels
        monkeypatch.setattr("ldm.modules.diffusionmodules.openaimodel.th", modules.sd_hijack.TorchForUNet())
        yield web_ui
    finally:
        forget(OWN, OUR_HOSTS)


def _started(checkpoint: Path, folder: Path, options: Mapping[str, Any]) -> WebUI:
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
    del modules.shared.cmd_opts.ckpt_dir
    vars(modules.shared.cmd_opts).update(options)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    modules.sd_models.CheckpointInfo(checkpoint, digest).register()
    modules.sd_models.choose(checkpoint.name)

    from lib_lora.hosts.detect import web_ui_host

    return WebUI(web_ui_host(), modules, data)


@pytest.fixture
def network(webui: WebUI) -> Network:
    """A LoRA that visibly changes both the U-Net and the text encoder."""
    return visible_network(webui.host)


@pytest.fixture
def lora(webui: WebUI, network: Network) -> str:
    """The same as a file in the web UI's folder; its tag for the prompt."""
    write_lora(webui.host.paths.loras / "hat.safetensors", network.modules(), {}, dtype=torch.float32)
    return "<lora:hat:1>"
