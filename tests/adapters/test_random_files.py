"""Files of all kinds, types and names, drawn at random, right or not: each is worked on, or refused by name."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lib_lora.adapters.file import read_lora
from lib_lora.errors import UserError
from lib_lora.tools.convert import PROGRAMS, convert
from lib_lora.tools.inspection import look_at
from lib_lora.tools.merge import merge
from tests.rounds import rounds

Shapes = dict[str, tuple[int, ...]]
FAMILIES = (
    (
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_unet_down_blocks_0_resnets_0_conv1",
        "lora_unet_mid_block_attentions_0_norm",
        "lycoris_down_blocks_1_attentions_0_proj_in",
        "unet.mid_block.attentions.0.proj_in",
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
    ),
    (
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k",
        "lora_unet_input_blocks_4_0_in_layers_2",
        "lora_te2_text_model_encoder_layers_3_self_attn_q_proj",
        "lora_unet_out_0",
    ),
    (
        "lora_unet_single_blocks_3_linear1",
        "transformer.transformer_blocks.0.attn.to_q",
        "transformer.transformer_blocks.0.attn.to_v",
        "transformer.single_transformer_blocks.1.attn.to_v",
    ),
    ("diffusion_model.layers.0.attention.to_q", "diffusion_model.layers.1.attention.qkv"),
    ("lora_unet_joint_blocks_0_x_block_attn_qkv", "lora_unet_joint_blocks_1_context_block_attn_proj"),
)
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)


def kinds(o: int, i: int, r: int) -> list[Shapes]:
    """The tensors of a layer with ``o`` outputs and ``i`` inputs, as the trainers write them."""
    half, tucker = (max(1, o // 2), max(1, i // 2)), (r, r, 3, 3)
    return [
        {"lora_up.weight": (o, r), "lora_down.weight": (r, i)},
        {"lora_up.weight": (o, r, 1, 1), "lora_down.weight": (r, i, 3, 3)},
        {"lora_up.weight": (o, r, 1, 1), "lora_down.weight": (r, i, 1, 1)},
        {"lora_A.weight": (r, i), "lora_B.weight": (o, r), "lora_magnitude_vector": (o,)},
        {"hada_w1_a": (o, r), "hada_w1_b": (r, i), "hada_w2_a": (o, r), "hada_w2_b": (r, i)},
        {"hada_t1": tucker, "hada_w1_a": (r, o), "hada_w1_b": (r, i),
         "hada_t2": tucker, "hada_w2_a": (r, o), "hada_w2_b": (r, i)},
        {"lokr_w1": (2, 2), "lokr_w2": half},
        {"lokr_w1_a": (2, r), "lokr_w1_b": (r, 2), "lokr_w2_a": (half[0], r), "lokr_w2_b": (r, half[1])},
        {"diff": (o, i), "diff_b": (o,)},
        {"diff": (o,), "diff_b": (o,)},
        {"w_norm": (o,), "b_norm": (o,)},
        {"a1.weight": (i, r), "a2.weight": (r, i), "b1.weight": (o, r), "b2.weight": (r, o)},
        {"oft_blocks": (2, half[0], half[0])},
        {"oft_R.weight": (max(1, i // 4), 6)},
        {"ia3_l": (o, 1)},
    ]  # fmt: skip


def drawn(dice: random.Random) -> dict[str, torch.Tensor]:
    """A file of one to three layers; some with a tensor too many, missing, or of another shape."""
    tensors = {}
    family = dice.choice(FAMILIES)
    for layer in dice.sample(family, dice.randint(1, min(3, len(family)))):
        o, i = (dice.choice((1, 2, 4, 9, 18, 36, 64)) for _ in range(2))
        shapes: Shapes = dict(dice.choice(kinds(o, i, dice.choice((1, 2, 4)))))
        for name, chance, options in (
            ("alpha", 0.4, [(), (1,)]),
            ("dora_scale", 0.15, [(o, 1), (1, i), (o,), (1, i, 1, 1)]),
            ("scalar", 0.1, [(), (2,)]),
        ):
            if dice.random() < chance:
                shapes[name] = dice.choice(options)
        if dice.random() < 0.12:
            odd = dice.choice(list(shapes))
            shapes[odd] = tuple(max(0, size + dice.choice((-1, 0, 1))) for size in shapes[odd])
        if dice.random() < 0.05:
            shapes.pop(dice.choice(list(shapes)))
        noise = torch.Generator().manual_seed(dice.randrange(2**31))
        one = dice.choice(TYPES)
        for name, shape in shapes.items():
            mixed = dice.choice(TYPES) if dice.random() < 0.3 else one
            tensors[f"{layer}.{name}"] = torch.randn(shape, generator=noise).to(mixed)
    return tensors


@pytest.mark.parametrize("seed", range(rounds(40)))
def test_a_file_is_worked_on_or_refused_by_name(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(5):
        save_file(drawn(dice), tmp_path / "a.safetensors")
        program = dice.choice(list(PROGRAMS))
        for number, work in enumerate(
            (
                lambda: merge("a:0.5", tmp_path),
                lambda: merge("a:0.5,a:0.25", tmp_path, rank=2),
                lambda: merge("a:0.7", tmp_path, energy=0.9),
                lambda: convert(read_lora(tmp_path / "a.safetensors"), program),  # noqa: B023
            )
        ):
            made = tmp_path / f"{number}.safetensors"
            made.unlink(missing_ok=True)
            try:
                look_at(tmp_path / "a.safetensors")
                work().save(made)
            except UserError as error:
                assert error.what and (error.fix or error.where)
                assert not made.exists()
            else:
                assert read_lora(made).modules
