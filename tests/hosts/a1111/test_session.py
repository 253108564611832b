"""Every trap of the borrowed model, one test each: it works inside the session, and all is put back after it."""

from __future__ import annotations

import pytest
import torch

from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.demo.architecture import TEST_SHAPE, random_checkpoint
from lib_lora.errors import UserError

T = torch.tensor([500])


def gradients(model, network: Network) -> list[torch.Tensor]:
    """Gradients of all adapters for one fixed step; the hooks are attached for it."""
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for parameter in network.parameters():
        parameter.grad = None
    with network.attached_to(model.layers()):
        model.predict(x, T, model.encode_text(["a hat"])).square().mean().backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_merged_loras_are_taken_out_first(webui, lora):
    base, plain = webui.weights(), webui.txt2img()
    merged = webui.txt2img(prompt=f"1girl, (red hat) {lora}")
    assert merged != plain and not equal(webui.weights(), base)
    with webui.host.training_session():
        assert equal(webui.weights(), base)
    assert webui.txt2img(prompt=f"1girl, (red hat) {lora}") == merged
    assert webui.txt2img() == plain


def test_ldms_own_checkpointing_would_lose_the_gradients(webui, network):
    with webui.host.training_session() as model:
        for module in webui.sd_model.modules():
            if vars(module).get("use_checkpoint") is False:
                module.use_checkpoint = True
            if vars(module).get("checkpoint") is False:
                module.checkpoint = True
        with pytest.raises(RuntimeError, match="not require grad"):
            gradients(model, network)


def test_gradients_reach_every_adapter_and_ours_is_exact(webui, network):
    calls = []
    with webui.host.training_session() as model:
        plain = gradients(model, network)
        assert all(g.abs().sum() > 0 for g in plain)
        counter = model.unet.input_blocks[1][0].in_layers[2].register_forward_hook(lambda *_: calls.append(1))
        model.gradient_checkpointing(True)
        checkpointed = gradients(model, network)
        counter.remove()
        assert len(calls) == 2  # forward, and again in the backward pass
    for a, b in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(a, b)


def test_flags_modes_and_switches_come_back_after_a_failure(webui, network):
    webui.sd_model.model.train()
    before, image = webui.flags(), webui.txt2img()
    with pytest.raises(RuntimeError, match="boom"), webui.host.training_session() as model:
        assert not any(p.requires_grad for p in webui.sd_model.parameters())
        assert not webui.sd_model.model.training
        model.gradient_checkpointing(True)
        gradients(model, network)
        raise RuntimeError("boom")
    assert webui.flags() == before and webui.txt2img() == image


def test_a_session_that_cannot_be_opened_changes_nothing(webui, monkeypatch):
    before = webui.flags()
    webui.modules.shared.opts.sd_unet = "Engine"

    def full(*_):
        raise MemoryError

    monkeypatch.setattr("lib_lora.hosts.a1111.session.own_checkpointing_off", full)
    with pytest.raises(MemoryError), webui.host.training_session():
        pass
    assert webui.flags() == before and webui.modules.sd_unet.current_unet is not None


def test_other_unets_hypernetworks_tiling_and_merging_are_off(webui, network):
    from modules import sd_hijack, sd_models, sd_unet, shared

    shared.opts.sd_unet = "Engine"
    engine_image = webui.txt2img(prompt="a <hypernet:h:1>", tiling=True)
    sd_models.apply_token_merging(webui.sd_model, 0.5)
    assert sd_unet.current_unet is not None and shared.loaded_hypernetworks and sd_hijack.model_hijack.circular_enabled
    with webui.host.training_session() as model:
        assert sd_unet.current_unet is None and not shared.loaded_hypernetworks
        assert not sd_hijack.model_hijack.circular_enabled and webui.sd_model.applied_token_merged_ratio == 0
        assert all(g.abs().sum() > 0 for g in gradients(model, network))
    assert sd_unet.current_unet is not None
    assert webui.txt2img(prompt="a <hypernet:h:1>", tiling=True) == engine_image


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.model.diffusion_model.out[2].to(torch.complex64), "complex64"),
        (lambda m: (setattr(m, "is_sd1", False), setattr(m, "is_sd3", True)), "family sd3"),
        (lambda m: setattr(m.model, "conditioning_key", "hybrid"), "Inpainting"),
    ],
)
@pytest.mark.filterwarnings("ignore:Complex modules")
def test_what_cannot_be_trained_on_is_refused_with_the_reason(webui, change, message):
    change(webui.sd_model)
    before = webui.flags()
    with pytest.raises(UserError, match=message), webui.host.training_session():
        pass
    assert webui.flags() == before


