"""Every trap of Forge's model, one test each: it works inside the session, and all is put back after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lib_lora.adapters.network import Network
from lib_lora.demo.architecture import random_checkpoint
from lib_lora.errors import UserError

T = torch.tensor([500])


def step(model) -> torch.Tensor:
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return model.predict(x, T, model.encode_text(["a hat"])).square().mean()


def gradients(model, network: Network) -> list[torch.Tensor]:
    """Gradients of all adapters for one fixed step; the hooks are attached for it."""
    for parameter in network.parameters():
        parameter.grad = None
    with network.attached_to(model.layers()):
        step(model).backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_weights_made_in_inference_mode_are_trained_on_without_a_copy(webui, network):
    webui.txt2img()
    from lib_lora.models.borrowed import untracked

    webui.modules.processing.memory_management.unload_all_models()
    with torch.inference_mode():
        webui.modules.processing.memory_management.move(webui.unet)
    webui.modules.processing.memory_management.move(webui.unet)  # out of inference mode, is_inference() says no
    assert not any(p.is_inference() for p in webui.unet.parameters())
    before = webui.weights()
    with webui.host.training_session() as model:
        held = [p.data_ptr() for p in webui.unet.parameters()]
        assert all(g.abs().sum() > 0 for g in gradients(model, network))
        assert same(webui.weights(), before)
        assert [p.data_ptr() for p in webui.unet.parameters()] == held
        assert any(untracked(p) for p in webui.unet.parameters())
    shared = webui.text_encoder
    embedding = getattr(shared, "text_model", shared).embeddings.token_embedding
    assert embedding.weight is embedding.wrapped.weight


def test_stock_blocks_have_no_backward_pass_and_ours_does_not_change_the_image(webui, network, monkeypatch):
    from backend import attention
    from backend.nn import unet

    from lib_lora.hosts.forge_objects.thaw import thaw

    monkeypatch.setattr(unet, "attention_function", attention.attention_pytorch)
    base = webui.txt2img()
    thaw(webui.unet)
    x = torch.randn(1, 4, 16, 16, requires_grad=True)
    context = torch.randn(1, 77, 32)
    with pytest.raises(RuntimeError, match="inplace operation"):
        webui.unet(x, torch.tensor([5.0]), context=context, transformer_options={}).sum().backward()
    with webui.host.training_session() as model:
        assert all(g.abs().sum() > 0 for g in gradients(model, network))
        assert webui.txt2img() == base


def test_checkpointing_gives_the_same_gradients(webui, network):
    calls = []
    with webui.host.training_session() as model:
        plain = gradients(model, network)
        counter = (
            model.unet.input_blocks[1][1].transformer_blocks[0].norm1.register_forward_hook(lambda *_: calls.append(1))
        )
        model.gradient_checkpointing(True, ["M00"])
        elsewhere = gradients(model, network)
        assert len(calls) == 1
        model.gradient_checkpointing(True, ["IN01"])
        checkpointed = gradients(model, network)
        counter.remove()
    assert len(calls) == 3  # forward, and again in the backward pass
    for a, b, c in zip(plain, checkpointed, elsewhere, strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c)


def test_attention_without_a_backward_pass_is_replaced_only_where_gradients_are(webui, network):
    from backend import attention
    from backend.nn import unet

    base = webui.txt2img()
    assert set(attention.calls) == {"fast"}
    attention.calls.clear()
    with webui.host.training_session() as model:
        gradients(model, network)
        assert set(attention.calls) == {"pytorch"}
        attention.calls.clear()
        assert webui.txt2img() == base and set(attention.calls) == {"fast"}
    assert unet.attention_function is attention.attention_function


def test_merged_loras_are_taken_out_first(webui, lora):
    plain = webui.txt2img()
    base = webui.weights()
    merged = webui.txt2img(prompt=f"1girl, red hat {lora}")
    assert merged != plain and not same(webui.weights(), base)
    with webui.host.training_session():
        assert same(webui.weights(), base)
    assert webui.txt2img(prompt=f"1girl, red hat {lora}") == merged
    assert webui.txt2img() == plain


def test_a_users_image_with_a_lora_does_not_disturb_the_training(webui, network, lora):
    with webui.host.training_session() as model:
        with webui.host.gpu_lock:
            undisturbed = gradients(model, network)
        webui.txt2img(prompt=f"1girl {lora}")
        with webui.host.gpu_lock:
            assert same(gradients(model, network), undisturbed)


def test_flags_and_modes_come_back_after_a_failure(webui, network):
    webui.txt2img()
    with torch.inference_mode():  # which the weights were moved in
        webui.unet.train().requires_grad_(True)
    before, image = webui.state(), webui.txt2img()
    with pytest.raises(RuntimeError, match="boom"), webui.host.training_session() as model:
        assert not any(p.requires_grad for p in webui.unet.parameters()) and not webui.unet.training
        model.gradient_checkpointing(True)
        gradients(model, network)
        raise RuntimeError("boom")
    assert webui.state() == before and webui.txt2img() == image


def test_a_session_that_cannot_be_opened_changes_nothing(webui, monkeypatch):
    from backend import memory_management
    from backend.nn import unet

    image, before, attention = webui.txt2img(), webui.state(), unet.attention_function
    memory_management.unload_all_models()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("the card is full")

    with monkeypatch.context() as patched, pytest.raises(torch.OutOfMemoryError):
        patched.setattr(memory_management, "load_models_gpu", full)
        with webui.host.training_session():
            pass
    assert webui.state() == before and unet.attention_function is attention and webui.txt2img() == image


def test_what_the_web_ui_keeps_in_fp8_is_trained_on_as_it_is(webui, network):
    def store(kind: torch.dtype) -> None:
        for module in webui.unet.modules():
            if type(module).__name__ == "Linear":
                module.weight = torch.nn.Parameter(module.weight.detach().to(kind), requires_grad=False)

    webui.txt2img()
    with webui.host.training_session() as model, pytest.raises(UserError, match="as they are loaded"):
        model.stored("fp8")
    store(torch.float8_e4m3fn)
    image, kinds = webui.txt2img(), [p.dtype for p in webui.unet.parameters()]
    with webui.host.training_session() as model, model.stored("fp8"):
        found = gradients(model, network)
    assert [p.dtype for p in webui.unet.parameters()] == kinds and webui.txt2img() == image
    store(torch.float32)  # the same numbers, wide
    with webui.host.training_session() as model:
        wanted = gradients(model, network)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(found, wanted, strict=True))
    assert all(gradient.abs().sum() > 0 for gradient in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ui: (setattr(ui.sd_model, "is_sd1", False), setattr(ui.sd_model, "is_sd2", True)), "family sd2"),
        (lambda ui: setattr(ui.sd_model, "is_sd1", False), "family unknown"),
        (lambda ui: setattr(ui.sd_model, "is_inpaint", True), "Inpainting"),
        (lambda ui: setattr(ui.sd_model.forge_objects.unet.model.predictor, "prediction_type", "edm"), "by edm"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_the_reason(webui, change, message):
    webui.txt2img()
    change(webui)
    before = webui.state()
    with pytest.raises(UserError, match=message), webui.host.training_session():
        pass
    assert webui.state() == before


def test_another_choice_of_the_user_reads_nothing_twice(webui, network, tmp_path: Path):
    from modules import sd_models

    sd_models.CheckpointInfo(random_checkpoint(tmp_path / "other.safetensors", seed=8)).register()
    with webui.host.training_session() as model:
        own = model.sd_model
        with webui.host.gpu_lock:
            undisturbed = gradients(model, network)
        sd_models.choose("other.safetensors")
        theirs = webui.txt2img()
        assert webui.sd_model is not own
        reads = list(sd_models.files_read)
        with webui.host.gpu_lock:
            assert same(gradients(model, network), undisturbed)
        assert webui.host.info().name == "tiny.safetensors"
        assert webui.txt2img() == theirs and sd_models.files_read == reads
    assert webui.host.info().name == "other.safetensors" and webui.txt2img() == theirs


def test_nothing_is_read_from_disk_for_a_training(webui, network):
    webui.txt2img()
    reads = list(webui.modules.sd_models.files_read)
    with webui.host.training_session() as model:
        gradients(model, network)
        live = {id(p) for m in (webui.unet, webui.text_encoder) for p in m.parameters()}
        assert all(id(p) in live for layer in model.layers().values() for p in layer.parameters())
    assert webui.modules.sd_models.files_read == reads


def test_schedule_prediction_and_names_are_the_models(webui, tiny_checkpoint):
    from lib_lora.hosts.standalone.checkpoint import load_checkpoint

    oracle = load_checkpoint(tiny_checkpoint)
    with webui.host.training_session() as model:
        shapes = {key: m.weight.shape for key, m in model.layers().items()}
        assert shapes == {key: m.weight.shape for key, m in oracle.layers().items()}
        torch.testing.assert_close(model.schedule.alphas_cumprod, oracle.schedule.alphas_cumprod)
        with torch.no_grad():
            captions = ["1girl, (red hat)", ", ".join(["red hat"] * 40)]
            cond = oracle.encode_text(captions, clip_skip=2)
            torch.testing.assert_close(model.encode_text(captions, clip_skip=2), cond, rtol=1e-2, atol=1e-2)
            x, t = torch.randn(2, 4, 8, 8), torch.tensor([3, 900])
            torch.testing.assert_close(model.predict(x, t, cond), oracle.predict(x, t, cond), rtol=1e-3, atol=1e-4)
            pixels = torch.rand(1, 3, 64, 64) * 2 - 1
            latents = oracle.encode_images(pixels)
            torch.testing.assert_close(model.encode_images(pixels), latents, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(
                model.decode_latents(latents), oracle.decode_latents(latents), rtol=1e-3, atol=1e-3
            )
    webui.sd_model.model_config.ztsnr = True
    webui.sd_model.forge_objects.unet.model.predictor.prediction_type = "v_prediction"
    with webui.host.training_session() as model:
        assert model.prediction == "v" and model.schedule.alphas_cumprod[-1] == 0
