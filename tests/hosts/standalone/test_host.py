from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lib_lora.adapters.network import Network, NetworkSpec
from lib_lora.errors import Cancelled, UserError
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.hosts.standalone.sampling import batches, sample
from lib_lora.models.base import GenerationRequest, HostPaths

HAT = GenerationRequest("1girl, red hat", "blurry", width=64, height=64, steps=3, seed=5)
LONG = replace(HAT, prompt=", ".join(["red hat"] * 40))


@pytest.fixture
def network(tiny_host) -> Network:
    """A LoCon that visibly changes both the U-Net and the text encoder."""
    with tiny_host.training_session() as model:
        network = Network.create(model.layers(), NetworkSpec(rank=2, alpha=2, conv_rank=2), seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2, generator=generator)
    return network


def latents(host: StandaloneHost, requests, networks=()) -> torch.Tensor:
    with host.training_session() as model:
        return sample(model, requests, networks)


def assert_equal_but_for_rounding(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """The latents of an untrained model reach 50, those of a real one 4; so the bound is relative to the largest."""
    assert (actual - expected).abs().max() <= 1e-4 * expected.abs().max()


def same(a: Image.Image, b: Image.Image) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


def test_images_are_reproducible_and_seeds_differ(tiny_host):
    first, again, other = (tiny_host.generate([replace(HAT, seed=s)])[0] for s in (5, 5, 6))
    assert first.size == (64, 64) and same(first, again) and not same(first, other)


def test_every_sampler_works_and_gives_its_own_image(tiny_host):
    images = tiny_host.generate([replace(HAT, sampler=name) for name in tiny_host.samplers()])
    assert len({image.tobytes() for image in images}) == len(tiny_host.samplers()) == 5


@pytest.mark.parametrize("sampler", ["DPM++ 2M Karras", "Euler a", "DDIM"])
def test_an_image_does_not_depend_on_its_batch(tiny_host, sampler):
    hat = replace(HAT, sampler=sampler)
    others = [replace(hat, seed=seed, prompt=f"{seed} cats", negative="") for seed in (1, 2)]
    together = latents(tiny_host, [others[0], hat, others[1]])
    alone = latents(tiny_host, [hat])
    assert_equal_but_for_rounding(together[1:2], alone)
    assert not torch.allclose(together[0:1], alone, rtol=0, atol=1)


def test_requests_that_differ_are_kept_apart_but_answered_in_order(tiny_host):
    wide = replace(HAT, width=72)
    seen = []
    images = tiny_host.generate([HAT, wide, LONG, HAT], on_image=lambda i, image: seen.append((i, image.size)))
    assert sorted(seen) == [(0, (64, 64)), (1, (72, 64)), (2, (64, 64)), (3, (64, 64))]
    assert [image.size[0] for image in images] == [64, 72, 64, 64] and same(images[0], images[3])
    with tiny_host.training_session() as model:
        assert batches(model, [HAT, wide, LONG, HAT]) == [[0, 3], [1], [2]]
        assert [len(b) for b in batches(model, [replace(HAT, width=1024, height=512)] * 10)] == [4, 4, 2]


def test_each_image_of_a_batch_has_its_own_network_weight(tiny_host, network):
    base = tiny_host.generate([HAT])[0]
    weights = (0.0, 0.5, 1.0)
    requests = [replace(HAT, weights=(w,)) for w in weights]
    with tiny_host.training_session() as model, network.attached_to(model.layers()):
        together = sample(model, requests, [network])
        for index, weight in enumerate(weights):
            network.multiplier = weight
            assert_equal_but_for_rounding(together[index : index + 1], sample(model, [HAT]))
    network.multiplier = 1.0
    images = tiny_host.generate(requests, [network])
    assert len({image.tobytes() for image in images}) == 3
    assert network.multiplier == 1.0
    assert same(tiny_host.generate([HAT])[0], base)


def test_weights_work_with_several_chunks_and_without_guidance(tiny_host, network):
    requests = [replace(LONG, weights=(w,), cfg=c) for c in (1, 7) for w in (0.2, 1.0)]
    assert len({image.tobytes() for image in tiny_host.generate(requests, [network])}) == 4


def test_guidance_of_one_ignores_the_negative_prompt(tiny_host):
    a, b = tiny_host.generate([replace(HAT, cfg=1), replace(HAT, cfg=1, negative="something else")])
    assert same(a, b)


def test_parameters_are_written_as_a1111_reads_them(tiny_host, network):
    network.name = "hat_v1"
    image = tiny_host.generate([replace(HAT, clip_skip=2, weights=(0.75,))], [network])[0]
    prompt, negative, settings = image.info["parameters"].split("\n")
    assert prompt == "1girl, red hat <lora:hat_v1:0.75>" and negative == "Negative prompt: blurry"
    assert settings.startswith("Steps: 3, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 5, Size: 64x64, Model hash: ")
    assert "Model: tiny, Clip skip: 2, Version: " in settings


def test_cancelling_between_steps_leaves_no_network_behind(tiny_host, network):
    base = tiny_host.generate([HAT])[0]
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) == 3

    with pytest.raises(Cancelled):
        tiny_host.generate([HAT], [network], cancelled=cancelled)
    assert len(asked) == 3 and network.multiplier == 1.0
    assert same(tiny_host.generate([HAT])[0], base)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"width": 30}, "multiples of 8"), ({"steps": 0}, "sampling step"), ({"sampler": "Heun"}, "no such sampler")],
)
def test_impossible_requests_are_explained(tiny_host, change, message):
    with pytest.raises(UserError, match=message):
        tiny_host.generate([replace(HAT, **change)])


