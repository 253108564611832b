"""LoRA tags with a schedule in the user's prompt: what is drawn, that nothing stays, and who else may do it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lib_lora.errors import UserError
from lib_lora.ui.prompt_weights import tag
from tests.hosts.common import drawing, pixels


@pytest.fixture
def draw(webui, lora):
    return drawing(webui)


def test_a_constant_schedule_is_the_plain_tag(draw, lora: str) -> None:
    plain, ours = draw(f"1girl {lora}"), draw("1girl <lora:hat:1@0>")
    assert draw("1girl ") != plain
    assert (pixels(plain) - pixels(ours)).abs().max() <= 1  # merged weights and a hook round apart


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


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_whatever_happens_half_way_nothing_is_attached(webui, draw, monkeypatch, error: type[BaseException]) -> None:
    from lib_lora.hosts.webui.model import WebUIModel  # the one of this web UI

    before, flags = draw("1girl "), webui.flags()

    def place(*_: object) -> None:
        raise error("out of memory")

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(WebUIModel, "place", place)
        draw("1girl <lora:hat:1@0>")
    assert webui.flags() == flags and draw("1girl ") == before


def test_what_went_wrong_is_said_below_the_image(webui, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from lib_lora.ui import webui as tab

    def begin_batch(p: object, extra: str) -> None:
        raise RuntimeError("out of memory")

    said: list[str] = []
    monkeypatch.setattr(tab, "_prompt_weights", lambda: SimpleNamespace(begin_batch=begin_batch))
    tab.apply_prompt_weights(SimpleNamespace(extra_generation_params={}, comment=said.append), "", "1", "")
    assert len(said) == 1 and "out of memory" in said[0] and "Traceback" in capsys.readouterr().err


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
