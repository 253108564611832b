"""What a file is, told from the names and shapes of its tensors."""

from __future__ import annotations

import pytest

from lib_lora.adapters.recognition import Foreign, candidates, layer_shapes, recognise
from lib_lora.models.families import families, family
from lib_lora.models.family import Family

Shapes = dict[str, tuple[int, ...]]


def kohya(*keys: str, out: int = 64, into: int = 64) -> Shapes:
    return {
        f"{key}.{name}": shape
        for key in keys
        for name, shape in (("lora_up.weight", (out, 4)), ("lora_down.weight", (4, into)), ("alpha", ()))
    }


def peft(*paths: str, out: int = 64, into: int = 64) -> Shapes:
    return {f"{path}.lora_{n}.weight": shape for path in paths for n, shape in (("B", (out, 4)), ("A", (4, into)))}


CLIP_L = kohya("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", out=768, into=768)
SD_UNET = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn"

FILES: dict[str, tuple[str, Shapes]] = {
    "SD1": ("sd1", kohya(f"{SD_UNET}2_to_k", into=768)),
    "SD2": ("sd2", kohya(f"{SD_UNET}2_to_k", into=1024)),
    "SD1's text encoder": ("sd1", kohya("lora_te_text_model_encoder_layers_0_self_attn_q_proj", out=768, into=768)),
    "SD2's text encoder": ("sd2", kohya("lora_te_text_model_encoder_layers_0_self_attn_q_proj", out=1024, into=1024)),
    "SDXL": ("sdxl", kohya("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q") | CLIP_L),
    "SDXL as diffusers has it": ("sdxl", peft("unet.up_blocks.0.attentions.0.transformer_blocks.9.attn1.to_q")),
    "SSD-1B": (
        "ssd1b",
        kohya(*(f"lora_unet_input_blocks_{b}_1_transformer_blocks_{n}_attn1_to_q" for b in (7, 8) for n in range(4))),
    ),
    "Vega": (
        "vega",
        kohya(*(f"lora_unet_input_blocks_{b}_1_transformer_blocks_{n}_attn1_to_q" for b in (7, 8) for n in range(2))),
    ),
    "Flux with CLIP": (
        "flux1",
        kohya("lora_unet_double_blocks_0_img_attn_proj", "lora_unet_single_blocks_0_linear1") | CLIP_L,
    ),
    "Flux as diffusers has it": ("flux1", peft("transformer.single_transformer_blocks.0.attn.to_q")),
    "Flux of OneTrainer": (
        "flux1",
        kohya(
            "lora_transformer_single_transformer_blocks_3_proj_mlp", "lora_te2_encoder_block_0_layer_0_SelfAttention_k"
        ),
    ),
    "Flux of XLabs": (
        "flux1",
        {
            f"double_blocks.0.processor.{n}.{d}.weight": s
            for n in ("qkv_lora1", "proj_lora2")
            for d, s in (("up", (64, 4)), ("down", (4, 64)))
        },
    ),
    "Flux of DiffSynth": ("flux1", {f"single_blocks.0.linear1.lora_{n}.default.weight": (4, 4) for n in "AB"}),
    "Flux of SimpleTuner": (
        "flux1",
        {f"lycoris_single_transformer_blocks_0_attn_to_q.{n}": (4, 4) for n in ("lokr_w1", "lokr_w2")},
    ),
    "Chroma": ("chroma", peft("diffusion_model.distilled_guidance_layer.layers.0.in_layer")),
    "Klein 4B": ("klein4b", kohya("lora_unet_single_blocks_3_linear1", out=27648, into=3072)),
    "Klein 9B": ("klein9b", kohya("lora_unet_single_blocks_3_linear2", out=4096, into=16384)),
    "Klein 9B by its blocks": (
        "klein9b",
        peft(*(f"transformer.single_transformer_blocks.{n}.attn.to_qkv_mlp_proj" for n in range(24))),
    ),
    "Flux.2 dev": ("flux2dev", kohya("lora_unet_single_blocks_3_linear1", out=55296, into=6144)),
    "Flux.2 dev by its blocks": ("flux2dev", kohya(*(f"lora_unet_single_blocks_{n}_linear1" for n in range(48)))),
    "Flux.2 dev as diffusers has it": (
        "flux2dev",
        peft(*(f"transformer.single_transformer_blocks.{n}.attn.to_out" for n in (0, 47)), out=6144, into=24576),
    ),
    "Z-Image of ai-toolkit": ("z_image", peft("diffusion_model.layers.0.attention.to_q")),
    "Z-Image of musubi": ("z_image", kohya("lora_unet_layers_0_attention_to_out_0")),
    "Z-Image fused": ("z_image", kohya("lora_unet_layers_0_attention_qkv", out=11520, into=3840)),
    "Lumina": ("lumina2", kohya("lora_unet_layers_0_attention_qkv", out=3840, into=2304)),
    "Lumina, narrow": ("lumina2", kohya("lora_unet_layers_0_attention_qkv")),
    "Lumina as diffusers has it": ("lumina2", peft("transformer.layers.0.attn.to_q")),
    "Anima": ("anima", kohya("lora_unet_blocks_0_cross_attn_output_proj", "lora_te_layers_0_self_attn_q_proj")),
    "Anima of ComfyUI": (
        "anima",
        peft("diffusion_model.blocks.27.self_attn.q_proj", "diffusion_model.llm_adapter.blocks.0.mlp.0"),
    ),
    "Anima of OneTrainer, OFT": (
        "anima",
        {f"transformer.transformer_blocks.0.attn{n}.to_k.oft_R.weight": (b, 496) for n, b in ((1, 64), (2, 32))},
    ),
    "SDXL's difference of ComfyUI, without a LoRA": (
        "sdxl",
        {"diffusion_model.input_blocks.4.1.transformer_blocks.0.norm1.diff": (640,)},
    ),
    "Anima, 40 blocks": ("anima40", kohya(*(f"lora_unet_blocks_{n}_mlp_layer1" for n in range(40)))),
    "Anima as diffusers has it": (
        "anima",
        peft("transformer.transformer_blocks.0.attn1.to_q", out=2048, into=2048)
        | peft("transformer.transformer_blocks.0.attn2.to_k", out=2048, into=1024),
    ),
    "Anima as diffusers has it, with its modulation": (
        "anima",
        peft("transformer.transformer_blocks.0.attn1.to_q", "transformer.transformer_blocks.0.norm1.linear_1"),
    ),
    "Anima of its own trainer": ("anima", peft("net.blocks.0.self_attn.q_proj", "net.blocks.0.mlp.layer1")),
    "Krea 2": ("krea2", kohya("lora_unet_blocks_0_attn_wq")),
    "Krea 2 as diffusers has it": ("krea2", peft("transformer.transformer_blocks.0.attn.to_gate")),
    "Qwen-Image": ("qwen_image", kohya("lora_unet_transformer_blocks_0_img_mlp_net_2")),
    "Qwen-Image by its blocks": (
        "qwen_image",
        peft(*(f"transformer.transformer_blocks.{n}.attn.to_q" for n in range(60))),
    ),
    "SD3.5 Medium": (
        "sd35_medium",
        kohya("lora_unet_joint_blocks_0_context_block_attn_qkv", out=4608, into=1536) | CLIP_L,
    ),
    "SD3.5 Large": ("sd35_large", kohya("lora_unet_joint_blocks_0_x_block_attn_qkv", out=7296, into=2432)),
    "SD3.5 of OneTrainer": (
        "sd35_medium",
        kohya("lora_transformer_transformer_blocks_0_attn_to_q", "lora_te3_encoder_block_0_layer_0_SelfAttention_k"),
    ),
}
OTHERS: dict[str, tuple[str, Shapes]] = {
    "Wan": ("a LoRA for Wan", peft("diffusion_model.blocks.0.cross_attn.k")),
    "HunyuanDiT": ("a LoRA for HunyuanDiT", kohya("lora_unet_blocks_0_attn1_Wqkv")),
    "Cascade": ("a LoRA for Stable Cascade", kohya("lora_prior_unet_down_blocks_0_1_channelwise_0")),
    "AuraFlow": ("a LoRA for AuraFlow", peft("transformer.joint_transformer_blocks.0.attn.to_q")),
    "PixArt": ("a LoRA for PixArt", peft("transformer.transformer_blocks.0.attn1.to_q")),
    "LTX-Video": (
        "a LoRA for PixArt, LTX-Video or Sana",
        peft("transformer.transformer_blocks.0.attn1.to_q", out=2048, into=2048)
        | peft("transformer.transformer_blocks.0.attn2.to_k", out=2048, into=2048),
    ),
    "cloneofsimo": ("first format of cloneofsimo", {"lora_unet:0:up": (64, 4), "lora_unet:0:down": (4, 64)}),
    "textual inversion": ("a textual inversion", {"emb_params": (4, 768)}),
    "SDXL's textual inversion": ("a textual inversion", {"clip_l": (4, 768), "clip_g": (4, 1280)}),
    "diffusers' textual inversion": ("a textual inversion", {"<my-token>": (768,)}),
    "hypernetwork": ("a hypernetwork", {"320.0.linear.0.weight": (64, 64)}),
    "IP-Adapter": ("an IP-Adapter", {"image_proj.proj.weight": (64, 64), "ip_adapter.1.to_k_ip.weight": (64, 64)}),
    "ControlNet": ("a ControlNet", {"control_model.input_blocks.0.0.weight": (4, 4)}),
    "ControlNet of diffusers": ("a ControlNet", {"controlnet_cond_embedding.conv_in.weight": (4, 4)}),
    "checkpoint": ("a whole checkpoint", {"model.diffusion_model.input_blocks.0.0.weight": (4, 4)}),
    "Flux checkpoint": ("a whole checkpoint", {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (4, 4)}),
    "U-Net": ("U-Net alone", {"down_blocks.0.attentions.0.proj_in.weight": (4, 4)}),
    "transformer": ("transformer or U-Net alone", {"single_blocks.0.linear1.weight": (4, 4)}),
    "VAE": ("a VAE", {"first_stage_model.encoder.conv_in.weight": (4, 4, 3, 3)}),
    "VAE alone": ("a VAE", {"decoder.up.0.block.0.conv1.weight": (4, 4, 3, 3)}),
    "text encoder": ("a text encoder", {"text_model.encoder.layers.0.mlp.fc1.weight": (4, 4)}),
    "upscaler": ("an upscaler", {"model.0.weight": (64, 3, 3, 3)}),
    "Wan of diffusers": ("a LoRA for Wan", peft("transformer.blocks.0.attn1.to_q", "transformer.blocks.0.ffn.net.2")),
    "HunyuanVideo": ("a LoRA for HunyuanVideo", peft("transformer.double_blocks.0.img_attn_qkv")),
    "HunyuanVideo's last blocks": ("a LoRA for HunyuanVideo", kohya("lora_unet_single_blocks_39_linear1")),
    "HunyuanVideo's last blocks as diffusers has them": (
        "a LoRA for HunyuanVideo",
        peft(*(f"transformer.single_transformer_blocks.{n}.attn.to_q" for n in (0, 39))),
    ),
    "HunyuanVideo's modulation": ("a LoRA for HunyuanVideo", kohya("lora_unet_double_blocks_0_img_mod_linear")),
    "Stable Video Diffusion": (
        "Stable Video Diffusion",
        peft("unet.down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1.to_q"),
    ),
    "AnimateDiff": ("AnimateDiff", peft("down_blocks.0.motion_modules.0.temporal_transformer.proj_in")),
    "language model": ("a language model", peft("base_model.model.model.layers.0.self_attn.q_proj")),
    "PuLID": ("PuLID", {"pulid_encoder.x.weight": (4, 4)}),
    "CLIP vision": ("an image encoder", {"vision_model.encoder.layers.0.mlp.fc1.weight": (4, 4)}),
    "TAESD": ("VAE for previews", {"0.weight": (64, 3, 3, 3), "2.conv.0.weight": (64, 64, 3, 3)}),
    "latents": ("cached latents", {"latents_64x64": (4, 64, 64)}),
    "SDXL's refiner": (
        "SDXL's refiner",
        kohya("lora_unet_input_blocks_4_1_transformer_blocks_3_attn2_to_k", out=768, into=1280),
    ),
    "SDXL's refiner of diffusers": (
        "SDXL's refiner",
        peft("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v", out=768, into=1280),
    ),
    "VeRA": ("an adapter of PEFT", {"base_model.model.unet.mid_block.attn1.to_q.vera_lambda_b": (64,)}),
    "BOFT of PEFT": ("an adapter of PEFT", {"unet.mid_block.attn1.to_q.boft_R": (1, 2, 4, 4)}),
    "Nunchaku's LoRA": ("for Nunchaku", {"single_transformer_blocks.0.qkv_proj.lora_down": (64, 4)}),
    "Nunchaku's model": ("quantised for Nunchaku", {"transformer_blocks.0.attn.to_qkv.qweight": (64, 4)}),
    "PhotoMaker": ("a PhotoMaker", {"id_encoder.x": (4, 4), **peft("lora_weights.unet.mid_block.attn1.to_q")}),
    "U-Net of diffusers": ("U-Net alone", {"unet.down_blocks.0.attentions.0.proj_in.weight": (4, 4)}),
    "nothing known": ("of a kind that is not known here", {"foo.bar": (1,)}),
}


