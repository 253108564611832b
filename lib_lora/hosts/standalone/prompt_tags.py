"""``<lora:…>`` in prompts without a web UI: they act as they do there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lib_lora.adapters.blocks import BlockWeights, load_presets
from lib_lora.adapters.file import read_lora
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import part_of
from lib_lora.hosts.standalone.sampling import Standalone
from lib_lora.tools.lora_files import Folders, find_lora
from lib_lora.tools.prompt_loras import PromptLora

PRESETS_FILE = "block_presets.txt"


@contextmanager
def tags_applied(
    model: Standalone, tags: Sequence[PromptLora], loras: Folders, data: Path, steps: int
) -> Iterator[None]:
    """The LoRAs of ``tags`` on the model for one batch of images of ``steps`` steps.

    Raises:
        UserError: no such file, or block weights that do not fit it.
    """
    layers = model.layers() if tags else {}
    scheduled: list[tuple[PromptLora, Network]] = []
    with ExitStack() as attached:
        for tag in tags:
            for part, network in _networks(tag, loras, data / PRESETS_FILE):
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


def _networks(tag: PromptLora, loras: Folders, presets: Path) -> Iterator[tuple[str, Network]]:
    """The file's text encoder part and U-Net part, each with its weight."""
    file = read_lora(find_lora(tag.name, loras))
    weights = None if tag.blocks is None else BlockWeights.parse(tag.blocks, load_presets(presets), file.family)
    for part in ("te", "unet"):
        modules = {key: tensors for key, tensors in file.modules.items() if part_of(key) == part}
        if not modules:
            continue
        network = Network.from_modules(modules, file.name, file.families)
        for adapter in network.adapters.values():
            adapter.float()
        network.set_block_weights(weights)
        network.multiplier = tag.te_weight() if part == "te" else tag.unet_weight(0, 1)
        yield part, network
