"""Merges of LoRAs of every family, in every spelling, against dense float64; and into checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lib_lora.adapters import Network, read_lora
from lib_lora.adapters.blocks import BlockWeights
from lib_lora.adapters.checkpoint import merge_into_checkpoint
from lib_lora.adapters.extract import Extraction, extract
from lib_lora.adapters.file import to_delta
from lib_lora.adapters.loaders import read_by
from lib_lora.adapters.merge import combine
from lib_lora.errors import UserError
from lib_lora.models.families import families, family
from lib_lora.models.family import Family

WIDTH, RANK = 12, 2

# Families -> layers by the original code's path, and by another program's: one that is split there has several names.
LAYERS: dict[str, dict[str, str]] = {
    "sd1": {
        f"input_blocks.1.1.transformer_blocks.0.{x}": f"down_blocks.0.attentions.0.transformer_blocks.0.{x}"
        for x in ("attn1.to_q", "attn2.to_k", "ff.net.2")
    },
    "sdxl": {
        "input_blocks.7.1.transformer_blocks.9.ff.net.2": "down_blocks.2.attentions.0.transformer_blocks.9.ff.net.2",
        "output_blocks.3.1.proj_in": "up_blocks.1.attentions.0.proj_in",
    },
    "flux1": {
        "double_blocks.3.img_attn.qkv": " ".join(f"transformer_blocks.3.attn.to_{x}" for x in "qkv"),
        "double_blocks.3.txt_mlp.0": "transformer_blocks.3.ff_context.net.0.proj",
        "double_blocks.18.img_mod.lin": "transformer_blocks.18.norm1.linear",
        "single_blocks.37.linear2": "single_transformer_blocks.37.proj_out",
    },
    "chroma": {
        "double_blocks.3.txt_attn.qkv": " ".join(f"transformer_blocks.3.attn.add_{x}_proj" for x in "qkv"),
        "distilled_guidance_layer.layers.0.in_layer": "distilled_guidance_layer.layers.0.linear_1",
    },
    "klein4b": {
        "double_blocks.4.img_attn.qkv": " ".join(f"transformer_blocks.4.attn.to_{x}" for x in "qkv"),
        "double_blocks.0.img_mlp.2": "transformer_blocks.0.ff.linear_out",
        "single_blocks.19.linear1": "single_transformer_blocks.19.attn.to_qkv_mlp_proj",
        "single_stream_modulation.lin": "single_stream_modulation.linear",
    },
    "z_image": {
        "layers.29.attention.qkv": " ".join(f"layers.29.attention.to_{x}" for x in "qkv"),
        "layers.2.attention.out": "layers.2.attention.to_out.0",
        "layers.2.adaLN_modulation.0": "layers.2.adaLN_modulation.0",
        "noise_refiner.1.feed_forward.w1": "noise_refiner.1.feed_forward.w1",
    },
    "lumina2": {
        "layers.25.attention.out": "layers.25.attn.to_out.0",
        "layers.25.feed_forward.w3": "layers.25.feed_forward.linear_3",
        "layers.1.adaLN_modulation.1": "layers.1.norm1.linear",
    },
    "anima": {name: name for name in ("blocks.27.cross_attn.output_proj", "blocks.0.mlp.layer1")},
    "krea2": {
        "blocks.27.attn.wq": "transformer_blocks.27.attn.to_q",
        "blocks.3.mlp.gate": "transformer_blocks.3.ff.gate",
        "txtfusion.projector": "text_fusion.projector",
    },
    "qwen_image": {
        name: name for name in ("transformer_blocks.59.attn.add_q_proj", "transformer_blocks.0.img_mlp.net.2")
    },
    "sd35_medium": {
        "joint_blocks.23.x_block.attn2.qkv": " ".join(f"transformer_blocks.23.attn2.to_{x}" for x in "qkv"),
        "joint_blocks.3.context_block.mlp.fc1": "transformer_blocks.3.ff_context.net.0.proj",
    },
}
LAYERS["sd2"] = LAYERS["sd1"]
LAYERS["klein9b"] = {
    **LAYERS["klein4b"],
    "double_blocks.7.txt_attn.qkv": " ".join(f"transformer_blocks.7.attn.add_{x}_proj" for x in "qkv"),
    "single_blocks.23.linear2": "single_transformer_blocks.23.attn.to_out",
}
LAYERS["flux2dev"] = {
    **LAYERS["klein9b"],
    "single_blocks.47.linear1": "single_transformer_blocks.47.attn.to_qkv_mlp_proj",
    "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
}
LAYERS["anima40"] = {name: name for name in ("blocks.39.self_attn.q_proj", "blocks.28.mlp.layer2")}
LAYERS["sd35_large"] = {
    "joint_blocks.37.x_block.attn.qkv": " ".join(f"transformer_blocks.37.attn.to_{x}" for x in "qkv"),
    "joint_blocks.30.context_block.mlp.fc2": "transformer_blocks.30.ff_context.net.2",
}
LAYERS |= {
    name: {
        f"input_blocks.{block}.1.transformer_blocks.{last}.ff.net.2": f"down_blocks.{level}.attentions.{n}."
        f"transformer_blocks.{last}.ff.net.2"
        for block, level, n, last in blocks
    }
    for name, blocks in {"ssd1b": ((7, 2, 0, 3), (5, 1, 1, 1)), "vega": ((7, 2, 0, 1), (5, 1, 1, 0))}.items()
}


def written(path: Path, layers: dict[str, str], spelling: str, seed: int) -> tuple[Path, dict[str, Tensor]]:
    """A LoRA file, and the dense ΔW of each layer by its path in the original code, float64."""
    tensors: dict[str, Tensor] = {}
    dense: dict[str, Tensor] = {}
    g = torch.Generator().manual_seed(seed)
    for raw, other in layers.items():
        names = [raw] if spelling.startswith("raw") else other.split()
        height = WIDTH * len(other.split()) // len(names)
        parts = []
        for name in names:
            up, down = torch.randn(height, RANK, generator=g), torch.randn(RANK, WIDTH, generator=g)
            alpha = 2.0 * RANK if spelling != "other.dots" else float(RANK)
            if spelling.endswith("dots"):
                root = "diffusion_model." if spelling == "raw.dots" else "transformer."
                tensors |= {f"{root}{name}.lora_B.weight": up, f"{root}{name}.lora_A.weight": down}
                tensors |= {f"{root}{name}.alpha": torch.tensor(alpha)} if alpha != RANK else {}
            else:
                key = f"lora_unet_{name.replace('.', '_')}"
                tensors |= {
                    f"{key}.lora_up.weight": up,
                    f"{key}.lora_down.weight": down,
                    f"{key}.alpha": torch.tensor(alpha),
                }
            parts.append(up.double() @ down.double() * (alpha / RANK))
        dense[raw] = torch.cat(parts)
    save_file(tensors, path)
    return path, dense


def of_family(one: Family, raw: str) -> str:
    place = one.place(f"lora_unet_{raw.replace('.', '_')}")
    assert place is not None and place.parts == 1
    return place.key


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("first", "second"), [("raw", "other.dots"), ("other", "raw.dots")])
def test_merges_are_true(tmp_path: Path, name: str, first: str, second: str) -> None:
    one = family(name)
    a, dense_a = written(tmp_path / "a.safetensors", LAYERS[name], first, 1)
    b, dense_b = written(tmp_path / "b.safetensors", LAYERS[name], second, 2)
    files = read_lora(a), read_lora(b)
    assert all(one in file.families and not file.unplaced for file in files)
    weights = BlockWeights(one, {block: 0.1 + i / 40 for i, block in enumerate(one.blocks.names)})
    for wa, wb in ((1.0, -1.0), (0.25, 0.75), (-0.5, 2.0)):
        merged = combine([(files[0], wa, weights), (files[1], wb, None)])
        assert len(merged.modules) == len(LAYERS[name])
        assert one.predictions != ("flow",) or merged.file().family.marking.fits(merged.metadata)
        for raw in LAYERS[name]:
            key = of_family(one, raw)
            wanted = wa * weights[one.block_of(key)] * dense_a[raw] + wb * dense_b[raw]
            found = to_delta(merged.modules[key]).dense().double()
            assert (found - wanted).norm() <= 1e-6 * wanted.norm(), (raw, wa, wb)


def checkpoint(path: Path, layers: dict[str, str], split: bool, seed: int = 7) -> tuple[Path, dict[str, Tensor]]:
    """A checkpoint with these layers, by the original code's names or by diffusers', and its weights by the former."""
    g = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    whole: dict[str, Tensor] = {}
    for raw, other in layers.items():
        whole[raw] = torch.randn(WIDTH * len(other.split()), WIDTH, generator=g)
        names = other.split() if split else [f"model.diffusion_model.{raw}"]
        tensors |= {
            f"{name}.weight": part.clone() for name, part in zip(names, whole[raw].chunk(len(names)), strict=True)
        }
    save_file(tensors, path)
    return path, whole


@pytest.mark.parametrize("name", ["flux1", "klein4b", "z_image", "anima", "krea2", "sd35_medium"])
@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
def test_into_a_checkpoint_and_out_of_two(tmp_path: Path, name: str, split: bool) -> None:
    one = family(name)
    base, weights = checkpoint(tmp_path / "base.safetensors", LAYERS[name], split)
    lora, dense = written(tmp_path / "lora.safetensors", LAYERS[name], "other.dots", 3)
    file = read_lora(lora)
    assert merge_into_checkpoint(base, [(file, 0.5, None)], tmp_path / "out.safetensors") == []
    merged = load_file(tmp_path / "out.safetensors")
    assert merged.keys() == load_file(base).keys()
    for raw, other in LAYERS[name].items():
        names = other.split() if split else [f"model.diffusion_model.{raw}"]
        found = torch.cat([merged[f"{part}.weight"] for part in names]).double()
        assert torch.allclose(found, weights[raw].double() + 0.5 * dense[raw], atol=1e-5)
    again = extract(tmp_path / "out.safetensors", base, Extraction(rank=WIDTH))
    for key, params in again.modules.items():
        raw = next(raw for raw in LAYERS[name] if of_family(one, raw) == key)
        assert torch.allclose(to_delta(params).dense().double(), 0.5 * dense[raw], atol=1e-4)
    assert again.modules, "nothing that trainers adapt is in this checkpoint"


def test_parts_that_are_missing_are_not_changed(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    up, down = torch.randn(8, 2, generator=g).half(), torch.randn(2, 8, generator=g).half()
    path = "transformer.single_transformer_blocks.0"
    tensors = {f"{path}.attn.to_k.lora_B.weight": up, f"{path}.attn.to_k.lora_A.weight": down}
    save_file(tensors, tmp_path / "k.safetensors")
    params = read_lora(tmp_path / "k.safetensors").modules["lora_unet_single_blocks_0_linear1"]
    assert params["lora_up.weight"].dtype == torch.float16
    wanted = torch.zeros(8 * 7, 8)
    wanted[8:16] = up.float() @ down.float()
    assert torch.equal(to_delta(params).dense(), wanted)


def test_other_algorithms_are_joined_too(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    drawn = {x: (torch.randn(2, 2, generator=g), torch.randn(4, 4, generator=g)) for x in "qkv"}
    tensors = {
        f"lycoris_transformer_blocks_0_attn_to_{x}.{name}": tensor
        for x, pair in drawn.items()
        for name, tensor in zip(("lokr_w1", "lokr_w2"), pair, strict=True)
    }
    save_file(tensors, tmp_path / "lokr.safetensors")
    file = read_lora(tmp_path / "lokr.safetensors")
    assert file.lost == 0
    found = to_delta(file.modules["lora_unet_double_blocks_0_img_attn_qkv"]).dense()
    assert torch.allclose(found, torch.cat([torch.kron(*drawn[x]) for x in "qkv"]), atol=1e-6)


def test_layers_without_a_place_are_counted(tmp_path: Path) -> None:
    path, _ = written(
        tmp_path / "a.safetensors", LAYERS["flux1"] | {"double_blocks.3.odd": "double_blocks.3.odd"}, "raw", 1
    )
    file = read_lora(path)
    assert (file.lost, len(file.modules)) == (1, len(LAYERS["flux1"]))


def test_anima_of_28_blocks_fits_the_one_of_40(tmp_path: Path) -> None:
    small = {f"blocks.{n}.mlp.layer1": "x" for n in range(28)}
    large = {f"blocks.{n}.mlp.layer1": "x" for n in range(40)}
    a, dense_a = written(tmp_path / "a.safetensors", small, "raw", 1)
    b, dense_b = written(tmp_path / "b.safetensors", large, "raw", 2)
    merged = combine([(read_lora(a), 1.0, None), (read_lora(b), -1.0, None)])
    assert len(merged.modules) == 40
    for n, source in enumerate(family("anima40").adopts["anima"]):
        found = to_delta(merged.modules[f"lora_unet_blocks_{n}_mlp_layer1"]).dense().double()
        wanted = dense_a[f"blocks.{source}.mlp.layer1"] - dense_b[f"blocks.{n}.mlp.layer1"]
        assert (found - wanted).norm() <= 1e-6 * wanted.norm()
    layers = {f"lora_unet_blocks_{n}_mlp_layer1": torch.nn.Linear(WIDTH, WIDTH, bias=False) for n in range(40)}
    x = torch.randn(1, WIDTH)
    plain = layers["lora_unet_blocks_39_mlp_layer1"](x)
    with Network.from_file(a).attached_to(layers) as report:
        assert len(report.matched) == 40 and not report.missing
        changed = layers["lora_unet_blocks_39_mlp_layer1"](x) - plain
    assert torch.allclose(changed.double(), x.double() @ dense_a["blocks.27.mlp.layer1"].T, atol=1e-4)


def test_families_never_mix(tmp_path: Path) -> None:
    files = {name: read_lora(written(tmp_path / f"{name}.safetensors", LAYERS[name], "raw", 1)[0]) for name in LAYERS}
    for name, file in files.items():
        for other in (one for one in files.values() if not set(one.families) & set(file.families)):
            with pytest.raises(UserError, match=rf"{name} is for {re.escape(file.family.label)}.*{other.name} is for"):
                combine([(file, 1.0, None), (other, 1.0, None)])
    base, _ = checkpoint(tmp_path / "base.safetensors", LAYERS["z_image"], False)
    with pytest.raises(UserError, match=r"Krea 2.*Z-Image"):
        merge_into_checkpoint(base, [(files["krea2"], 1.0, None)], tmp_path / "out.safetensors")
    layers = {of_family(family("z_image"), raw): torch.nn.Linear(WIDTH, WIDTH) for raw in LAYERS["z_image"]}
    with pytest.raises(UserError, match=r"Flux\.1.*Z-Image"):
        Network.from_file(files["flux1"]).attach(layers)


def test_every_family_is_here() -> None:
    assert set(families()) == set(LAYERS)


def test_it_is_said_who_reads_a_file() -> None:
    assert "AUTOMATIC1111, Forge, Forge Neo and ComfyUI read it" in read_by(family("sdxl"))
    assert "Flux.1: Forge, Forge Neo and ComfyUI read it" in read_by(family("flux1"))
