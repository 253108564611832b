"""Cells of a grid in one batch of A1111's own: each is what the user gets with the tag."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib_lora.errors import Cancelled
from lib_lora.models.memory import OUT_OF_MEMORY
from tests.hosts.cells import CELLS, HAT, are_one_by_one, batches_of

LONG = ", ".join(["red hat"] * 40)  # two chunks of 75 tokens


def test_each_cell_is_the_prompt_with_the_tag(webui, network, lora):
    from modules import processing, shared

    before = webui.flags()
    with batches_of(processing) as sizes:
        together = webui.host.generate(CELLS, [network])
    assert sizes == [3] and webui.flags() == before and network.multiplier == 1.0 and shared.state.job == ""
    for cell, image in zip(CELLS, together, strict=True):
        tag = lora.replace(":1>", f":{cell.weights[0]}>")
        saved = np.frombuffer(webui.txt2img(prompt=f"{HAT.prompt} {tag}", seed=cell.seed, steps=HAT.steps), np.uint8)
        assert np.abs(np.asarray(image).astype(int).ravel() - saved).max() <= 1
        assert image.info["parameters"].startswith(f"{HAT.prompt} <lora:hat:{cell.weights[0]:g}>\n")
        assert f"Seed: {cell.seed}," in image.info["parameters"]


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"skip_early_cond": 0.4}, {}),
        ({}, {"negative": LONG}),
        ({"batch_cond_uncond": False}, {"negative": LONG}),
        ({}, {"prompt": "1girl, [red:blue:0.5] hat"}),
    ],
)
def test_however_the_denoiser_calls_the_unet(webui, network, options, change):
    from modules import shared

    shared.opts.data.update(options)
    assert are_one_by_one(webui.host, [replace(cell, **change) for cell in CELLS], [network])[0] == 3


def test_what_cannot_share_a_batch_is_made_apart(webui, network):
    from lib_lora.hosts.webui.generation import kind

    texts = [replace(CELLS[1], prompt=LONG), *CELLS[1:]]
    assert are_one_by_one(webui.host, texts, [network]) == [3, 1, 2]  # seen when they are encoded
    assert kind(HAT) == kind(replace(HAT, prompt="1boy", negative="", seed=9, weights=(0.5,)))
    for change in ({"width": 72}, {"steps": 9}, {"cfg": 1.0}, {"prompt": "<hypernet:a:1>"}, {"clip_skip": 2}):
        assert kind(replace(HAT, **change)) not in (kind(HAT), None)
    assert kind(replace(HAT, prompt="1girl AND hat")) is kind(replace(HAT, sampler="DPM adaptive")) is None


def test_another_order_of_the_rows_is_noticed(webui, network, monkeypatch):
    def image_by_image(p, predict, opts):
        def denoise(x, t, composed, uncond):
            conds = torch.stack([c for parts, none in zip(composed, uncond, strict=True) for c in (parts[0], none)])
            out = predict(x.repeat_interleave(2, 0), t.expand(2 * len(x)), conds)
            return out[::2], out[1::2]

        return denoise

    monkeypatch.setattr(webui.modules.processing, "denoiser_of_a1111", image_by_image)
    assert are_one_by_one(webui.host, CELLS, [network]) == [3, 1, 1, 1]


def refusing(monkeypatch, webui, most, error):
    """A web UI that cannot make more than ``most`` images at once."""
    processing = webui.modules.processing
    make = processing.sample

    def sample(p):
        if p.batch_size > most:
            raise error
        return make(p)

    monkeypatch.setattr(processing, "sample", sample)


def test_a_web_ui_that_cannot_do_it_makes_them_one_by_one(webui, network, monkeypatch):
    refusing(monkeypatch, webui, 1, TypeError("a list"))
    assert are_one_by_one(webui.host, CELLS[1:], [network]) == [2, 1, 1]


def test_out_of_memory_loses_no_cell(webui, network, monkeypatch):
    refusing(monkeypatch, webui, 2, OUT_OF_MEMORY("full"))
    assert are_one_by_one(webui.host, CELLS, [network]) == [3, 1, 1, 1]


def test_interrupt_and_cancel_end_a_batch(webui, network):
    from modules import shared

    base = webui.txt2img()
    with pytest.raises(Cancelled):
        webui.host.generate(CELLS, [network], cancelled=lambda: bool(shared.state.interrupt()))
    with pytest.raises(Cancelled):
        webui.host.generate(CELLS, [network], cancelled=lambda: True)
    assert webui.txt2img() == base and network.multiplier == 1.0
