from __future__ import annotations

import pytest
import safetensors.torch
import torch

from lib_lora import cli
from lib_lora.adapters import Network, NetworkSpec, write_lora
from lib_lora.adapters.file import read_lora, to_delta

KEY = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
TENSOR = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight"


@pytest.fixture
def data(tmp_path):
    """Two LoRAs and a DoRA of one layer, and two checkpoints that differ in it."""
    layer = torch.nn.Linear(8, 8)
    torch.nn.init.eye_(layer.weight)
    for seed, (name, dora) in enumerate((("A", False), ("B", False), ("D", True))):
        network = Network.create({KEY: layer}, NetworkSpec(rank=2, alpha=2, dora=dora), seed)
        for parameter in network.parameters():
            parameter.data.normal_(generator=torch.Generator().manual_seed(seed))
        write_lora(tmp_path / "loras" / f"{name}.safetensors", network.modules(), {}, torch.float32)
    of_sd1 = {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(320, 768)}
    safetensors.torch.save_file({TENSOR: torch.eye(8), **of_sd1}, tmp_path / "model.safetensors")
    (tmp_path / "model.yaml").write_text("model: {}", encoding="utf-8")
    return tmp_path


def change(data, name):
    return to_delta(read_lora(data / "loras" / f"{name}.safetensors").modules[KEY]).dense()


def run(data, *words: object) -> int:
    return cli.main([*map(str, words), "--data", str(data)])


def test_resize_by_energy_and_by_rank(data, capsys):
    assert run(data, "resize", "A", "--rank", 1, "--save", "small", "--precision", "float32") == 0
    assert "rank 1" in capsys.readouterr().out
    left, values, right = torch.linalg.svd(change(data, "A"))
    assert torch.allclose(change(data, "small"), values[0] * left[:, :1] @ right[:1], atol=1e-5)
    assert run(data, "resize", "A", "--energy", 0.999999, "--save", "same", "--precision", "float32") == 0
    assert torch.allclose(change(data, "same"), change(data, "A"), atol=1e-5)


def test_merge_into_a_checkpoint_and_extract_what_it_changed(data, capsys):
    model = data / "model.safetensors"
    assert run(data, "merge", "A:1,B:-0.5", "--into", model, "--save", "tuned") == 0
    merged = safetensors.torch.load_file(data / "tuned.safetensors")[TENSOR]
    expected = change(data, "A") - 0.5 * change(data, "B")
    assert torch.allclose(merged - torch.eye(8), expected, atol=1e-6)
    assert (data / "tuned.yaml").read_text(encoding="utf-8") == "model: {}"
    words = ("extract", data / "tuned.safetensors", model, "--rank", 4, "--save", "back", "--precision", "float32")
    assert run(data, *words) == 0
    assert torch.allclose(change(data, "back"), expected, atol=1e-5)
    assert run(data, "merge", "A:1", "--into", model, "--save", "tuned") == 2, "nothing is overwritten"
    assert run(data, "merge", "A:1", "--into", model) == 2, "it needs a name"
    assert "--save NAME" in capsys.readouterr().err


def test_a_dora_needs_the_weights_it_acts_on(data, capsys):
    assert run(data, "resize", "D", "--rank", 8, "--save", "plain") == 2
    assert "D" in capsys.readouterr().err
    base = ("--base", data / "model.safetensors")
    assert run(data, "resize", "D", "--rank", 8, "--save", "plain", "--precision", "float32", *base) == 0
    dora = read_lora(data / "loras" / "D.safetensors").modules[KEY]
    assert torch.allclose(change(data, "plain"), to_delta(dora, torch.eye(8)).dense(), atol=1e-5)


def test_a_dora_for_diffusers_is_a_lora(data, capsys):
    words = ("convert", "D", "--for", "diffusers", "--save", "plain")
    assert run(data, *words) == 2, "it needs the weights"
    assert run(data, *words, "--base", data / "model.safetensors") == 0
    assert "became LoRA" in capsys.readouterr().out
    dora = read_lora(data / "loras" / "D.safetensors").modules[KEY]
    assert torch.allclose(change(data, "plain"), to_delta(dora, torch.eye(8)).dense(), atol=1e-5)
    assert run(data, "convert", "A", "--for", "paint") == 2
