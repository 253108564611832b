"""Configs of other trainers, written after their documentation, become ours with nothing unexplained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig
from lib_lora.training.importers import format_of, import_config
from lib_lora.training.importers.export import to_kohya_toml
from lib_lora.training.importers.report import APPLIED, IGNORED, TRANSLATED, UNKNOWN
from lib_lora.training.presets import PRESETS

KOHYA = """
[model_arguments]
v2 = false
pretrained_model_name_or_path = "C:\\\\models\\\\anime.safetensors"

[additional_network_arguments]
unet_lr = 0.0005
text_encoder_lr = 0.0001
network_module = "networks.lora"
network_dim = 16
network_alpha = 8
network_args = ["conv_dim=8", "conv_alpha=4", "rank_dropout=0.1"]

[optimizer_arguments]
optimizer_type = "AdamW8bit"
learning_rate = 0.0005
optimizer_args = ["weight_decay=0.1", "betas=0.9,0.99"]
lr_scheduler = "cosine_with_restarts"
lr_scheduler_num_cycles = 3
lr_warmup_steps = 0.05
max_grad_norm = 1.0

[training_arguments]
output_dir = "/content/out"
output_name = "mira"
train_batch_size = 2
max_train_epochs = 10
max_token_length = 225
clip_skip = 2
seed = 7
min_snr_gamma = 5.0
noise_offset = 0.05
ip_noise_gamma = 0.1
xformers = true
cache_latents = true
mixed_precision = "bf16"
"""

DATASET = """
[general]
shuffle_caption = true
keep_tokens = 2
caption_extension = ".txt"

[[datasets]]
resolution = 768
batch_size = 4
bucket_reso_steps = 32

[[datasets.subsets]]
image_dir = "images/mira"
num_repeats = 5
flip_aug = true
caption_tag_dropout_rate = 0.1
"""

GUI = {
    "LoRA_type": "LyCORIS/LoHa", "epoch": 40, "max_resolution": "640,640", "optimizer": "AdamW8bit", "conv_dim": 0,
    "conv_alpha": 16, "network_dim": 8, "network_alpha": "1", "learning_rate": "0.0005", "unet_lr": "0.0005",
    "text_encoder_lr": 0.0005, "lr_scheduler": "cosine", "lr_warmup": 10, "lr_warmup_steps": "", "clip_skip": 2,
    "max_token_length": "225", "keep_tokens": "1", "train_batch_size": 4, "noise_offset_type": "Original",
    "noise_offset": 0.1, "multires_noise_iterations": 8, "multires_noise_discount": 0.2, "min_snr_gamma": 0,
    "xformers": "sdpa", "sample_prompts": "1girl --w 512 --h 512 --s 35", "max_train_epochs": "", "use_tucker": False,
    "additional_parameters": "", "mixed_precision": "fp16", "factor": -1, "output_name": "duo", "dora_wd": True,
    "sdxl": False, "sdxl_no_half_vae": True, "max_grad_norm": 1.0, "stop_text_encoder_training": 0,
}  # fmt: skip

LETS = """
[[subsets]]
name = "subset 1"
image_dir = "D:/sets/5_mira"
num_repeats = 5
shuffle_caption = true
keep_tokens = 1
caption_extension = ".txt"

[train_mode]
train_mode = "lora"

[general_args.args]
pretrained_model_name_or_path = "D:/models/pony.safetensors"
max_train_epochs = 12
seed = 1
clip_skip = 2

[general_args.dataset_args]
resolution = 1024
batch_size = 2

[network_args.args]
network_dim = 8
network_alpha = 4.0

[network_args.args.network_args]
algo = "loha"
conv_dim = 4

[optimizer_args.args]
optimizer_type = "Came"
lr_scheduler_type = "LoraEasyCustomOptimizer.RexAnnealingWarmRestarts.RexAnnealingWarmRestarts"
learning_rate = 0.0001
text_encoder_lr = 1e-6
warmup_ratio = 0.05
lr_scheduler_num_cycles = 1

[optimizer_args.args.optimizer_args]
weight_decay = "0.08"

[optimizer_args.args.lr_scheduler_args]
gamma = 0.9

[bucket_args.dataset_args]
enable_bucket = true
max_bucket_reso = 2048

[noise_args.args]
ip_noise_gamma = 0.05

