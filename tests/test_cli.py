from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lib_lora import cli
from lib_lora.adapters import Network, NetworkSpec, write_lora
from lib_lora.adapters.file import read_lora
from lib_lora.demo.world import Spec, render
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import write_config

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "numpy", "PIL", "gradio", "diffusers"}


def test_help_imports_nothing_that_takes_long():
    code = f"import sys\nfrom lib_lora.cli import parser\nparser().format_help()\nprint(*{HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("command", ["serve", "train", "tour", "bench", "demo", "merge", "grid"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out


def test_what_the_user_can_mend_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert cli.main(["merge", "NOBODY:1", "--data", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "NOBODY" in error and "Traceback" not in error


def test_merge_reports_and_saves(tmp_path, capsys):
    layers = {"lora_unet_mid_block_attentions_0_proj_in": torch.nn.Linear(8, 8)}
    for seed, name in enumerate(("A", "B")):
        network = Network.create(layers, NetworkSpec(rank=2), seed)
        for parameter in network.parameters():
            parameter.data.normal_(generator=torch.Generator().manual_seed(seed))
        write_lora(tmp_path / "loras" / f"{name}.safetensors", network.modules(), {})
    assert cli.main(["merge", "A:1,B:-1", "--data", str(tmp_path), "--save", "C", "--rank", "3"]) == 0
    assert "rank 3" in capsys.readouterr().out
    assert read_lora(tmp_path / "loras" / "C.safetensors").metadata["merge_formula"] == "A:1,B:-1"
    assert cli.main(["merge", "A:1", "--data", str(tmp_path), "--save", "C"]) == 2


def test_bench_prints_json_last(monkeypatch, capsys):
    fake = SimpleNamespace(run=lambda: {"speedup": 2.0})
    monkeypatch.setitem(sys.modules, "bench.merge", fake)
    assert cli.main(["bench", "merge"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"speedup": 2.0}


def test_train_then_grid(tiny_checkpoint, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(2):
        render(Spec(size=(64, 64), seed=seed)).save(images / f"{seed}.png")
    toml = tmp_path / "run.toml"
    write_config(toml, TrainConfig(name="doll", trigger="doll", data_dir=str(images), model="tiny", epochs=2, rank=2,
                                   resolution=64, bucket_step=8, max_tokens=75))  # fmt: skip
    place = ["--data", str(tmp_path / "data"), "--checkpoints", str(tiny_checkpoint.parent), "--model", "tiny"]
    assert cli.main(["train", str(toml), *place]) == 0
    out = capsys.readouterr().out
    assert "2/2" in out
    run = out.split("--training ")[1].split()[0]
    arguments = ["--training", run, "--prompt", "doll", "--weights", "0,1", "--size", "64x64", "--steps", "1"]
    assert cli.main(["grid", *arguments, "--output", str(tmp_path / "grid"), *place]) == 0
    assert "4/4" in capsys.readouterr().out
    assert (tmp_path / "grid" / "grid.png").exists()
    assert cli.main(["train", str(toml), *place]) == 2, "the LoRA exists"
    assert cli.main(["train", "--resume", run, *place]) == 2, "the run is finished"
