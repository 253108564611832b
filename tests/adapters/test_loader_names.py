"""What we write is found by the key maps of the programs that it is said to be for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lib_lora.adapters.file import read_lora, write_lora
from lib_lora.models.families import families, family
from lib_lora.tools.convert import PROGRAMS
from tests.adapters.loader_names import CLIP_LAYERS, a1111_finds, a1111_modules, comfy_finds, ldm_unet
from tests.adapters.test_families_merge import LAYERS

UNETS = {
    "sd1": list(ldm_unet((1, 2, 4, 4), (1, 1, 1, 0))),
    "sd2": list(ldm_unet((1, 2, 4, 4), (1, 1, 1, 0))),
    "sdxl": list(ldm_unet((1, 2, 4), (0, 2, 10), sized=True)),
}
TEXT = {"sd1": (("lora_te_", 12),), "sd2": (("lora_te_", 23),), "sdxl": (("lora_te1_", 12), ("lora_te2_", 32))}


def keys_of(name: str) -> dict[str, str]:
    """Our key of every layer that may be trained -> its path in ldm's U-Net, "" in a text encoder."""
    names = family(name).names
    found = {place.key: path for path in UNETS[name] if (place := names.place(path.replace(".", "_")))}
    text = {f"{start}text_model_encoder_layers_{n}_{part}": "" for start, count in TEXT[name] for n in range(count)
            for part in CLIP_LAYERS}  # fmt: skip
    return {**found, **text}


@pytest.mark.parametrize("name", UNETS)
def test_every_layer_of_a_u_net_has_a_key(name: str) -> None:
    unet = [path for path in keys_of(name).values() if path]
    assert sorted(unet) == sorted(UNETS[name])


@pytest.mark.parametrize("name", UNETS)
def test_a1111_and_forge_put_each_layer_where_it_belongs(name: str) -> None:
    modules = a1111_modules(UNETS[name], name)
    found = {key: a1111_finds(key, modules, sd2=name == "sd2") for key in keys_of(name)}
    assert [key for key, module in found.items() if not module] == []
    wrong = {
        key: module
        for key, module in found.items()
        if (path := keys_of(name)[key]) and module != f"diffusion_model_{path.replace('.', '_')}"
    }
    assert wrong == {}


@pytest.mark.parametrize("name", UNETS)
def test_comfyui_and_neo_know_each_layer(name: str) -> None:
    of_diffusers = {family(name).names.to_diffusers(path) for path in UNETS[name]}
    assert [key for key in keys_of(name) if not comfy_finds(key, set(UNETS[name]), of_diffusers)] == []


TRANSFORMERS = [
    name for name in LAYERS if "Forge Neo" in family(name).programs and "AUTOMATIC1111" not in family(name).programs
]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_comfyui_and_neo_know_the_layers_of_a_transformer(tmp_path: Path, name: str) -> None:
    """By the original code's own paths, whatever the file called them that we read."""
    raw = set(LAYERS[name])
    for spelled in (raw, {part for other in LAYERS[name].values() for part in other.split()}):
        tensors = {
            f"transformer.{path}.{part}": torch.ones(shape)
            for path in spelled
            for part, shape in (("lora_A.weight", (2, 12)), ("lora_B.weight", (12, 2)))
        }
        path = write_lora(tmp_path / "a.safetensors", read(tmp_path, tensors), {}, overwrite=True)
        assert [key for key in read_lora(path).modules if not comfy_finds(key, raw)] == []


def read(folder: Path, tensors: dict[str, torch.Tensor]) -> Mapping[str, Mapping[str, torch.Tensor]]:
    save_file(tensors, folder / "theirs.safetensors")
    return read_lora(folder / "theirs.safetensors").modules


@pytest.mark.parametrize(
    "key",
    ["lora_te1_text_model_encoder_layers_11_mlp_fc1", "lora_te3_encoder_block_23_layer_0_SelfAttention_q",
     "lora_te_layers_3_self_attn_q_proj"],
)  # fmt: skip
def test_text_encoders_of_transformers_are_known_by_our_names(key: str) -> None:
    beginnings = {ours for one in families().values() for _, ours in one.text_encoders.values()}
    assert comfy_finds(key, set()) and key.startswith(tuple(beginnings))


@pytest.mark.parametrize(
    "spelled",
    ["diffusion_model.llm_adapter.blocks.0.mlp.2", "text_encoders.qwen3_06b.llm_adapter.blocks.0.mlp.2",
     "lora_unet_llm_adapter_blocks_0_mlp_2", "lora_te_llm_adapter_blocks_0_mlp_2"],
)  # fmt: skip
def test_animas_adapter_is_written_as_all_loaders_read_it(tmp_path: Path, spelled: str) -> None:
    """ComfyUI has it in the transformer; Neo, in whose text encoder it is, renames it itself."""
    tensors = {
        f"{path}.{part}": torch.ones(shape)
        for path in (spelled, "diffusion_model.blocks.0.adaln_modulation_mlp.1", "diffusion_model.blocks.0.mlp.layer1")
        for part, shape in (("lora_down.weight", (2, 12)), ("lora_up.weight", (12, 2)))
    }
    modules = read(tmp_path, tensors)
    assert "lora_unet_llm_adapter_blocks_0_mlp_2" in modules
    assert comfy_finds("lora_unet_llm_adapter_blocks_0_mlp_2", {"llm_adapter.blocks.0.mlp.2"})
    assert family("anima").block_of("lora_unet_llm_adapter_blocks_0_mlp_2") == "TE"


def test_what_a_program_has_no_place_for_is_not_found() -> None:
    sd1 = a1111_modules(UNETS["sd1"], "sd1")
    assert a1111_finds("lora_unet_conv_norm_out", sd1) == ""
    assert a1111_finds("lora_unet_double_blocks_0_img_attn_proj", sd1) == ""
    assert not comfy_finds("lora_te_text_model_embeddings", set())
    runs = {program for one in PROGRAMS.values() for program in one.runs}
    assert runs <= {program for one in families().values() for program in one.programs}
