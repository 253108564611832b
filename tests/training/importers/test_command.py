"""A command line of kohya's trainer, as it stands in a terminal and in scripts for three systems."""

import pytest

from lib_lora.errors import UserError
from lib_lora.training.importers.command import options_of
from lib_lora.training.importers.report import IGNORED, UNKNOWN

EXPECTED = {
    "rank": 16, "alpha": 8.0, "conv_rank": 4, "unet_lr": 1e-4, "te_lr": 5e-5, "weight_decay": 0.1, "beta2": 0.95,
    "shuffle": True, "epochs": 8, "resolution": 768, "name": "mira v1", "model": "my base", "flip": False,
}  # fmt: skip
BASH = """#!/bin/bash
# --network_dim=99 is what we had
base="/models/my base.safetensors"   # a remark
export DIM=16
args=()
if [[ $sdxl == 1 ]]; then args+=("--flip_aug"); fi
accelerate launch "${args[@]}" --num_cpu_threads_per_process 2 train_network.py \\
  --pretrained_model_name_or_path="$base" \\
  --network_module=networks.lora --network_dim=$DIM --network_alpha 8 \\
  --network_args "conv_dim=4" 'conv_alpha=1' \\
  --optimizer_args weight_decay=0.1 "betas=0.9,0.95" \\
  --unet_lr=1e-4 --text_encoder_lr 5e-5 --output_name="mira v1" \\
  --max_train_epochs=8 --resolution=768,768 --shuffle_caption ${more[@]}
"""
BATCH = """@echo off
REM --network_dim=99 is what we had
set "BASE=C:\\sd models\\my base.safetensors"
set DIM=16
accelerate launch --num_cpu_threads_per_process=2 "train_network.py" ^
  --pretrained_model_name_or_path="%BASE%" --network_module="networks.lora" ^
  --network_dim=%DIM% --network_alpha=8 --network_args "conv_dim=4" "conv_alpha=1" ^
  --optimizer_args "weight_decay=0.1" "betas=0.9,0.95" --unet_lr=1e-4 --text_encoder_lr=5e-5 ^
  --output_name="mira v1" --max_train_epochs=8 --resolution="768,768" --shuffle_caption
pause
"""
POWERSHELL = """# --network_dim=99 is what we had
$base = ".\\models\\my base.safetensors" # a remark
$dim = 16
$Env:HF_HOME = "huggingface"
$ext_args = [System.Collections.ArrayList]::new()
[void]$ext_args.Add("--flip_aug")
python -m accelerate.commands.launch $launch_args ./train_network.py `
  --pretrained_model_name_or_path=$base `
  --network_module="networks.lora" --network_dim=$dim --network_alpha=8 `
  --network_args "conv_dim=4" "conv_alpha=1" --optimizer_args weight_decay=0.1 betas=0.9,0.95 `
  --unet_lr=1e-4 --text_encoder_lr=5e-5 --output_name="mira v1" `
  --max_train_epochs=8 --resolution=768,768 --shuffle_caption $ext_args
Read-Host
"""
TYPED = """accelerate launch train_network.py
--pretrained_model_name_or_path “/models/my base.safetensors”
--network_module networks.lora
--network_dim 16 --network_alpha 8
--network_args conv_dim=4 conv_alpha=1
--optimizer_args weight_decay=0.1 betas=0.9,0.95
--unet_lr 1e-4 --text_encoder_lr 5e-5 --output_name “mira v1”
--max_train_epochs 8 --resolution 768,768 --shuffle_caption
"""


@pytest.mark.parametrize(
    ("script", "name"),
    [(BASH, "train.sh"), (BATCH, "train.bat"), (BATCH.replace("\n", "\r\n"), "train.cmd"), (POWERSHELL, "train.ps1"),
     (TYPED, "command.txt"), (TYPED.replace("\n", " "), "command.txt"), (f"\ufeff{POWERSHELL}", "train.ps1")],
)  # fmt: skip
def test_one_command_in_every_script(imported, script, name):
    found = imported(script, name)
    assert {name: found.values[name] for name in EXPECTED} == EXPECTED
    assert found.format == "kohya" and not found.with_outcome(UNKNOWN)


def test_a_variable_from_elsewhere_costs_its_option(imported):
    found = imported("train.py --network_module=networks.lora --network_dim=$dim --max_train_epochs %N%\n", "a.sh")
    assert {line.key for line in found.with_outcome(IGNORED)} == {"network_dim", "max_train_epochs"}
    assert found.values["rank"] == 4  # kohya's own


def test_a_config_that_speaks_of_a_command_is_a_config(imported):
    found = imported('network_dim = 8\ntraining_comment = "as --network_dim=16 before"\n', "c.toml")
    assert found.values["rank"] == 8


def test_a_script_without_a_command_is_refused(imported):
    for script in ("#!/bin/bash\n# --network_dim=8\npip install torch\n", "python gui.py --listen\n"):
        with pytest.raises(UserError):
            imported(script, "run.sh")
    with pytest.raises(UserError, match="a quote is not closed"):
        imported('train_network.py --network_dim=8 --output_name "mira\n', "run.sh")


def test_words_of_one_option():
    assert options_of("--x $d --y ${e}", {"d": "a b"}) == {"x": "a b", "y": True}
    assert options_of("--a 1 2 --b=x y --c --d '-1' --a=3") == {"a": "3", "b": "x", "c": True, "d": "-1"}
