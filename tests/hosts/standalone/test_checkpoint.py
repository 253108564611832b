from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from lib_lora.errors import UserError
from lib_lora.hosts.standalone.checkpoint import infer_shape, load_checkpoint
from lib_lora.hosts.standalone.shape import Shape
from lib_lora.hosts.standalone.tokens import TOKEN_IDS_KEY, expand_token_embedding
from lib_lora.models import layers

TOKENS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"


@pytest.fixture(scope="module")
def tensors(tiny_checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(tiny_checkpoint)


@pytest.fixture
def with_side_car(tiny_checkpoint: Path, tmp_path: Path):
    """Write tensors as a checkpoint with the tiny model's yaml beside it."""

    def write(tensors: dict[str, torch.Tensor], **params: object) -> Path:
        content = yaml.safe_load(tiny_checkpoint.with_suffix(".yaml").read_text(encoding="utf-8"))
        content["model"]["params"] |= params
        (tmp_path / "model.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path / "model.safetensors"

    return write


def test_weights_are_bit_equal_to_the_file(tiny_checkpoint, tensors):
    model = load_checkpoint(tiny_checkpoint)
    back = {
        **layers.unet_to_ldm(model.unet.state_dict()),
        **layers.vae_to_ldm(model.vae.state_dict()),
        **layers.clip_to_ldm(model.text_encoder.state_dict()),
    }
    assert torch.equal(back.pop(TOKENS)[tensors[TOKEN_IDS_KEY].long()], tensors[TOKENS].float())
    assert len(back) == 686 + 248 + 2 * 16 + 3
    assert all(torch.equal(value, tensors[key].float()) for key, value in back.items())
    assert model.dtype == torch.float32 and model.prediction == "epsilon"


def test_rows_that_were_not_trained_are_the_same_everywhere():
    rows, ids = torch.ones(2, 8), torch.tensor([5, 49407])
    table = expand_token_embedding(rows, ids)
    expected = torch.randn(49408, 8, generator=torch.Generator().manual_seed(1234)) * 0.3
    assert table.shape == (49408, 8) and torch.equal(table[ids], rows)
    assert torch.equal(table[6:49407], expected[6:49407])


def test_shape_comes_from_tensors_and_heads_from_the_side_car(tensors):
    side_car = {
        "unet_config": {"params": {"num_heads": 4}},
        "cond_stage_config": {"clip": {"num_attention_heads": 2}},
    }
    expected = Shape((32, 64, 96, 96), 4, (64, 128, 64, 64), 32, 64, 2, 2, 300, 77)
    assert infer_shape(tensors, side_car) == expected
    assert infer_shape(tensors, {}).unet_heads == 8


def test_shape_of_the_original_is_the_default():
    from lib_lora.hosts.standalone.shape import build_text_encoder, build_unet, build_vae

    with torch.device("meta"):
        state = {
            **layers.unet_to_ldm(build_unet(Shape()).state_dict()),
            **layers.vae_to_ldm(build_vae(Shape().vae_channels).state_dict()),
            **layers.clip_to_ldm(build_text_encoder(Shape()).state_dict()),
        }
    assert infer_shape(state, {}) == Shape()
    assert sum(t.numel() for key, t in state.items() if key.startswith(layers.UNET_PREFIX)) == 859_520_964


def test_extra_keys_and_old_spellings_of_real_files_are_accepted(tensors, with_side_car):
    real = {key.replace("transformer.text_model.", "transformer."): t for key, t in tensors.items()}
    real["cond_stage_model.transformer.embeddings.position_ids"] = torch.arange(77)[None]
    real["model_ema.decay"] = torch.zeros(())
    real["betas"] = torch.zeros(1000)
    assert load_checkpoint(with_side_car(real)).prediction == "epsilon"


def test_side_car_states_v_prediction(tensors, with_side_car):
    assert load_checkpoint(with_side_car(tensors, parameterization="v")).prediction == "v"


def test_safe_pickles_load_and_others_are_refused(tensors, tiny_checkpoint, tmp_path):
    (tmp_path / "old.yaml").write_bytes(tiny_checkpoint.with_suffix(".yaml").read_bytes())
    torch.save({"state_dict": tensors, "global_step": 1}, tmp_path / "old.ckpt")
    assert torch.equal(load_checkpoint(tmp_path / "old.ckpt").unet.conv_in.bias, tensors_bias(tensors))

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"state_dict": tensors, "extra": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match="program code"):
        load_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "ran").exists()


def tensors_bias(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return tensors[f"{layers.UNET_PREFIX}input_blocks.0.0.bias"].float()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"], "a LoRA"),
        (["model.diffusion_model.input_blocks.0.0.weight", "conditioner.embedders.0.x"], "SDXL.s refiner"),
        (["model.diffusion_model.input_blocks.0.0.weight", "cond_stage_model.model.ln_final.bias"], "Diffusion 2"),
        (["model.diffusion_model.joint_blocks.0.x"], "SD3 or Flux"),
        (["encoder.conv_in.weight", "decoder.conv_in.weight"], "a VAE"),
        (["emb_params"], "an embedding"),
        (["down_blocks.0.resnets.0.conv1.weight"], "one part of a diffusers model"),
        (["something.else"], "not a Stable Diffusion checkpoint"),
    ],
)
def test_other_files_are_named(keys, message, tmp_path):
    save_file({key: torch.zeros(1) for key in keys}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=message) as caught:
        load_checkpoint(tmp_path / "other.safetensors")
    assert "other.safetensors" in str(caught.value)


def test_incomplete_inpainting_and_damaged_files_are_named(tensors, with_side_car, tiny_checkpoint, tmp_path):
    with pytest.raises(UserError, match="VAE lacks 1 of 248"):
        load_checkpoint(with_side_car({k: t for k, t in tensors.items() if k != "first_stage_model.quant_conv.bias"}))
    key = f"{layers.UNET_PREFIX}input_blocks.0.0.weight"
    with pytest.raises(UserError, match="inpainting"):
        load_checkpoint(with_side_car({**tensors, key: torch.zeros(32, 9, 3, 3)}))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny_checkpoint.read_bytes()[:-1000])
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(os.urandom(4000))
    pickled = tmp_path / "garbage.ckpt"
    pickled.write_bytes(pickle.dumps(["not a model"])[:-1])
    for file in (cut, garbage, pickled):
        with pytest.raises(UserError, match=file.name):
            load_checkpoint(file)
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "absent.safetensors")


def test_broken_side_car_is_named(tensors, with_side_car):
    path = with_side_car(tensors)
    path.with_suffix(".yaml").write_text("model: [", encoding="utf-8")
    with pytest.raises(UserError, match=r"model\.yaml"):
        load_checkpoint(path)