[saving_args.args]
output_name = "mira_xl"
save_precision = "bf16"
"""


def settings_of(found, **expected):
    return {name: found.values.get(name) for name in expected}


def test_kohya_toml(imported):
    found = imported(KOHYA)
    expected = dict(
        model="anime", unet_lr=5e-4, te_lr=1e-4, algorithm="lora", rank=16, alpha=8.0, conv_rank=8, conv_alpha=4.0,
        rank_dropout=0.1, optimizer="AdamW8bit", weight_decay=0.1, beta1=0.9, beta2=0.99, cycles=3, warmup=0.05,
        schedule="cosine_with_restarts", name="mira", batch_size=2, epochs=10, max_tokens=225, clip_skip=2, seed=7,
        min_snr_gamma=5.0, noise_offset=0.05, ip_noise_gamma=0.1, precision="bf16",
    )  # fmt: skip
    assert settings_of(found, **expected) == expected
    assert found.with_outcome(UNKNOWN) == []
    ignored = {line.key: line.text for line in found.with_outcome(IGNORED)}
    assert set(ignored) == {"v2", "output_dir", "xformers", "cache_latents"} and all(ignored.values())
    found.applied_to(TrainConfig(data_dir="x")).check()


def test_what_a_kohya_config_leaves_out_is_kohyas_default(imported):
    values = imported('output_name = "x"\nnetwork_module = "networks.lora"').values
    assert values["rank"] == 4 and values["alpha"] == 1.0 and values["schedule"] == "constant"
    assert values["min_snr_gamma"] == 0 and not values["shuffle"] and values["max_tokens"] == 75


def test_table_names_do_not_matter(imported):
    flat = "\n".join(line for line in KOHYA.splitlines() if not line.startswith("["))
    assert imported(flat) == imported(KOHYA)


def test_kohya_dataset_changes_data_only(imported):
    found = imported(DATASET)
    expected = dict(
        shuffle=True, keep_tokens=2, caption_extension=".txt", resolution=768, batch_size=4, bucket_step=32,
        data_dir="images/mira", repeats="5", flip=True, tag_dropout=0.1,
    )  # fmt: skip
    assert settings_of(found, **expected) == expected
    assert "rank" not in found.values and "unet_lr" not in found.values
    assert found.with_outcome(UNKNOWN) == []


def test_several_folders_are_explained(imported):
    second = '\n[[datasets.subsets]]\nimage_dir = "images/other"\nnum_repeats = 2\nflip_aug = false\n'
    found = imported(DATASET + second)
    lines = {line.key for line in found.with_outcome(IGNORED)}
    assert {"image_dir", "subsets[1].flip_aug"} <= lines and "data_dir" not in found.values


def test_kohya_ss_gui(imported):
    found = imported(GUI)
    expected = dict(
        algorithm="loha", epochs=40, resolution=640, optimizer="AdamW8bit", rank=8, alpha=1.0, unet_lr=5e-4, te_lr=5e-4,
        warmup=0.1, clip_skip=2, max_tokens=225, keep_tokens=1, batch_size=4, noise_offset=0.1, conv_alpha=16.0,
        sample_prompts="1girl --w 512 --h 512 --s 35", name="duo", dora=True, min_snr_gamma=0.0, schedule="cosine",
    )  # fmt: skip
    assert settings_of(found, **expected) == expected
    assert found.values["multires_iterations"] == 0
    assert found.with_outcome(UNKNOWN) == []
    assert {line.key for line in found.lines} >= set(GUI)


def test_lora_easy_training_scripts(imported):
    found = imported(LETS)
    expected = dict(
        model="pony", epochs=12, resolution=1024, batch_size=2, algorithm="loha", rank=8, alpha=4.0, conv_rank=4,
        optimizer="CAME", schedule="rex_with_restarts", unet_lr=1e-4, te_lr=1e-6, warmup=0.05, cycles=1,
        weight_decay=0.08, cycle_decay=0.9, bucket_max=2048, ip_noise_gamma=0.05, name="mira_xl", save_precision="bf16",
        data_dir="D:/sets/5_mira", repeats="5", shuffle=True, keep_tokens=1,
    )  # fmt: skip
    assert settings_of(found, **expected) == expected
    assert found.with_outcome(UNKNOWN) == []


def test_formats_are_told_apart():
    assert format_of({"LoRA_type": "Standard"}) == "kohya_ss GUI"
    assert format_of({"general_args": {"args": {}}}) == "LoRA Easy Training Scripts"
    assert format_of({"training_arguments": {"seed": 1}}) == format_of({"datasets": []}) == "kohya"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ('optimizer_type = "Adafactor"', {"optimizer": "Adafactor (relative step)"}),
        ('optimizer_type = "Adafactor"\noptimizer_args = ["relative_step=False"]', {"optimizer": "Adafactor"}),
        ('optimizer_type = "Prodigy"\noptimizer_args = ["decouple=True", "d_coef=2", "weight_decay=0.01"]',
         {"optimizer": "Prodigy", "weight_decay": 0.01,
          "optimizer_args": "bias_correction=False safeguard_warmup=False weight_decouple=True d_coef=2"}),
        ('lr_scheduler = "constant"\nlr_warmup_steps = 100\nmax_train_steps = 1000',
         {"schedule": "constant_with_warmup", "warmup": 0.1}),
        ("zero_terminal_snr = true", {"zero_terminal_snr": True, "zero_terminal_old_snr": True}),
        ("learning_rate = 1e-4", {"unet_lr": 1e-4, "te_lr": 1e-4}),
        ("learning_rate = 1e-4\nnetwork_train_unet_only = true", {"unet_lr": 1e-4, "te_lr": 0.0}),
        ('resolution = "512,768"', {"resolution": 624}),
        ('network_module = "lycoris.kohya"\nnetwork_args = ["algo=lokr", "factor=8", "preset=attn-mlp"]',
         {"algorithm": "lokr", "lokr_factor": 8, "layers": "attention+mlp"}),
        ("use_timestep_mask = true\nmin_rank = 3\nnetwork_dim = 16\nalpha_rank_scale = 1.0", {"tlora_rank": 3}),
        ("use_timestep_mask = true\nmin_rank = 30\nnetwork_dim = 16", {"tlora_rank": 16}),
        ("use_timestep_mask = false\nmin_rank = 3\nnetwork_dim = 16", {"tlora_rank": 0}),
    ],
)  # fmt: skip
def test_translations(imported, options, expected):
    assert settings_of(imported(options), **expected) == expected


def test_what_is_not_known_is_said(imported):
    found = imported("use_timestep_mask = true\nalpha_rank_scale = 2")
    assert "evenly" in next(line.text for line in found.with_outcome(IGNORED) if line.key == "alpha_rank_scale")
    found = imported('no_such_option = 1\noptimizer_type = "Compass"\nmax_train_steps = 1600\nmax_train_epochs = 3')
    assert [line.key for line in found.with_outcome(UNKNOWN)] == ["no_such_option"]
    ignored = {line.key: line.text for line in found.with_outcome(IGNORED)}
    assert (
        "not offered" in ignored["optimizer_type"]
        and "epochs" in ignored["max_train_steps"]
        and found.values["max_steps"] == 0
    )


def test_broken_files_are_named(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_bytes(b"\xff\xfe = ")
    with pytest.raises(UserError, match="neither a TOML, JSON or YAML"):
        import_config(path)
    with pytest.raises(UserError, match="no such config"):
        import_config(tmp_path / "none.toml")


CHANGED = dict(
    name="mira", data_dir="sets", model="anime", rank=8, alpha=4.0, conv_rank=4, dora=True, optimizer="Prodigy",
    optimizer_args="d_coef=2", schedule="rex", warmup=0.1, ip_noise_gamma=0.05, keep_tokens=2, tag_dropout=0.1,
    loss_type="huber", unet_lr=1.0, te_lr=0.5, zero_terminal_snr=True, zero_terminal_old_snr=True,
)  # fmt: skip
NOT_IN_KOHYA = {"fixed_loss_images", "fixed_loss_timesteps", "repeats", "trigger", "caption_prefix", "preserve_class"}


@pytest.mark.parametrize("preset", [None, *PRESETS], ids=lambda p: p.name if p else "changed")
def test_export_and_import_give_the_settings_back(imported, preset):
    config = TrainConfig(**CHANGED) if preset is None else preset.applied_to(TrainConfig(name="x", data_dir="sets"))
    found = imported(to_kohya_toml(config))
    assert found.with_outcome(UNKNOWN) == []
    again = found.applied_to(TrainConfig())
    own = {"beta2": again.beta2} if config.optimizer.startswith("Adafactor") else {}  # which has no such betas
    own |= {name: getattr(again, name) for name in ("caption_extension", "bucket_min", "bucket_max")}
    if config.timestep_distribution != "uniform":  # the export is for kohya's trainer of SD and SDXL, and says so
        own |= {name: getattr(again, name) for name in ("timestep_distribution", "flow_shift")}
        assert "# Not in this file: Timestep" in to_kohya_toml(config)
    assert replace(again, **own) == replace(config, model=again.model, **own)
    assert found.with_outcome(APPLIED) and found.with_outcome(TRANSLATED)
