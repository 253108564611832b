"""Training the transformers: narrow models of random weights in diffusers' classes, against diffusers itself."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.loaders import lora_conversion_utils, lora_pipeline
from safetensors.torch import load_file
from torch import Tensor

from lib_lora.adapters.file import read_lora
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.dataset.batches import MicroBatch
from lib_lora.hosts.standalone.dit.model import StandaloneTransformer
from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import GenerationRequest, HostPaths
from lib_lora.models.families import family
from lib_lora.tools.convert import convert
from lib_lora.training.config import TrainConfig
from lib_lora.training.denoiser import Denoiser
from lib_lora.training.events import StepDone
from lib_lora.training.noise import NoiseDraw
from lib_lora.training.preflight import preflight
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.hosts.standalone import narrow
from tests.training.worlds import image_folder

CAPTION = "mira , a girl with red hair"
NAMES = tuple(narrow.FAMILIES)
READ_AS_THEY_ARE = ("z_image", "flux1", "chroma", "klein4b", "qwen_image")  # diffusers knows these names of layers
SIGMA = torch.tensor([0.3, 0.8])
IDLE = re.compile("_blocks_1_(?:attn_add_q_proj|attn_to_add_out|txt_mlp_)")  # what the last block says to words


@dataclass(frozen=True)
class World:
    """A host with one narrow model loaded, and the folder it came from."""

    host: StandaloneHost
    model: StandaloneTransformer
    folder: Path

    def part(self, name: str, dtype: torch.dtype = torch.float32) -> Any:
        """A part of the model, loaded once more by diffusers alone."""
        kind = json.loads((self.folder / "model_index.json").read_text())[name][1]
        return getattr(diffusers, kind).from_pretrained(self.folder / name, torch_dtype=dtype).eval()


@pytest.fixture(scope="module", params=NAMES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp(request.param)
    folder = narrow.write(root / "models" / request.param, request.param)
    host = StandaloneHost(HostPaths(root / "loras", root / "models", root / "runs", root / "data"))
    host.load(request.param)
    model = host._model
    assert isinstance(model, StandaloneTransformer)
    with narrow.short_captions():
        yield World(host, model, folder)


def latents(model: StandaloneTransformer, seed: int = 3) -> Tensor:
    side = 64 // model.latent_factor
    return torch.randn(2, model.latent_channels, side, side, generator=torch.Generator().manual_seed(seed))


def direct(name: str, transformer: Any, pipe: Any, x: Tensor, sigma: Tensor, captions: list[str]) -> Tensor:
    """ε − x_0 by the transformer as diffusers loads it, called as its pipeline calls it, each caption alone."""
    one_by_one = zip(x.split(1), sigma.split(1), captions, strict=True)
    return torch.cat([DIRECT[name](transformer, pipe, one, s, caption) for one, s, caption in one_by_one])


def _z_image(transformer: Any, pipe: Any, x: Tensor, s: Tensor, caption: str) -> Tensor:
    states, _ = pipe.encode_prompt(caption, do_classifier_free_guidance=False)
    t = (1000 - s * 1000) / 1000
    return -transformer([x[0].unsqueeze(1)], t, [states[0].to(x.dtype)], return_dict=False)[0][0].squeeze(1)[None]


def _flux1(transformer: Any, pipe: Any, x: Tensor, s: Tensor, caption: str) -> Tensor:
    h, w = x.shape[-2:]
    states, pooled, ids = pipe.encode_prompt(caption, caption)
    rows = transformer(
        hidden_states=pipe._pack_latents(x, 1, 16, h, w), timestep=s, guidance=torch.ones(1, dtype=x.dtype),
        pooled_projections=pooled.to(x.dtype), encoder_hidden_states=states.to(x.dtype), txt_ids=ids.to(x.dtype),
        img_ids=pipe._prepare_latent_image_ids(1, h // 2, w // 2, x.device, x.dtype), return_dict=False,
    )[0]  # fmt: skip
    return pipe._unpack_latents(rows, h * 8, w * 8, 8)


def _chroma(transformer: Any, pipe: Any, x: Tensor, s: Tensor, caption: str) -> Tensor:
    h, w = x.shape[-2:]
    states, ids, mask, *_ = pipe.encode_prompt(caption, do_classifier_free_guidance=False)
    rows = transformer(
        hidden_states=pipe._pack_latents(x, 1, 16, h, w), timestep=s, encoder_hidden_states=states.to(x.dtype),
        txt_ids=ids.to(x.dtype), img_ids=pipe._prepare_latent_image_ids(1, h // 2, w // 2, x.device, x.dtype),
        attention_mask=pipe._prepare_attention_mask(1, h * w // 4, x.dtype, mask).to(x.dtype), return_dict=False,
    )[0]  # fmt: skip
    return pipe._unpack_latents(rows, h * 8, w * 8, 8)


def _klein(transformer: Any, pipe: Any, x: Tensor, s: Tensor, caption: str) -> Tensor:
    states, ids = pipe.encode_prompt(caption)
    rows = transformer(
        hidden_states=pipe._pack_latents(x), timestep=s, guidance=None, encoder_hidden_states=states.to(x.dtype),
        txt_ids=ids, img_ids=pipe._prepare_latent_ids(x), return_dict=False,
    )[0]  # fmt: skip
    return pipe._unpack_latents_with_ids(rows, pipe._prepare_latent_ids(x))


def _anima(transformer: Any, pipe: Any, x: Tensor, s: Tensor, caption: str) -> Tensor:
    states = pipe(caption)
    transformer.register_to_config(concat_padding_mask=False)  # the padding's channel is given here
    given = torch.cat([x, torch.zeros_like(x[:, :1])], dim=1).unsqueeze(2)
    return transformer(given, s, states.to(x.dtype), return_dict=False)[0].squeeze(2)


def _lumina2(transformer: Any, pipe: Any, x: Tensor, s: Tensor, caption: str) -> Tensor:
    states, mask, *_ = pipe.encode_prompt(caption, do_classifier_free_guidance=False)
    t = (1 - s * 1000 / 1000).expand(1)
    return -transformer(x, t, states.to(x.dtype), mask, return_dict=False)[0]


def _krea2(transformer: Any, pipe: Any, x: Tensor, s: Tensor, caption: str) -> Tensor:
    h, w = x.shape[-2:]
    states, mask = pipe.encode_prompt(caption)
    rows = transformer(
        hidden_states=pipe._pack_latents(x, 1, 16, h, w), encoder_hidden_states=states.to(x.dtype), timestep=s,
        position_ids=pipe.prepare_position_ids(states.shape[1], h // 2, w // 2, x.device),
        encoder_attention_mask=mask, return_dict=False,
    )[0]  # fmt: skip
    return pipe._unpack_latents(rows, h * 8, w * 8).squeeze(2)


def _qwen_image(transformer: Any, pipe: Any, x: Tensor, s: Tensor, caption: str) -> Tensor:
    h, w = x.shape[-2:]
    states, mask = pipe.encode_prompt(caption)
    rows = transformer(
        hidden_states=pipe._pack_latents(x, 1, 16, h, w), timestep=s, guidance=None, encoder_hidden_states_mask=mask,
        encoder_hidden_states=states.to(x.dtype), img_shapes=[[(1, h // 2, w // 2)]], return_dict=False,
    )[0]  # fmt: skip
    return pipe._unpack_latents(rows, h * 8, w * 8, 8).squeeze(2)


def _sd35(transformer: Any, pipe: Any, x: Tensor, s: Tensor, caption: str) -> Tensor:
    states, _, pooled, _ = pipe.encode_prompt(caption, caption, caption, do_classifier_free_guidance=False)
    return transformer(x, states.to(x.dtype), pooled.to(x.dtype), s * 1000, return_dict=False)[0]


DIRECT = {
    "anima": _anima, "z_image": _z_image, "flux1": _flux1, "chroma": _chroma, "klein4b": _klein, "lumina2": _lumina2,
    "krea2": _krea2, "qwen_image": _qwen_image, "sd35_medium": _sd35,
}  # fmt: skip


def pipe_of(world: World) -> Any:
    """The pipeline that encodes captions; for Anima, its two steps one after the other."""
    if world.model.calls.pipeline:
        return world.model.parts
    parts = world.model.parts

    def encode(caption: str) -> Tensor:
        ids, t5_ids = (
            parts.tokenizer([caption], return_tensors="pt"),
            parts.t5_tokenizer([caption], return_tensors="pt"),
        )
        states = parts.text_encoder(input_ids=ids.input_ids, attention_mask=ids.attention_mask).last_hidden_state
        found: Tensor = parts.text_conditioner(states, t5_ids.input_ids, t5_ids.attention_mask, ids.attention_mask)
        return found

    return encode


def batch(model: StandaloneTransformer, x0: Tensor, captions: list[str]) -> MicroBatch:
    return MicroBatch(x0, captions, [], torch.ones(len(x0)), torch.zeros(len(x0), 6))


def test_loss_is_that_of_diffusers_in_float64(world: World) -> None:
    """Captions of different length in one batch, as one has them; nothing of the other shows."""
    model, captions = world.model, [CAPTION, "a girl"]
    x0, noise = latents(model, 3), latents(model, 4)
    drawn = NoiseDraw(SIGMA * 1000, noise, noise)
    with torch.no_grad():
        found = Denoiser(model, TrainConfig(name="a", shuffle=False)).loss(batch(model, x0, captions), drawn)
        x = ((1 - SIGMA)[:, None, None, None] * x0 + SIGMA[:, None, None, None] * noise).double()
        wanted = direct(
            model.family, world.part("transformer", torch.float64), pipe_of(world), x, SIGMA.double(), captions
        )
    loss = (wanted - (noise - x0).double()).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(found.double(), loss, rtol=1e-5, atol=0)


def test_pictures_go_through_the_vae_as_diffusers_has_them(world: World) -> None:
    model, pixels = world.model, torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    config = model.vae.config
    film = hasattr(config, "latents_mean") and config.latents_mean is not None and model.family != "klein4b"
    with torch.no_grad():
        z = model.vae.encode(pixels.unsqueeze(2) if film else pixels).latent_dist.mode()
    if film:
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std))
        wanted = (z.squeeze(2) - mean) / std
    elif model.family == "klein4b":
        wanted = model.parts._encode_vae_image(pixels, torch.Generator())
    else:
        wanted = (z - config.shift_factor) * config.scaling_factor
    found = model.encode_images(pixels)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    one = family(model.family)
    assert found.shape == (1, one.latents.channels, 64 // one.latents.factor, 64 // one.latents.factor)
    assert model.decode_latents(found).shape == pixels.shape


def test_what_is_trained_has_a_gradient_and_nothing_else(world: World) -> None:
    model, one = world.model, family(world.model.family)
    with world.host.training_session():
        network = Network.create(model.layers(), NetworkSpec(rank=2), seed=1)
        x0 = latents(model)
        with network.attached_to(model.layers()):
            drawn = NoiseDraw(SIGMA * 1000, latents(model, 4), latents(model, 4))
            Denoiser(model, TrainConfig(name="a")).loss(batch(model, x0, [CAPTION] * 2), drawn).sum().backward()
    for key, adapter in network.adapters.items():
        assert one.trained.usual.match(key), key
        assert any(p.grad is not None and bool(p.grad.any()) for p in adapter.parameters()), key
    assert not any(re.search("modulation|_mod_|norm|embed|refiner|_in_|final", key) for key in network.adapters)
    idle = {key for key in model.layers() if IDLE.search(key)} if model.family == "qwen_image" else set()
    assert set(network.adapters) == {key for key in model.layers() if one.trained.usual.match(key)} - idle
    assert all(p.grad is None for module in model.modules.values() for p in module.parameters())


CONFIG = dict(
    batch_size=2, resolution=64, bucket_step=16, rank=2, alpha=2.0, max_steps=6, unet_lr=1e-2, te_lr=1e-3, warmup=0.0,
    fixed_loss_images=2, fixed_loss_timesteps=2, sample_every_n_epochs=0, shuffle=False, state_every_n_steps=3,
    save_precision="fp32", gradient_checkpointing=True,
)  # fmt: skip


def trained(world: World, root: Path, name: str, halt: int = 0) -> Path:
    """The file of a run, that stops once, is closed and goes on if ``halt`` says after which step."""
    paths = HostPaths(root / "loras", world.host.paths.checkpoints, root / "runs", world.host.paths.data)
    config = TrainConfig(name=name, data_dir=str(image_folder(root / "set")), **CONFIG)
    run = RunStore(paths.runs).create(config)
    with world.host.training_session() as model:
        if halt:
            events = Trainer(run, model, paths).run()
            for event in events:
                if isinstance(event, StepDone) and event.step == halt:
                    break
            events.close()
        steps = [e for e in Trainer(RunStore(paths.runs).open(run.id), model, paths).run() if isinstance(e, StepDone)]
    assert steps[-1].step == 6
    return paths.loras / f"{name}.safetensors"


def test_a_run_that_was_resumed_ends_as_one_that_was_not_and_diffusers_reads_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: p.clone() for name, p in world.model.transformer.named_parameters()}
    whole = trained(world, tmp_path / "whole", "mira")
    halted = trained(world, tmp_path / "halted", "mira", halt=4)
    first, second = load_file(whole), load_file(halted)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(p, before[name]) for name, p in world.model.transformer.named_parameters())
    file = read_lora(whole)
    assert file.families[0].name == world.model.family and not file.unplaced

    model, x = world.model, latents(world.model)
    with torch.no_grad():
        cond = model.encode_text([CAPTION] * 2)
        with Network.from_file(whole).attached_to(model.layers()):
            ours = model.predict(x, SIGMA * 1000, cond)
        plain = model.predict(x, SIGMA * 1000, cond)
    assert (ours - plain).norm() > 1e-3 * plain.norm()
    loader: Any = getattr(diffusers, model.calls.pipeline) if model.calls.pipeline else _anima_loader()
    name = "_convert_kohya_flux_lora_to_diffusers"
    monkeypatch.setattr(lora_pipeline, name, _of_any_width(getattr(lora_pipeline, name)))
    more = {"network_alphas": None} if world.model.family in ("flux1", "chroma") else {}
    saved_for = convert(file, "diffusers").save(tmp_path / "for diffusers.safetensors", torch.float32)
    for given in (saved_for, *([whole] if model.family in READ_AS_THEY_ARE else [])):
        transformer = world.part("transformer")
        loader.load_lora_into_transformer(_state(loader, given), transformer=transformer, **more)
        with torch.no_grad():
            theirs = direct(model.family, transformer, pipe_of(world), x, SIGMA, [CAPTION] * 2)
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def _of_any_width(convert: Any) -> Any:
    """diffusers' conversion of kohya's names, which has the widths of the real Flux.1 written into it."""
    source = inspect.getsource(convert).replace("[3072, 3072, 3072, 12288]", "[64, 64, 64, 256]")
    space: dict[str, Any] = dict(vars(lora_conversion_utils))
    exec(source, space)
    return space[convert.__name__]


def _state(loader: Any, file: Path) -> dict[str, Tensor]:
    found = loader.lora_state_dict(file)
    state: dict[str, Tensor] = found[0] if isinstance(found, tuple) else found
    return state


def _anima_loader() -> Any:
    from diffusers.loaders.lora_pipeline import AnimaLoraLoaderMixin

    return AnimaLoraLoaderMixin


def test_captions_are_read_once_and_kept_on_the_disk(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    calls: list[str] = []
    encode = world.model.calls.encode

    def counted(pipe: Any, caption: str) -> Any:
        calls.append(caption)
        return encode(pipe, caption)

    monkeypatch.setattr(world.model, "calls", _with(world.model.calls, encode=counted))
    config = TrainConfig(name="a", shuffle=False)
    captions = [CAPTION, "a girl", CAPTION]
    first = Denoiser(world.model, config, tmp_path)
    assert list(first.read(captions)) == [(1, 2), (2, 2)] and calls == [CAPTION, "a girl"]
    assert world.model._away
    again = Denoiser(world.model, config, tmp_path)
    list(again.read(captions))
    assert len(calls) == 2
    torch.testing.assert_close(again._encode(captions, 1, True), world.model.encode_text(captions), rtol=0, atol=0)
    next(tmp_path.glob("*.safetensors")).write_bytes(b"cut off")
    list(Denoiser(world.model, config, tmp_path).read(captions))
    assert len(calls) == 6  # three for the comparison, one for the damaged file
    with world.host.training_session():
        pass
    assert not world.model._away


def _with(calls: Any, **changes: Any) -> Any:
    return replace(calls, **changes)


def test_a_preview_takes_the_steps_of_diffusers_scheduler(world: World) -> None:
    """The same noise through diffusers' flow scheduler with our predictions."""
    model, steps = world.model, 3
    cfg = 3.5 if model.guided else 1.0
    request = GenerationRequest(CAPTION, width=64, height=64, steps=steps, seed=5, cfg=cfg)
    found = world.host.generate([request])[0]
    assert found.size == (64, 64)
    side = 64 // model.latent_factor
    x = torch.randn(model.latent_channels, side, side, generator=torch.Generator().manual_seed(5))[None]
    # Flux.1's shift goes by the resolution
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        shift=model.shift or 1.0, use_dynamic_shifting=not model.shift
    )
    mu = 0.5 + (16 - 256) * (1.15 - 0.5) / (4096 - 256)
    sigmas = torch.linspace(1, 1 / steps, steps).tolist()
    scheduler.set_timesteps(sigmas=sigmas, **({} if model.shift else {"mu": mu}))
    model.guidance = cfg
    with torch.no_grad():
        cond = model.encode_text([CAPTION])
        for t in scheduler.timesteps:
            x = scheduler.step(model.predict(x, t[None], cond), t, x, return_dict=False)[0]
        pixels = (model.decode_latents(x) + 1) * 127.5
    model.guidance = 1.0
    wanted = pixels[0].round().to(torch.uint8).permute(1, 2, 0)
    assert np.abs(np.asarray(found).astype(int) - wanted.numpy().astype(int)).max() <= 3


def test_check_says_what_a_step_costs(world: World, tmp_path: Path) -> None:
    config = TrainConfig(name="mira", data_dir=str(image_folder(tmp_path / "set")), **CONFIG)
    with world.host.training_session() as model:
        found = preflight(config, model, world.host.paths)
    assert found.bytes > found.model_bytes > 0
