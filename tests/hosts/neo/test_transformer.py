"""A transformer in Neo's engine: its own code encodes and predicts, and both are as they were afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_lora.adapters.file import read_lora
from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest
from lib_lora.training.config import TrainConfig
from lib_lora.training.events import StepDone
from lib_lora.training.run_store import RunStore
from lib_lora.training.trainer import Trainer
from tests.training.worlds import image_folder

WIDTH, CONTEXT, LENGTH, SUMMARY = 16, 8, 6, 5


def told() -> Any:
    """What Neo's parts tell each other; its double is there within a test only."""
    return sys.modules["backend.args"].dynamic_args


def attention_function(q: Tensor, k: Tensor, v: Tensor, heads: int, **_: Any) -> Tensor:
    """One without a backward pass, as several of Neo's."""
    with torch.no_grad():
        return F.scaled_dot_product_attention(q, k, v).to(q.dtype)


class Attention(nn.Module):
    def __init__(self, context: int):
        super().__init__()
        self.q_proj, self.output_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.k_proj, self.v_proj = nn.Linear(context, WIDTH), nn.Linear(context, WIDTH)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = self.q_proj(x), self.k_proj(context), self.v_proj(context)
        return self.output_proj(attention_function(q, k, v, 1))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.cross_attn = Attention(WIDTH), Attention(CONTEXT)
        self.mlp = nn.ModuleDict({"layer1": nn.Linear(WIDTH, WIDTH), "layer2": nn.Linear(WIDTH, WIDTH)})
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.adaln_modulation_mlp = nn.Sequential(nn.SiLU(), nn.Linear(1, WIDTH), nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        x = x + self.self_attn(x, x)
        x = x + self.cross_attn(x, context)
        return x + self.adaln_modulation_mlp(t) * self.mlp["layer2"](self.mlp["layer1"](self.norm(x)))


class Anima(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x_embedder = nn.ModuleDict({"proj": nn.Sequential(nn.Identity(), nn.Linear(16, WIDTH))})
        self.blocks = nn.ModuleList([Block(), Block()])
        self.final_layer = nn.ModuleDict({"linear": nn.Linear(WIDTH, 16)})

    def forward(self, x: Tensor, t: Tensor, context: Tensor, **_: Any) -> Tensor:
        b, c, _, h, w = x.shape
        rows = self.x_embedder["proj"](x.flatten(2).transpose(1, 2))
        for block in self.blocks:
            rows = block(rows, t.reshape(b, 1, 1), context)
        return self.final_layer["linear"](rows).transpose(1, 2).reshape(b, c, 1, h, w)


class Joint(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)


class DoubleStreamBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name in ("img", "txt"):
            self.add_module(f"{name}_mod", nn.ModuleDict({"lin": nn.Linear(WIDTH, 6 * WIDTH)}))
            self.add_module(f"{name}_attn", Joint())
            self.add_module(f"{name}_mlp", nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH)))
            for number in "12":
                self.add_module(f"{name}_norm{number}", nn.LayerNorm(WIDTH, elementwise_affine=False))

    def forward(self, img: Tensor, txt: Tensor, vec: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.cat([self.txt_attn.qkv(self.txt_norm1(txt)), self.img_attn.qkv(self.img_norm1(img))], 1)
        attended = attention_function(*rows.chunk(3, dim=-1), 1)
        length = txt.shape[1]
        img += self.img_attn.proj(attended[:, length:]) * vec  # in place, as Neo's
        img += self.img_mlp(self.img_norm2(img))
        txt += self.txt_attn.proj(attended[:, :length])
        txt += self.txt_mlp(self.txt_norm2(txt))
        return img, txt


class SingleStreamBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.modulation = nn.ModuleDict({"lin": nn.Linear(WIDTH, 3 * WIDTH)})
        self.pre_norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.linear1, self.linear2 = nn.Linear(WIDTH, 7 * WIDTH), nn.Linear(5 * WIDTH, WIDTH)

    def forward(self, x: Tensor, vec: Tensor) -> Tensor:
        rows = self.linear1(self.pre_norm(x))
        attended = attention_function(*rows[..., : 3 * WIDTH].chunk(3, dim=-1), 1)
        x += self.linear2(torch.cat([attended, rows[..., 3 * WIDTH :]], -1)) * vec
        return x


class IntegratedFluxTransformer2DModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.img_in, self.txt_in = nn.Linear(64, WIDTH), nn.Linear(CONTEXT, WIDTH)
        self.vector_in = nn.ModuleDict({"in_layer": nn.Linear(SUMMARY, WIDTH), "out_layer": nn.Linear(WIDTH, WIDTH)})
        self.vector_in.in_layer, self.vector_in.out_layer = self.vector_in["in_layer"], self.vector_in["out_layer"]
        self.double_blocks = nn.ModuleList([DoubleStreamBlock(), DoubleStreamBlock()])
        self.single_blocks = nn.ModuleList([SingleStreamBlock()])
        self.final_layer = nn.ModuleDict({"linear": nn.Linear(WIDTH, 64)})

    def forward(self, x: Tensor, t: Tensor, context: Tensor, y: Tensor, guidance: Tensor, **_: Any) -> Tensor:
        img, txt = self.img_in(F.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)), self.txt_in(context)
        vec = (self.vector_in.in_layer(y) * t[:, None] + guidance[:, None] + len(told().ref_latents))[:, None]
        for block in self.double_blocks:
            img, txt = block(img=img, txt=txt, vec=vec)
        img = torch.cat((txt, img), 1)
        for block in self.single_blocks:
            img = block(img, vec=vec)
        out = self.final_layer["linear"](img[:, txt.shape[1] :]).transpose(1, 2)
        return F.pixel_shuffle(out.unflatten(2, (x.shape[2] // 2, x.shape[3] // 2)), 2)


def encode(texts: list[str]) -> list[Tensor]:
    with torch.inference_mode():
        drawn = torch.Generator().manual_seed(sum(map(ord, texts[0])))
        return [torch.randn(1, LENGTH, CONTEXT, generator=drawn)]


@pytest.fixture
def engine(webui: Any) -> Iterator[Any]:
    """The web UI's engine with a narrow Anima in it."""
    webui.host.ensure_loaded()
    engine = webui.sd_model
    model = engine.forge_objects_original.unet.model
    torch.manual_seed(0)
    model.diffusion_model = Anima().eval().requires_grad_(False)
    model.predictor.prediction_type = "const"
    model.predictor.timestep = lambda sigma: sigma
    engine.is_wan = True
    engine.get_learned_conditioning = encode
    engine.get_prompt_lengths_on_ui = lambda text: (len(text.split()), 512)
    engine.encode_first_stage = lambda x: F.avg_pool2d(x, 8).mean(1, keepdim=True).repeat(1, 16, 1, 1).unsqueeze(2)
    engine.decode_first_stage = lambda z: F.interpolate(z[:, :3, 0], scale_factor=8).unsqueeze(1)
    yield SimpleNamespace(engine=engine, host=webui.host, transformer=model.diffusion_model)


def test_a_run_on_anima(engine: Any, tmp_path: Path) -> None:
    host = engine.host
    assert (host.info().family, host.info().prediction) == ("anima", "flow")
    before = [p.clone() for p in engine.transformer.parameters()]
    x, sigma = torch.randn(2, 16, 8, 8), torch.tensor([0.3, 0.8])
    told = encode(["a girl \\(blue\\)"])[0].clone()
    theirs = engine.transformer(x.unsqueeze(2), sigma, told).squeeze(2)
    config = TrainConfig(
        name="mira", data_dir=str(image_folder(tmp_path / "set")), batch_size=2, resolution=64, bucket_step=16, rank=2,
        max_steps=4, shuffle=False, fixed_loss_images=2, fixed_loss_timesteps=2, sample_every_n_epochs=0,
        gradient_checkpointing=True,
    )  # fmt: skip
    run = RunStore(host.paths.runs).create(config)
    with host.training_session() as model:
        cond = model.encode_text(["a girl (blue)"])
        assert torch.equal(cond[..., :-1], told) and model.token_count("a girl") == 2
        with torch.no_grad():
            assert torch.equal(model.predict(x, sigma * 1000, cond.expand(2, -1, -1)), theirs)
        steps = [e for e in Trainer(run, model, host.paths).run() if isinstance(e, StepDone)]
        pixels = torch.rand(1, 3, 64, 64)
        latents = model.encode_images(pixels)
        assert latents.shape == (1, 16, 8, 8) and model.decode_latents(latents).shape == pixels.shape
    assert len(steps) == 4
    assert all(torch.equal(p, q) for p, q in zip(engine.transformer.parameters(), before, strict=True))
    file = read_lora(host.paths.loras / "mira.safetensors")
    assert file.families[0].name == "anima" and not file.unplaced
    trained = {key for key, params in file.modules.items() if params["lora_up.weight"].any()}
    wanted = {f"{part}_attn_{x}_proj" for part in ("self", "cross") for x in ("q", "k", "v", "output")}
    wanted |= {"mlp_layer1", "mlp_layer2"}
    assert trained == {f"lora_unet_blocks_{n}_{name}" for n in range(2) for name in wanted} == set(file.modules)


@pytest.fixture
def flux(engine: Any) -> Any:
    """The web UI's engine with a narrow Flux.1, and pictures that the user's next image refers to."""
    own = engine.engine
    torch.manual_seed(0)
    transformer = IntegratedFluxTransformer2DModel().eval().requires_grad_(False)
    own.forge_objects_original.unet.model.diffusion_model = transformer
    own.is_wan, own.use_distilled_cfg_scale = False, True

    def conditioning(prompt: Any) -> dict[str, Tensor]:
        assert not prompt.is_negative_prompt
        told().ref_latents = [*own.ref_latents]
        with torch.inference_mode():
            states = encode(prompt)[0]
            return {"crossattn": states, "vector": states[:, 0, :SUMMARY] * 2, "guidance": torch.tensor([3.5])}

    def encoded(x: Tensor) -> Tensor:
        own.ini_latent = F.avg_pool2d(x, 8).mean(1, keepdim=True).repeat(1, 16, 1, 1)
        return own.ini_latent

    own.get_learned_conditioning, own.encode_first_stage = conditioning, encoded
    own.decode_first_stage = lambda z: F.interpolate(z[:, :3], scale_factor=8)
    own.ref_latents, own.ini_latent, told().ref_latents = ["kept"], "kept too", ["kept", "kept too"]
    yield SimpleNamespace(engine=own, host=engine.host, transformer=transformer)
    told().ref_latents = []


def test_a_run_on_flux_leaves_what_the_next_image_refers_to(flux: Any, tmp_path: Path) -> None:
    host = flux.host
    assert (host.info().family, host.info().prediction) == ("flux1", "flow")
    x, sigma = torch.randn(2, 16, 8, 8), torch.tensor([0.3, 0.8])
    states = encode(["a girl"])[0].clone()
    references, told().ref_latents = told().ref_latents, []
    theirs = flux.transformer(
        x, sigma, states.expand(2, -1, -1), states[:, 0, :SUMMARY].expand(2, -1) * 2, torch.ones(2)
    )
    told().ref_latents = references
    config = TrainConfig(
        name="mira", data_dir=str(image_folder(tmp_path / "set")), batch_size=2, resolution=64, bucket_step=16, rank=2,
        max_steps=3, shuffle=False, fixed_loss_images=0, sample_every_n_epochs=0, gradient_checkpointing=True,
    )  # fmt: skip
    run = RunStore(host.paths.runs).create(config)
    with host.training_session() as model:
        cond = model.encode_text(["a girl"]).expand(2, -1, -1)
        with torch.no_grad():
            assert torch.equal(model.predict(x, sigma * 1000, cond), theirs)
        steps = [e for e in Trainer(run, model, host.paths).run() if isinstance(e, StepDone)]
        assert model.encode_images(torch.rand(1, 3, 64, 64)).shape == (1, 16, 8, 8)
        network = Network.from_file(host.paths.loras / "mira.safetensors")
        with network.attached_to(model.layers()):
            gradients = []
            for checkpointing in (False, True):
                model.gradient_checkpointing(checkpointing)
                model.predict(x, sigma * 1000, cond).square().mean().backward()
                gradients.append([p.grad.clone() for p in network.parameters()])
                for parameter in network.parameters():
                    parameter.grad = None
            model.gradient_checkpointing(False)
    assert len(steps) == 3 and len(network.adapters) == 18
    assert all(bool(g.any()) for g in gradients[0])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert flux.engine.ref_latents == ["kept"] and flux.engine.ini_latent == "kept too"
    assert told().ref_latents is references and references == ["kept", "kept too"]


def test_a_transformer_that_overwrites_what_gradients_need_is_refused(engine: Any) -> None:
    class SomeTransformer(Anima):
        pass

    engine.engine.forge_objects_original.unet.model.diffusion_model = SomeTransformer()
    with pytest.raises(UserError, match="Anima cannot be trained in this web UI yet"), engine.host.training_session():
        pass


def test_a_u_net_that_flows_is_taken_for_one(webui: Any) -> None:
    """Forge says "const" for NoobAI-RF and the like."""
    webui.host.ensure_loaded()
    webui.sd_model.forge_objects_original.unet.model.predictor.prediction_type = "const"
    assert (webui.host.info().family, webui.host.info().prediction) == ("sd1", "flow")
    with webui.host.training_session() as model:
        x = torch.ones(1, 4, 8, 8)
        assert model.prediction == "flow"
        noisy = model.schedule.add_noise(x, 3 * x, torch.tensor([250.0]))
        assert torch.allclose(noisy, 1.5 * x) and torch.equal(model.schedule.target("flow", x, 3 * x, None), 2 * x)


def test_a_u_net_that_flows_is_drawn_by_a_schedule_that_works(webui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neo's own for it ends twice at 0, and its pictures are black; one that the request names is left alone."""
    made, plain = [], webui.modules.processing.StableDiffusionProcessingTxt2Img
    monkeypatch.setattr(
        webui.modules.processing,
        "StableDiffusionProcessingTxt2Img",
        lambda **what: made.append(what["scheduler"]) or plain(**what),
    )
    webui.host.ensure_loaded()
    predictor = webui.sd_model.forge_objects_original.unet.model.predictor
    for predicts, sampler in (("epsilon", "Euler"), ("const", "Euler"), ("const", "Euler Karras")):
        predictor.prediction_type = predicts
        webui.host.generate([GenerationRequest("1girl", width=64, height=64, steps=1, sampler=sampler)])
    assert made == ["Automatic", "Normal", "Karras"]
