"""What kohya_ss' shipped presets and the two-subjects guide's configs say, key by key, is explained."""

from __future__ import annotations

import json

import pytest

from lib_lora.training.config import TrainConfig
from lib_lora.training.importers import import_config
from lib_lora.training.importers.report import UNKNOWN

# the fields that such a preset has beside those that matter, as found in the files of the program's 2024-2026 releases
COMMON = {
    "LoRA_type": "LyCORIS/LoKr", "adaptive_noise_scale": 0, "additional_parameters": "", "bucket_no_upscale": True,
    "bucket_reso_steps": 1, "cache_latents": True, "cache_latents_to_disk": False, "caption_extension": ".txt",
    "color_aug": False, "decompose_both": False, "dim_from_weights": False, "epoch": 10, "factor": -1,
    "flip_aug": False, "keep_tokens": 0, "learning_rate": 1.0, "lora_network_weights": "", "lowvram": False,
    "lr_scheduler": "constant", "lr_warmup": 0, "max_data_loader_n_workers": "0", "max_resolution": "512,512",
    "max_timestep": 1000, "mem_eff_attn": False, "min_timestep": 0, "mixed_precision": "bf16", "network_alpha": 1,
    "network_dim": 4, "no_token_padding": False, "noise_offset_type": "Original", "optimizer": "Prodigy",
    "optimizer_args": "decouple=True weight_decay=0.45 d_coef=2", "random_crop": False, "rank_dropout": 0,
    "rank_dropout_scale": False, "save_precision": "bf16", "seed": "", "shuffle_caption": False, "train_batch_size": 1,
    "train_on_input": False, "unit": 1, "v2": False, "v_parameterization": False, "vae_batch_size": 0,
    "weighted_captions": False, "xformers": "xformers",
}  # fmt: skip

VARIANTS = {
    "LoKr with a whole second factor": (
        {"network_dim": 100000, "factor": 8},
        {"algorithm": "lokr", "lokr_full": True, "lokr_factor": 8, "bucket_step": 8},
    ),
    "IA3, whose rank does not matter": ({"LoRA_type": "LyCORIS/iA3", "network_dim": 1024}, {"algorithm": "ia3"}),
    "raw options": (
        {"additional_parameters": "--max_grad_norm=0 --network_train_unet_only"},
        {"max_grad_norm": 0.0, "te_lr": 0.0, "unet_lr": 1.0},
    ),
    "a schedule by its class": (
        {"additional_parameters": '--lr_scheduler_type "CosineAnnealingLR" '},
        {"schedule": "cosine"},
    ),
    "both kinds of epochs": ({"epoch": 1, "max_train_epochs": "8"}, {"epochs": 8}),
    "only the page's epochs": ({"epoch": 3, "max_train_epochs": ""}, {"epochs": 3}),
    "weights to start from": ({"lora_network_weights": "D:/loras/old.safetensors"}, {}),
}

# The keys and values of the config in the two-subjects guide (gustproof, "1to2") and, after `mem_eff_attn`, of the
# notebook that writes such files. Side length and kept tokens stand in the guide's file as remarks.
TWO_SUBJECTS = """
[model_arguments]
v2 = false
v_parameterization = false
pretrained_model_name_or_path = "Animefull-final-pruned.ckpt"
[additional_network_arguments]
no_metadata = false
unet_lr = 0.0005
text_encoder_lr = 0.0005
network_module = "lycoris.kohya"
network_dim = 8
network_alpha = 1
network_args = [ "conv_dim=0", "conv_alpha=16", "algo=loha",]
network_train_unet_only = false
network_train_text_encoder_only = false
[optimizer_arguments]
optimizer_type = "AdamW8bit"
learning_rate = 0.0005
max_grad_norm = 1.0
lr_scheduler = "cosine"
lr_warmup_steps = 0
[dataset_arguments]
debug_dataset = false
# keep token 1
# resolution 640*640
{data}
[training_arguments]
output_name = "cg3comp"
save_precision = "fp16"
save_every_n_epochs = 1
train_batch_size = {batch}
max_token_length = 225
mem_eff_attn = false
xformers = true
max_train_epochs = 40
max_data_loader_n_workers = 8
persistent_data_loader_workers = true
gradient_checkpointing = false
gradient_accumulation_steps = 1
mixed_precision = "fp16"
clip_skip = 2
logging_dir = "/content/LoRA/logs"
log_prefix = "cg3comp"
lowram = true
[sample_prompt_arguments]
sample_every_n_epochs = 1
sample_sampler = "k_euler_a"
[dreambooth_arguments]
prior_loss_weight = 1.0
[saving_arguments]
save_model_as = "safetensors"
"""


@pytest.mark.parametrize("name", VARIANTS)
def test_a_preset_of_the_page(tmp_path, name):
    changes, expected = VARIANTS[name]
    document = COMMON | changes
    path = tmp_path / "preset.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    found = import_config(path)
    assert not found.with_outcome(UNKNOWN)
    assert document.keys() <= {line.key.split(".")[0] for line in found.lines}
    assert expected.items() <= found.values.items()
    assert not [line for line in found.lines if line.value is False and "differ" in line.text]
    found.applied_to(TrainConfig(name="a", data_dir="b")).check()


FROM_GUIDE = {
    "algorithm": "loha", "rank": 8, "alpha": 1.0, "conv_rank": 0, "unet_lr": 5e-4, "te_lr": 5e-4,
    "optimizer": "AdamW8bit", "schedule": "cosine", "max_grad_norm": 1.0, "epochs": 40, "max_tokens": 225,
    "clip_skip": 2, "precision": "fp16", "save_every_n_epochs": 1, "sample_every_n_epochs": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("batch", "data", "of_data"),
    [
        (4, "", {"resolution": TrainConfig().resolution}),
        (4, 'keep_tokens = 1\nresolution = "640,640"', {"keep_tokens": 1, "resolution": 640}),
        (2, 'keep_tokens = 1\nresolution = "768,768"', {"keep_tokens": 1, "resolution": 768}),
    ],
    ids=["as published", "stage 1", "stage 2"],
)
def test_the_two_subjects_guide(tmp_path, batch, data, of_data):
    path = tmp_path / "config_file.toml"
    path.write_text(TWO_SUBJECTS.replace("{data}", data).replace("{batch}", str(batch)), encoding="utf-8")
    found = import_config(path)
    assert not found.with_outcome(UNKNOWN)
    config = found.applied_to(TrainConfig(data_dir="b")).check()
    wanted = FROM_GUIDE | {"batch_size": batch} | of_data
    assert {name: getattr(config, name) for name in wanted} == wanted
