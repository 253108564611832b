"""``<lora:…>`` in prompts without a web UI: they act as they do there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lib_lora.adapters.file import read_lora
from lib_lora.adapters.network import Network
from lib_lora.hosts.standalone.sampling import Standalone
from lib_lora.lora_files import Folders, find_lora
from lib_lora.places import Places
from lib_lora.tools.prompt_loras import PromptLora
from lib_lora.tools.prompt_networks import networks_of


@contextmanager
def tags_applied(
    model: Standalone, tags: Sequence[PromptLora], loras: Folders, data: Path, steps: int, seed: int
) -> Iterator[None]:
    """The LoRAs of ``tags`` on the model for one batch of images of ``steps`` steps; ``seed`` is the first one's.

    Raises:
        UserError: no such file, or block weights that do not fit it.
    """
    layers = model.layers() if tags else {}
    scheduled: list[tuple[PromptLora, Network]] = []
    with ExitStack() as attached:
        for tag in tags:
            file = read_lora(find_lora(tag.name, loras))
            for part, network in networks_of(tag, file, Places(data).block_presets, seed):
                attached.enter_context(network.attached_to(layers))
                if part == "unet":
                    scheduled.append((tag, network))
        step = 0

        def before_step(*_: Any) -> None:
            nonlocal step
            for tag, network in scheduled:
                network.multiplier = tag.unet_weight(step, steps)
            step += 1

        if scheduled:
            unet = model.modules["unet"]
            attached.callback(unet.register_forward_pre_hook(before_step).remove)
        yield