@pytest.mark.parametrize(("name", "shapes"), FILES.values(), ids=FILES.keys())
def test_a_lora_is_of_a_family(name: str, shapes: Shapes) -> None:
    found = recognise(shapes, {})
    assert isinstance(found, Family), found
    assert found.name == name


@pytest.mark.parametrize(("what", "shapes"), OTHERS.values(), ids=OTHERS.keys())
def test_other_files_are_named(what: str, shapes: Shapes) -> None:
    found = recognise(shapes, {})
    assert isinstance(found, Foreign)
    assert what in found.what


def test_a_model_of_another_s_layers_is_named_where_its_file_says_so() -> None:
    for key in ("modelspec.architecture", "ss_base_model_version"):
        found = recognise(FILES["SDXL"][1], {key: "kolors/lora"})
        assert isinstance(found, Foreign) and found.what == "a LoRA for Kolors"


def test_metadata_decide_what_names_leave_open() -> None:
    layers = layer_shapes(kohya("lora_unet_double_blocks_0_img_attn_proj"))
    assert {f.name for f in candidates(layers)} == {"flux1", "chroma", "klein4b", "klein9b", "flux2dev"}
    for version, name in (("chroma", "chroma"), ("flux_2_klein_9b", "klein9b"), ("flux_kontext", "flux1")):
        assert [f.name for f in candidates(layers, {"ss_base_model_version": version})] == [name]
    architecture = {"modelspec.architecture": "Flux.2-klein-4b/lora"}
    assert [f.name for f in candidates(layers, architecture)] == ["klein4b"]
    lying = {"ss_base_model_version": "sd_v1"}
    assert candidates(layer_shapes(FILES["SDXL"][1]), lying)[0] is family("sdxl")


