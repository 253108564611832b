"""LoRA tags with a schedule in the user's prompt: what is drawn, that nothing stays, and who else may do it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

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


def test_the_hires_pass_has_its_own_weight_and_random_ones_are_shown(webui, draw, monkeypatch) -> None:
    tag = "<lora:hat:te=1:unet=0:hrunet=0.5:hrte=0>"
    assert draw(f"1girl {tag}") == draw("1girl <lora:hat:te=1:unet=0@0>")
    _, notes = remaining(webui, monkeypatch, f"{tag} <lora:hat:1:lbw={','.join('R' * 17)}>")
    assert "keeps the weight of the first" in notes[1] and "hat: lbw=0." in notes[0]
    monkeypatch.setattr(webui.modules.processing.StableDiffusionProcessingTxt2Img, "is_hr_pass", True, raising=False)
    assert draw(f"1girl {tag}") == draw("1girl <lora:hat:te=1:unet=0.5@0>") != draw("1girl <lora:hat:te=1:unet=0@0>")


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


@pytest.mark.parametrize("prompt", ["<lora:nobody:1@0>", "<lora:hat:1:lbw=NOSUCH>"])
def test_what_cannot_be_used_is_named_and_nothing_is_attached(webui, draw, prompt: str) -> None:
    flags = webui.flags()
    with pytest.raises(UserError):
        draw(f"1girl {prompt}")
    assert webui.flags() == flags


def remaining(webui, monkeypatch: pytest.MonkeyPatch, prompt: str, *installed: str) -> tuple[str, list[str]]:
    """The batch's prompt after ours was taken out beside ``installed`` extensions, and what is said."""
    from modules import scripts

    monkeypatch.setattr(scripts, "scripts_data", [SimpleNamespace(path=f"/x/scripts/{name}.py") for name in installed])
    p = SimpleNamespace(prompts=[prompt], sd_model=webui.modules.shared.sd_model, close=lambda: None)
    notes = webui.host.prompt_weights().begin_batch(p)
    p.close()
    return p.prompts[0], notes


SCHEDULED, BLOCKS, BOTH = "<lora:hat:1@0,0@1>", "<lora:hat:1:lbw=OUTS:start=2>", "<lora:hat:1@0,0@1:lbw=OUTS>"


def test_other_extensions_get_the_tags_that_they_read(webui, lora, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = "<lora:hat:1:lbw=OUTS:start=0.5>"  # Block Weight fails at it, and would leave the plain LoRA
    assert [remaining(webui, monkeypatch, shares, *names)[0] for names in ((), ("lora_block_weight",))] == ["", ""]
    prompt = f"{SCHEDULED}|{BLOCKS}|{BOTH}|{lora}"
    left = {
        (): f"|||{lora}",
        ("loractl",): f"{SCHEDULED}|||{lora}",
        ("lora_block_weight",): f"|{BLOCKS}||{lora}",
        ("lora_block_weight", "loractl"): f"{SCHEDULED}|{BLOCKS}||{lora}",
    }
    assert {names: remaining(webui, monkeypatch, prompt, *names)[0] for names in left} == left


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("<lora:hat:[1@0,0@1]>", 0),
        ("<lora:hat:te=[1@0]:unet=1>", 0),
        ("<lora:hat:1@0,x>", 1),
        ("<lora:hat:1:hr=soon>", 1),
    ],
)
def test_what_we_cannot_read_stays_and_the_other_tags_count(webui, draw, monkeypatch, prompt: str, said: int) -> None:
    left, notes = remaining(webui, monkeypatch, f"1girl {prompt} <lora:hat:1@0>")
    assert left == f"1girl {prompt} " and len(notes) == said and all(prompt in note for note in notes)
    assert remaining(webui, monkeypatch, prompt, "lora_block_weight") == (prompt, [])


def test_the_accordion_counts_beside_other_extensions(webui, draw, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import scripts

    alone = draw("1girl", extra=tag("hat", "1@0,0@1", ""))
    monkeypatch.setattr(scripts, "scripts_data", [SimpleNamespace(path="/x/scripts/loractl.py")])
    assert draw("1girl", extra=tag("hat", "1@0,0@1", "")) == alone
    with pytest.raises(UserError, match="cannot be read"):
        draw("1girl", extra=tag("hat", "[1@0]", ""))


def test_layers_of_the_file_that_act_nowhere_are_said(webui, lora, monkeypatch: pytest.MonkeyPatch) -> None:
    path = webui.host.paths.loras / "hat.safetensors"
    tensors = safetensors.torch.load_file(path)
    alpha = next(name for name in tensors if name.endswith(".alpha"))
    safetensors.torch.save_file({**tensors, alpha: torch.tensor(0.0)}, path)
    (note,) = remaining(webui, monkeypatch, "1girl <lora:hat:1@0>|<lora:hat:0.5@0>")[1]
    assert note.startswith("hat: 1 layer has alpha 0")
