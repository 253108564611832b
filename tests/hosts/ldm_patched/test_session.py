"""Forge-Classic's traps: moves in inference mode, in-place blocks, Sage's attention, patches in the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lib_lora.adapters.network import Network
from lib_lora.demo.architecture import random_checkpoint
from lib_lora.errors import UserError
from tests.hosts.common import visible_network


@pytest.fixture
def shell(host: Any) -> Any:
    from modules import shared

    return shared.sd_model


@pytest.fixture
def network(host: Any) -> Network:
    return visible_network(host)


def gradients(model: Any, network: Network) -> list[torch.Tensor]:
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for parameter in network.parameters():
        parameter.grad = None
    with network.attached_to(model.layers()):
        model.predict(x, torch.tensor([500]), model.encode_text(["a hat"])).square().mean().backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


def picture(shell: Any) -> torch.Tensor:
    import classic_double

    return classic_double.sample(shell, "a hat")


def test_gradients_pass_and_images_stay(host, shell, network):
    from ldm_patched.ldm.modules import attention

    base = picture(shell)
    attention.calls.clear()
    with host.training_session() as model:
        assert host.name == "ldm_patched" and model.family == "sd1"
        plain = gradients(model, network)
        assert all(g.abs().sum() > 0 for g in plain) and set(attention.calls) == {"pytorch"}
        attention.calls.clear()
        with host.gpu_lock:
            assert picture(shell).equal(base) and set(attention.calls) == {"sage"}
        with host.gpu_lock:
            model.gradient_checkpointing(True)
            for a, b in zip(gradients(model, network), plain, strict=True):
                torch.testing.assert_close(a, b)
    assert attention.optimized_attention is attention.attention_sage
    assert picture(shell).equal(base)


def test_patches_left_in_the_weights_are_taken_out(host, shell):
    from ldm_patched.modules import model_management

    base = picture(shell)
    key = "diffusion_model.out.2.weight"
    objects = shell.forge_objects_original
    weight = objects.unet.model.get_parameter(key).detach().clone()
    shell.forge_objects.unet = objects.unet.clone()
    shell.forge_objects.unet.patches[key] = torch.ones_like(weight)
    changed = picture(shell)
    assert not changed.equal(base)
    with host.training_session():
        assert objects.unet.model.get_parameter(key).equal(weight)
    assert picture(shell).equal(changed)
    model_management.unload_all_models()


def test_another_choice_leaves_ours_with_us(host, shell, network, tmp_path):
    from modules import sd_models

    other = sd_models.CheckpointInfo(random_checkpoint(tmp_path / "other.safetensors", seed=8))
    with host.training_session() as model:
        with host.gpu_lock:
            before = gradients(model, network)
        with host.gpu_lock:
            sd_models.load_model(other)
        reads = list(sd_models.files_read)
        with host.gpu_lock:
            assert all(a.equal(b) for a, b in zip(gradients(model, network), before, strict=True))
        assert sd_models.files_read == reads and host.info().name == "tiny.safetensors"
    assert host.info().name == "other.safetensors"


def test_text_encoders_that_are_not_transformers_are_refused(host, shell):
    shell.forge_objects_original.clip.cond_stage_model.clip_l.transformer = torch.nn.Identity()
    with pytest.raises(UserError, match="text encoders of its own"), host.training_session():
        pass
