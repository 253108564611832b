"""The names of layers that Forge Neo and ComfyUI read, as their own transformers and key maps have them.

``LAYERS``: all layers with a weight matrix of Forge Neo's ``backend/nn/{flux,chroma,lumina,anima,qwen,krea}.py``
(Haoming02/sd-webui-forge-classic at 5692d2d, its classes built narrow and asked for their tensors), list of blocks ->
layers in each; "" has those outside. These are the original code's names, which ComfyUI's ``comfy/ldm`` has too. Both
programs call a layer ``lora_unet_`` and its path with underscores (``model_lora_keys_unet`` in Neo's
``modules_forge/packages/comfy/lora.py`` and in ComfyUI's ``comfy/lora.py``).

``ELSEWHERE``: what Neo's ``flux_to_diffusers``, ``z_image_to_diffusers`` and ``krea2_to_diffusers`` (ComfyUI's, in
``comfy/utils.py``) make of diffusers' names at the real widths: their list and layer, our list and layer, and the rows
where theirs is a part of ours.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lib_lora.adapters.diffusers_names import module_paths
from lib_lora.adapters.file import write_lora
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.models.dit import flat
from lib_lora.models.families import family
from lib_lora.models.family import UNET

LAYERS: dict[str, dict[str, str]] = {
    "flux1": {
        "": (
            "img_in time_in.in_layer time_in.out_layer vector_in.in_layer vector_in.out_layer guidance_in.in_layer "
            "guidance_in.out_layer txt_in final_layer.linear final_layer.adaLN_modulation.1"
        ),
        "double_blocks": (
            "img_mod.lin img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_mod.lin txt_attn.qkv txt_attn.proj "
            "txt_mlp.0 txt_mlp.2"
        ),
        "single_blocks": "linear1 linear2 modulation.lin",
    },
    "chroma": {
        "": (
            "img_in txt_in distilled_guidance_layer.in_proj distilled_guidance_layer.layers.0.in_layer "
            "distilled_guidance_layer.layers.0.out_layer distilled_guidance_layer.layers.1.in_layer "
            "distilled_guidance_layer.layers.1.out_layer distilled_guidance_layer.layers.2.in_layer "
            "distilled_guidance_layer.layers.2.out_layer distilled_guidance_layer.layers.3.in_layer "
            "distilled_guidance_layer.layers.3.out_layer distilled_guidance_layer.layers.4.in_layer "
            "distilled_guidance_layer.layers.4.out_layer distilled_guidance_layer.out_proj final_layer.linear"
        ),
        "double_blocks": (
            "img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_attn.qkv txt_attn.proj txt_mlp.0 txt_mlp.2"
        ),
        "single_blocks": "linear1 linear2",
    },
    "klein4b": {
        "": (
            "img_in time_in.in_layer time_in.out_layer txt_in final_layer.linear final_layer.adaLN_modulation.1 "
            "double_stream_modulation_img.lin double_stream_modulation_txt.lin single_stream_modulation.lin"
        ),
        "double_blocks": (
            "img_attn.qkv img_attn.proj img_mlp.0 img_mlp.2 txt_attn.qkv txt_attn.proj txt_mlp.0 txt_mlp.2"
        ),
        "single_blocks": "linear1 linear2",
    },
    "z_image": {
        "": (
            "x_embedder t_embedder.mlp.0 t_embedder.mlp.2 cap_embedder.1 final_layer.linear "
            "final_layer.adaLN_modulation.1"
        ),
        "noise_refiner": (
            "attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3 adaLN_modulation.0"
        ),
        "context_refiner": "attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3",
        "layers": ("attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3 adaLN_modulation.0"),
    },
    "lumina2": {
        "": (
            "x_embedder t_embedder.mlp.0 t_embedder.mlp.2 cap_embedder.1 final_layer.linear "
            "final_layer.adaLN_modulation.1"
        ),
        "noise_refiner": (
            "attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3 adaLN_modulation.1"
        ),
        "context_refiner": "attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3",
        "layers": ("attention.qkv attention.out feed_forward.w1 feed_forward.w2 feed_forward.w3 adaLN_modulation.1"),
    },
    "anima": {
        "": (
            "t_embedder.1.linear_1 t_embedder.1.linear_2 x_embedder.proj.1 final_layer.linear "
            "final_layer.adaln_modulation.1 final_layer.adaln_modulation.2"
        ),
        "blocks": (
            "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.output_proj cross_attn.q_proj "
            "cross_attn.k_proj cross_attn.v_proj cross_attn.output_proj mlp.layer1 mlp.layer2 "
            "adaln_modulation_self_attn.1 adaln_modulation_self_attn.2 adaln_modulation_cross_attn.1 "
            "adaln_modulation_cross_attn.2 adaln_modulation_mlp.1 adaln_modulation_mlp.2"
        ),
    },
    "qwen_image": {
        "": (
            "time_text_embed.timestep_embedder.linear_1 time_text_embed.timestep_embedder.linear_2 img_in txt_in "
            "norm_out.linear proj_out"
        ),
        "transformer_blocks": (
            "img_mod.1 img_mlp.net.0.proj img_mlp.net.2 txt_mod.1 txt_mlp.net.0.proj txt_mlp.net.2 attn.to_q "
            "attn.to_k attn.to_v attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_out.0 attn.to_add_out"
        ),
    },
    "krea2": {
        "": "first tmlp.0 tmlp.2 txtfusion.projector txtmlp.1 txtmlp.3 last.linear tproj.1",
        "blocks": "attn.wq attn.wk attn.wv attn.gate attn.wo mlp.gate mlp.up mlp.down",
        "txtfusion.layerwise_blocks": "attn.wq attn.wk attn.wv attn.gate attn.wo mlp.gate mlp.up mlp.down",
        "txtfusion.refiner_blocks": "attn.wq attn.wk attn.wv attn.gate attn.wo mlp.gate mlp.up mlp.down",
    },
}
_DOUBLE = (
    "attn.to_q=img_attn.qkv[0:3072] attn.to_k=img_attn.qkv[3072:6144] attn.to_v=img_attn.qkv[6144:9216] "
    "attn.add_q_proj=txt_attn.qkv[0:3072] attn.add_k_proj=txt_attn.qkv[3072:6144] "
    "attn.add_v_proj=txt_attn.qkv[6144:9216] attn.to_out.0=img_attn.proj attn.to_add_out=txt_attn.proj "
)
_SINGLE = (
    "attn.to_q=linear1[0:3072] attn.to_k=linear1[3072:6144] attn.to_v=linear1[6144:9216] "
    "proj_mlp=linear1[9216:21504] proj_out=linear2 "
)
_MLP = "ff.net.0.proj=img_mlp.0 ff.net.2=img_mlp.2 ff_context.net.0.proj=txt_mlp.0 ff_context.net.2=txt_mlp.2 "
_Z = (
    "attention.to_q=attention.qkv[0:3840] attention.to_k=attention.qkv[3840:7680] "
    "attention.to_v=attention.qkv[7680:11520] attention.to_out.0=attention.out feed_forward.w1=feed_forward.w1"
)
_KREA = (
    "attn.to_q=attn.wq attn.to_k=attn.wk attn.to_v=attn.wv attn.to_gate=attn.gate attn.to_out.0=attn.wo "
    "attn.to_out=attn.wo ff.gate=mlp.gate ff.up=mlp.up ff.down=mlp.down"
)
ELSEWHERE: dict[str, dict[tuple[str, str], str]] = {
    "flux1": {
        ("transformer_blocks", "double_blocks"): (
            _DOUBLE + _MLP + "norm1.linear=img_mod.lin norm1_context.linear=txt_mod.lin"
        ),
        ("single_transformer_blocks", "single_blocks"): _SINGLE + "norm.linear=modulation.lin",
    },
    "chroma": {
        ("transformer_blocks", "double_blocks"): _DOUBLE + _MLP,
        ("single_transformer_blocks", "single_blocks"): _SINGLE,
    },
    "klein4b": {
        ("transformer_blocks", "double_blocks"): (
            _DOUBLE + "ff.linear_in=img_mlp.0 ff.linear_out=img_mlp.2 ff_context.linear_in=txt_mlp.0 "
            "ff_context.linear_out=txt_mlp.2"
        ),
        ("single_transformer_blocks", "single_blocks"): "attn.to_qkv_mlp_proj=linear1 attn.to_out=linear2",
    },
    "z_image": {(name, name): _Z for name in ("layers", "noise_refiner", "context_refiner")},
    "krea2": {
        ("transformer_blocks", "blocks"): _KREA,
        ("text_fusion.layerwise_blocks", "txtfusion.layerwise_blocks"): _KREA,
        ("text_fusion.refiner_blocks", "txtfusion.refiner_blocks"): _KREA,
    },
}


def paths(name: str) -> list[str]:
    """The layers of two blocks of each list, and of those outside."""
    found = LAYERS[name]
    return [
        f"{stack}.{n}.{layer}" if stack else layer
        for stack, layers in found.items()
        for n in ((0, 1) if stack else (0,))
        for layer in layers.split()
    ]


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_has_the_name_that_the_programs_give_it(name: str) -> None:
    for path in paths(name):
        place = family(name).place(UNET + flat(path))
        assert place is not None and place.key == UNET + flat(path) and place.parts == 1, path


@pytest.mark.parametrize("name", LAYERS)
def test_a_file_is_found_whole_by_the_programs(name: str, tmp_path: Path) -> None:
    layers = {UNET + flat(path): nn.Linear(8, 8) for path in paths(name)}
    network = Network.create(layers, NetworkSpec(rank=2), seed=0)
    file = write_lora(tmp_path / "a.safetensors", network.modules(), {}, torch.float32)
    written = {re.sub(r"\.(?:lora_(?:up|down)\.weight|alpha)$", "", tensor) for tensor in load_file(file)}
    assert written == {UNET + flat(path) for path in paths(name) if UNET + flat(path) in network.adapters}
    idle = family(name).trained.idle(layers)
    assert written == {key for key in layers if family(name).trained.usual.match(key)} - idle


@pytest.mark.parametrize("name", ELSEWHERE)
def test_diffusers_names_are_the_layers_and_rows_that_the_programs_take_them_for(name: str) -> None:
    of = family(name)
    for (theirs, ours), layers in ELSEWHERE[name].items():
        for pair in layers.split():
            alias, layer, _, first, last = re.fullmatch(r"(.+)=([^[]+)(\[(\d+):(\d+)\])?", pair).groups()
            key = UNET + flat(f"{ours}.1.{layer}")
            place = of.place(UNET + flat(f"{theirs}.1.{alias}"))
            assert place is not None and place.key == key, pair
            shares = of.names.shares(key) if place.parts > 1 else (1,)
            assert len(shares) == place.parts
            if first is not None:
                row = int(last) // sum(shares[: place.part + 1])  # that one share has
                assert (int(first), int(last)) == tuple(row * sum(shares[: place.part + n]) for n in (0, 1))
            said = module_paths(key, of)
            assert f"transformer.{theirs}.1.{alias}" in said or (alias == "attn.to_out" and "attn.to_out.0" in said[0])
