from __future__ import annotations

import copy

import pytest
import torch

from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import NetworkSpec
from lib_lora.errors import UserError
from lib_lora.training import state
from lib_lora.training.config import TrainConfig
from lib_lora.training.optim import build_optimizer
from lib_lora.training.state import Fingerprint, Position, StateSlots
from tests.training.toy import load

MARK = Fingerprint("config", "data", "model")
CONFIG = TrainConfig(name="x", data_dir="y")
LAYERS = {
    "lora_unet_mid_block_attentions_0_proj_in": torch.nn.Conv2d(4, 6, 1),
    "lora_te_text_model_encoder_layers_0_mlp_fc1": torch.nn.Linear(3, 5),
}


def trained(seed: int, steps: int):
    network = Network.create(LAYERS, NetworkSpec(rank=2), seed=seed)
    optimizer = build_optimizer(network, CONFIG)
    for step in range(steps):
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 0.1 * (step + 1))
        optimizer.step()
    return network, optimizer


def everything(network, optimizer):
    moments = [optimizer.state[p] for p in network.parameters()]
    return network.state_tensors(), [{k: v.clone() for k, v in state.items()} for state in moments]


def test_learning_rates_per_part():
    _, optimizer = trained(0, 0)
    assert [(g["part"], g["lr"]) for g in optimizer.param_groups] == [("unet", CONFIG.unet_lr), ("te", CONFIG.te_lr)]


def test_everything_comes_back(tmp_path):
    network, optimizer = trained(1, 3)
    StateSlots(tmp_path).save(Position(3, MARK), network, optimizer)
    other, other_optimizer = trained(2, 1)
    assert load(tmp_path, other, other_optimizer, MARK) == 3
    torch.testing.assert_close(everything(other, other_optimizer), everything(network, optimizer), rtol=0, atol=0)


def test_nothing_there(tmp_path):
    network, optimizer = trained(1, 1)
    before = copy.deepcopy(network.state_tensors())
    assert load(tmp_path, network, optimizer, MARK) == 0
    torch.testing.assert_close(network.state_tensors(), before, rtol=0, atol=0)


def test_slots_take_turns_and_the_newest_wins(tmp_path):
    network, optimizer = trained(1, 1)
    slots = StateSlots(tmp_path)
    for step in (1, 2, 3):
        slots.save(Position(step, MARK), network, optimizer)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]
    assert StateSlots(tmp_path).position() == Position(3, MARK)
    assert StateSlots(tmp_path).last_step() == 3 and StateSlots(tmp_path / "none").last_step() == 0


def test_of_two_slots_the_newest_is_read_once_and_the_other_never(tmp_path, monkeypatch):
    """At resume each was read three times; a state of SDXL has gigabytes."""
    network, optimizer = trained(1, 1)
    slots = StateSlots(tmp_path)
    for step in (1, 2):
        slots.save(Position(step, MARK), network, optimizer)
    read = []
    whole = state._read_if_whole
    monkeypatch.setattr(state, "_read_if_whole", lambda path: read.append(path.name) or whole(path))
    fresh = StateSlots(tmp_path)
    assert fresh.newest().restore(network, optimizer, MARK) == 2
    fresh.save(Position(3, MARK), network, optimizer)
    assert read == ["b.safetensors"] and StateSlots(tmp_path).position().step == 3


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "text"])
def test_damaged_newest_slot_falls_back(tmp_path, damage):
    network, optimizer = trained(1, 1)
    slots = StateSlots(tmp_path)
    slots.save(Position(1, MARK), network, optimizer)
    slots.save(Position(2, MARK), network, optimizer)
    path = tmp_path / "b.safetensors"
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
        path.write_bytes({"flip": flipped, "cut": data[:-40], "empty": b"", "text": b"hello" * 9}[damage])
    assert load(tmp_path, network, optimizer, MARK) == 1
    slots = StateSlots(tmp_path)
    slots.save(Position(2, MARK), network, optimizer)  # must replace the damaged slot, not the good one
    assert {StateSlots(tmp_path).position().step, *(p.name for p in tmp_path.iterdir())} == {
        2, "a.safetensors", "b.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize("part", ["config", "data", "model"])
def test_state_of_something_else_is_refused(tmp_path, part):
    network, optimizer = trained(1, 1)
    StateSlots(tmp_path).save(Position(1, MARK), network, optimizer)
    present = Fingerprint(**{**vars(MARK), part: "changed"})
    with pytest.raises(UserError) as caught:
        load(tmp_path, network, optimizer, present)
    assert caught.value.fix