def test_a_users_image_with_a_lora_does_not_disturb_the_training(webui, network, lora):
    with webui.host.training_session() as model:
        with webui.host.gpu_lock:
            undisturbed = gradients(model, network)
        webui.txt2img(prompt=f"1girl {lora}", tiling=True)
        with webui.host.gpu_lock:
            assert all(torch.equal(a, b) for a, b in zip(gradients(model, network), undisturbed, strict=True))


def test_training_goes_on_when_the_user_chooses_another_checkpoint(webui, network, tmp_path):
    from modules import sd_models, shared

    other = sd_models.CheckpointInfo(random_checkpoint(tmp_path / "other.safetensors", seed=8))
    other.register()
    own = webui.sd_model.sd_checkpoint_info
    with webui.host.training_session() as model:
        with webui.host.gpu_lock:
            undisturbed = gradients(model, network)
        shared.opts.set("sd_model_checkpoint", other.title)
        theirs = webui.txt2img()
        assert webui.host.info().name == "other.safetensors"
        with webui.host.gpu_lock:
            assert all(torch.equal(a, b) for a, b in zip(gradients(model, network), undisturbed, strict=True))
            assert webui.sd_model.sd_checkpoint_info is own
        assert shared.opts.sd_model_checkpoint == other.title
        assert webui.txt2img() == theirs
    assert webui.txt2img() == theirs and webui.sd_model.sd_checkpoint_info is other


def test_a_model_that_is_gone_ends_the_training_with_the_reason(webui, tmp_path):
    from modules import sd_models, shared

    wide = type(TEST_SHAPE)(**{**vars(TEST_SHAPE), "text_width": 64})
    other = sd_models.CheckpointInfo(random_checkpoint(tmp_path / "wide.safetensors", seed=8, shape=wide))
    other.register()
    with pytest.raises(UserError, match="replaced the model"), webui.host.training_session() as model:
        shared.opts.set("sd_model_checkpoint", other.title)
        theirs = webui.txt2img()
        with webui.host.gpu_lock:
            model.encode_text(["a hat"])
    assert webui.txt2img() == theirs


def test_an_unloaded_model_comes_back_to_its_device(webui, monkeypatch):
    from modules import devices

    sd_model = webui.sd_model
    monkeypatch.setattr(devices, "device", torch.device("meta"))  # any device that the weights are not on
    sent = []
    monkeypatch.setattr(webui.modules.sd_models, "send_model_to_device", sent.append)
    with webui.host.training_session():
        assert sent == [sd_model]


def test_nothing_is_read_from_disk_and_nothing_is_copied(webui, network):
    reads = len(webui.modules.sd_models.files_read)
    storages = {p.data_ptr() for p in webui.sd_model.parameters()}
    with webui.host.training_session() as model:
        gradients(model, network)
        assert {p.data_ptr() for p in webui.sd_model.parameters()} == storages
        live = {id(p) for p in webui.sd_model.parameters()}
        assert all(id(p) in live for layer in model.layers().values() for p in layer.parameters())
        model.hashes()
    assert len(webui.modules.sd_models.files_read) == reads


def test_the_model_is_loaded_the_web_uis_way_where_there_is_none(webui):
    assert webui.host.info() is None
    with webui.host.training_session() as model:
        assert model.name == "tiny.safetensors"
    assert len(webui.modules.sd_models.files_read) == 1


def test_adapters_start_at_nothing(webui):
    with webui.host.training_session() as model:
        fresh = Network.create(model.layers(), NetworkSpec(rank=2, alpha=2), seed=0)
    request_free = webui.txt2img()
    with webui.host.training_session() as model, fresh.attached_to(model.layers()):
        assert webui.txt2img() == request_free