def test_the_width_of_the_text_tells_families_of_the_same_names_apart() -> None:
    key = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    for width, name in ((768, "sd1"), (1024, "sd2"), (2048, "sdxl")):
        assert candidates(layer_shapes(peft(key, out=640, into=width)))[0] is family(name)


def test_what_the_text_encoder_does_not_reach_is_of_both() -> None:
    assert [f.name for f in candidates(layer_shapes(kohya(f"{SD_UNET}1_to_q")))] == ["sd1", "sd2"]


@pytest.mark.parametrize("one", families().values(), ids=families())
def test_a_family_knows_its_own_marking(one: Family) -> None:
    assert one.marking.fits({"ss_base_model_version": one.marking.version})
    assert one.marking.fits({"modelspec.architecture": f"{one.marking.architecture}/lora"})
    others = [f.name for f in families().values() if f.marking.fits({"ss_base_model_version": one.marking.version})]
    assert others == [one.name] or one.name in {"sdxl", "ssd1b", "vega", "anima", "anima40"}


@pytest.mark.parametrize("root", ["", "base_model.model.", "diffusion_model.", "net."])
@pytest.mark.parametrize(
    ("name", "paths"),
    [("flux1", ("img_in", "double_blocks.0.img_attn.qkv")), ("anima", ("llm_adapter.embed", "blocks.0.mlp.layer1")),
     ("qwen_image", ("proj_out", "transformer_blocks.0.img_mlp.net.2")), ("sd1", ("out.2", "input_blocks.1.1.proj_in")),
     ("sd35_medium", ("context_embedder", "joint_blocks.0.x_block.attn2.qkv"))],
)  # fmt: skip
def test_layers_outside_of_blocks_need_no_beginning(root: str, name: str, paths: tuple[str, ...]) -> None:
    """OneTrainer's *original* format and PEFT have none, or one of their own."""
    layers = layer_shapes(peft(*(root + path for path in paths)))
    assert [key for key in layers if family(name).place(key) is None] == [] and len(layers) == 2


def test_the_model_that_a_file_names_tells_anima_from_its_likes() -> None:
    shapes = peft("transformer.transformer_blocks.0.attn1.to_q", out=2048, into=2048)
    assert isinstance(recognise(shapes, {}), Foreign)
    named = recognise(shapes, {"modelspec.architecture": "anima/lora"})
    assert isinstance(named, Family) and named.name == "anima"
