"""LoRA tags with a schedule in the user's prompt: what is drawn, that nothing stays, and who else may do it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from lib_lora.errors import UserError
from lib_lora.ui.prompt_weights import tag


@pytest.fixture
def draw(webui, lora):
    """Draws as the web UI does: scripts before the batch, ``p`` closed afterwards; returns the pixels."""
    weights = webui.host.prompt_weights()

    def run(prompt: str, extra: str = "", fail: bool = False) -> bytes:
        processing = webui.modules.processing
        p = processing.StableDiffusionProcessingTxt2Img(
            sd_model=webui.sd_model, prompt=prompt, width=64, height=64, steps=4, seed=5
        )
        webui.modules.shared.state.begin("task(1)")
        p.prompts = [p.prompt]
        try:
            weights.begin_batch(p, extra)
            if fail:
                raise RuntimeError("out of memory")
            p.prompt = p.prompts[0]
            return processing.process_images(p).images[0].tobytes()
        finally:
            p.close()

    return run


def test_a_constant_schedule_is_the_plain_tag(draw, lora: str) -> None:
    plain = torch.frombuffer(bytearray(draw(f"1girl {lora}")), dtype=torch.uint8).int()
    ours = torch.frombuffer(bytearray(draw("1girl <lora:hat:1@0>")), dtype=torch.uint8).int()
    assert draw("1girl ") != draw(f"1girl {lora}")
    assert (plain - ours).abs().max() <= 1  # merged weights and a hook round apart


def test_the_weight_follows_the_steps(draw) -> None:
    whole, half = draw("1girl <lora:hat:te=0:unet=1@0>"), draw("1girl <lora:hat:te=0:unet=1@0,0@1>")
    late, never = draw("1girl <lora:hat:te=0:unet=1:start=2>"), draw("1girl <lora:hat:te=0:unet=1:start=9>")
    assert len({whole, half, late, never}) == 4
    assert never == draw("1girl ")


def test_block_weights_of_zero_are_off(draw) -> None:
    assert draw("1girl <lora:hat:1:lbw=ALL>") == draw("1girl <lora:hat:1@0>")
    assert draw("1girl <lora:hat:1:lbw=te=0,unet=0>") == draw("1girl ")


def test_the_accordion_says_the_same(draw) -> None:
    assert (
        tag("hat", "1@0,0@1", "") == "<lora:hat:1@0,0@1>" and tag("hat", "0.5", "OUTS") == "<lora:hat:0.5@0:lbw=OUTS>"
    )
    assert tag("", "1", "") == ""
    assert draw("1girl", extra=tag("hat", "1@0,0@1", "")) == draw("1girl<lora:hat:1@0,0@1>")


def test_nothing_stays_in_the_model(webui, draw) -> None:
    before, flags = draw("1girl "), webui.flags()
    with pytest.raises(RuntimeError, match="out of memory"):
        draw("1girl <lora:hat:1@0>", fail=True)
    assert webui.flags() == flags and draw("1girl ") == before


def test_unused_it_touches_nothing(webui, draw) -> None:
    flags = webui.flags()
    p = SimpleNamespace(prompts=["1girl <lora:hat:1>"])  # has nothing else that could be touched
    webui.host.prompt_weights().begin_batch(p)
    assert p.prompts == ["1girl <lora:hat:1>"] and webui.flags() == flags


@pytest.mark.parametrize("prompt", ["<lora:nobody:1@0>", "<lora:hat:1@0,x>", "<lora:hat:1:lbw=NOSUCH>"])
def test_what_cannot_be_used_is_named_and_nothing_is_attached(webui, draw, prompt: str) -> None:
    flags = webui.flags()
    with pytest.raises(UserError):
        draw(f"1girl {prompt}")
    assert webui.flags() == flags


def test_other_extensions_go_first(webui, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import scripts

    monkeypatch.setattr(scripts, "scripts_data", [SimpleNamespace(path="/x/sd-webui-loractl/scripts/loractl.py")])
    p = SimpleNamespace(prompts=["1girl <lora:hat:1@0,0@1>"])
    weights = webui.host.prompt_weights()
    weights.begin_batch(p)
    assert weights.left_to_others() and p.prompts == ["1girl <lora:hat:1@0,0@1>"]
