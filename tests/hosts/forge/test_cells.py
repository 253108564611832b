"""Cells of a grid in one batch of Forge's own, whose chunks come last one first, as many as there is memory for."""

from __future__ import annotations

import numpy as np
import pytest

from lib_lora.adapters.file import write_lora
from tests.hosts.cells import CELLS, HAT, are_one_by_one


@pytest.mark.parametrize("chunks", [1, 2])
def test_however_many_chunks_go_through_the_unet_at_once(webui, network, chunks, monkeypatch):
    from backend import memory_management

    monkeypatch.setattr(memory_management, "chunks_at_once", chunks)
    assert are_one_by_one(webui.host, CELLS, [network]) == [3]


def test_each_cell_is_the_prompt_with_the_tag_while_a_training_waits(webui, network):
    unet_only = {key: t for key, t in network.modules().items() if "_unet_" in key}  # the text encoder is fp16 here
    write_lora(webui.host.paths.loras / "hat.safetensors", unet_only, {})
    for key in set(network.adapters) - set(unet_only):
        del network.adapters[key]
    with webui.host.training_session():
        images = webui.host.generate(CELLS, [network])
    for cell, image in zip(CELLS, images, strict=True):
        tag = f"<lora:hat:{cell.weights[0]}>"
        saved = np.frombuffer(webui.txt2img(prompt=f"{HAT.prompt} {tag}", seed=cell.seed, steps=HAT.steps), np.uint8)
        assert np.abs(np.asarray(image).astype(int).ravel() - saved).max() <= 1
