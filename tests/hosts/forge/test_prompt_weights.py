"""LoRA tags with a schedule in Forge, whose images are made in inference mode."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lib_lora.errors import UserError
from tests.hosts.common import drawing, pixels


@pytest.fixture
def draw(webui, lora):
    webui.txt2img()  # Forge loads the model with the first image
    return drawing(webui)


def test_a_constant_schedule_is_the_plain_tag(draw, lora: str) -> None:
    plain, ours = draw(f"1girl {lora}"), draw("1girl <lora:hat:1@0>")
    assert draw("1girl ") != plain
    assert (pixels(plain) - pixels(ours)).abs().max() <= 1  # merged weights and a hook round apart


def test_the_weight_follows_the_steps(draw) -> None:
    whole, half = draw("1girl <lora:hat:te=0:unet=1@0>"), draw("1girl <lora:hat:te=0:unet=1@0,0@1>")
    text, never = draw("1girl <lora:hat:te=1:unet=0@0>"), draw("1girl <lora:hat:te=0:unet=1:start=9>")
    assert len({whole, half, text, never}) == 4
    assert never == draw("1girl ") == draw("1girl <lora:hat:1:lbw=te=0,unet=0>")


def hooks(state: list) -> list:
    """Of all modules: mode, own forward, numbers of hooks."""
    return [entry for entry in state if len(entry) == 4]


def test_nothing_stays_and_a_plain_tag_beside_ours_is_the_web_uis(webui, draw, lora: str) -> None:
    before, state, weights = draw("1girl "), webui.state(), webui.weights()
    with pytest.raises(RuntimeError, match="out of memory"):
        draw("1girl <lora:hat:1@0>", fail=True)
    assert draw("1girl ") == before and webui.state() == state
    assert all(a.equal(b) for a, b in zip(webui.weights(), weights, strict=True))
    both = draw(f"1girl {lora} <lora:hat:-1@0>")
    assert (pixels(both) - pixels(before)).abs().max() <= 1  # one takes back what the other adds
    assert draw("1girl ") == before
    assert hooks(webui.state()) == hooks(state)  # Forge's own patches leave other parameters behind, of the same values


def test_unused_it_touches_nothing(webui) -> None:
    p = SimpleNamespace(prompts=["1girl <lora:hat:1>"])  # has nothing else that could be touched
    webui.host.prompt_weights().begin_batch(p)
    assert p.prompts == ["1girl <lora:hat:1>"]
    assert not webui.modules.sd_models.files_read


def test_a_model_of_another_family_is_named(webui, draw) -> None:
    state = webui.state()
    webui.sd_model.is_sd1, webui.sd_model.is_sd3 = False, True
    with pytest.raises(UserError, match="family sd3"):
        draw("1girl <lora:hat:1@0>")
    assert webui.state() == state


def test_adapters_go_where_the_model_will_compute(webui, draw, monkeypatch: pytest.MonkeyPatch) -> None:
    patcher = webui.sd_model.forge_objects_original.unet
    monkeypatch.setattr(patcher, "load_device", "meta")  # the weights still wait on the CPU
    weights = webui.host.prompt_weights()
    p = SimpleNamespace(prompts=["<lora:hat:1@0>"], sd_model=webui.sd_model, close=lambda: None, cached_c=[1, 2, 3])
    weights.begin_batch(p)
    places = {parameter.device.type for network in weights._attached for parameter in network.parameters("unet")}
    p.close()
    assert places == {"meta"} and p.cached_c == [None] * 3 and not weights._attached