def test_number_of_weights_must_fit(tiny_host):
    with pytest.raises(ValueError, match="1 weights for 0 networks"):
        tiny_host.generate([replace(HAT, weights=(1.0,))])


def test_training_session_gives_the_model_back_after_a_failure(tiny_host):
    with tiny_host.training_session() as model:
        modules = [m for part in model.modules.values() for m in part.modules()]
        parameters = [p for part in model.modules.values() for p in part.parameters()]
    parameters[0].requires_grad_(False)
    model.unet.train()
    before = [p.requires_grad for p in parameters], [m.training for m in modules]
    with pytest.raises(RuntimeError, match="boom"), tiny_host.training_session():
        assert not any(p.requires_grad for p in parameters) and not any(m.training for m in modules)
        model.gradient_checkpointing(True)
        parameters[1].requires_grad_(True).grad = torch.zeros_like(parameters[1])
        raise RuntimeError("boom")
    assert ([p.requires_grad for p in parameters], [m.training for m in modules]) == before
    assert all(p.grad is None for p in parameters)
    assert not any("forward" in vars(m) for m in modules)


def test_checkpoints_are_found_by_name_in_all_folders(tiny_checkpoint, tmp_path):
    own = tmp_path / "own"
    (own / "sub").mkdir(parents=True)
    (own / "sub" / "copy.safetensors").write_bytes(tiny_checkpoint.read_bytes())
    host = StandaloneHost(HostPaths(tmp_path, own, tmp_path, tmp_path), more_checkpoints=[tiny_checkpoint.parent])
    assert host.checkpoints() == ["sub/copy", "tiny"] and host.info() is None
    assert host.checkpoint_path("tiny") == tiny_checkpoint
    assert host.checkpoint_path("sub/copy") == own / "sub" / "copy.safetensors"
    with pytest.raises(UserError, match="No model is loaded"):
        host.generate([HAT])
    host.load("tiny")
    info = host.info()
    assert (info.name, info.family, info.prediction, info.max_clip_skip) == ("tiny", "sd1", "epsilon", 2)


def test_a_checkpoint_file_brings_none_of_its_neighbours(tiny_checkpoint, tmp_path):
    (tmp_path / "neighbour.safetensors").write_bytes(b"")
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(tiny_checkpoint.read_bytes())
    none = tmp_path / "none"
    host = StandaloneHost(HostPaths(none, none, none, none), more_checkpoints=[alone])
    assert host.checkpoints() == ["alone"] and host.checkpoint_path("alone") == alone


def test_a_failed_or_forbidden_load_keeps_the_present_model(tiny_host):
    base = tiny_host.generate([HAT])[0]
    bad = tiny_host.paths.checkpoints / "bad.safetensors"
    bad.write_bytes(b"nonsense")
    try:
        with pytest.raises(UserError, match="damaged"):
            tiny_host.load("bad")
        with tiny_host.training_session(), pytest.raises(UserError, match="being trained"):
            tiny_host.load("bad")
    finally:
        bad.unlink()
    with pytest.raises(UserError, match="no such checkpoint"):
        tiny_host.load("absent")
    assert same(tiny_host.generate([HAT])[0], base)


def test_generation_queues_behind_a_training_slice(tiny_host):
    images = []
    thread = threading.Thread(target=lambda: images.extend(tiny_host.generate([HAT])))
    with tiny_host.gpu_lock:
        thread.start()
        while not tiny_host.waiting():
            threading.Event().wait(0.001)
        assert not images
    thread.join(60)
    assert len(images) == 1 and not tiny_host.waiting()
