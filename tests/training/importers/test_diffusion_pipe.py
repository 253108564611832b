"""diffusion-pipe's two files."""

from lib_lora.training.importers.report import IGNORED, TRANSLATED, UNKNOWN

TRAINING = """
output_dir = '/out'
dataset = '/elsewhere/images.toml'
epochs = 40
max_steps = 2000
warmup_steps = 100
micro_batch_size_per_gpu = [[512, 4], [1024, 2]]
pipeline_stages = 1
gradient_accumulation_steps = 2
gradient_clipping = 0.5
save_every_n_epochs = 5
activation_checkpointing = 'unsloth'
save_dtype = 'bfloat16'
[model]
type = 'anima'
transformer_path = '/models/anima-preview.safetensors'
llm_path = '/models/qwen.safetensors'
dtype = 'bfloat16'
transformer_dtype = 'float8'
shift = 3
llm_adapter_lr = 0
merge_adapters = ['/loras/turbo.safetensors']
[adapter]
type = 'lora'
rank = 32
dtype = 'bfloat16'
[optimizer]
type = 'adamw_optimi'
lr = 2e-5
betas = [0.9, 0.99]
weight_decay = 0.02
eps = 1e-8
"""
IMAGES = """
resolutions = [512, [1024, 1024]]
enable_ar_bucket = true
shuffle_tags = true
[[directory]]
path = '/pics'
num_repeats = 5
caption_prefix = 'mira, '
"""


def test_a_training(imported, tmp_path):
    found = imported(TRAINING, "main.toml")
    expected = {
        "rank": 32, "alpha": 32.0, "algorithm": "lora", "epochs": 40, "max_steps": 2000, "warmup": 0.05,
        "batch_size": 2, "schedule": "constant_with_warmup", "gradient_accumulation": 2, "max_grad_norm": 0.5,
        "save_every_n_epochs": 5, "gradient_checkpointing": True, "save_precision": "bf16", "precision": "bf16",
        "fp8_base": True, "flow_shift": 3.0, "timestep_distribution": "logit-normal", "timestep_b": 1.0,
        "apply_loras": "turbo:1", "model": "anima-preview", "optimizer": "AdamW", "unet_lr": 2e-5, "te_lr": 0.0,
        "beta2": 0.99, "weight_decay": 0.02, "optimizer_args": "eps=1e-08",
    }  # fmt: skip
    assert {name: found.values.get(name) for name in expected} == expected
    assert found.format == "diffusion-pipe" and not found.with_outcome(UNKNOWN)
    assert "data_dir" not in found.values and [line.key for line in found.with_outcome(IGNORED)].count("dataset") == 1
    (tmp_path / "images.toml").write_text(IMAGES, encoding="utf-8")
    found = imported(TRAINING, "main.toml")
    assert (found.values["data_dir"], found.values["repeats"], found.values["resolution"]) == ("/pics", "5", 1024)
    assert "dataset" in [line.key for line in found.with_outcome(TRANSLATED)]


def test_sdxl_trains_its_text_encoders_at_timesteps(imported):
    sdxl = TRAINING.replace("anima'", "sdxl'").replace("shift = 3", "unet_lr = 4e-5\nmin_snr_gamma = 5")
    lokr = sdxl.replace("type = 'lora'", "type = 'lokr'\ndecompose_factor = 4").replace("rank = 32", "rank = 1e6")
    found = imported(lokr)
    expected = {
        "unet_lr": 4e-5, "te_lr": 2e-5, "min_snr_gamma": 5.0, "timestep_distribution": "uniform", "lokr_full": True,
        "algorithm": "lokr", "lokr_factor": 4,
    }  # fmt: skip
    assert {name: found.values.get(name) for name in expected} == expected


def test_images_alone_change_what_is_about_images(imported):
    found = imported(IMAGES)
    assert found.format == "diffusion-pipe" and "rank" not in found.values and not found.with_outcome(UNKNOWN)
    assert (found.values["shuffle"], found.values["caption_prefix"]) == (True, "mira, ")
    several = imported(IMAGES + "[[directory]]\npath = '/more'\n")
    assert "data_dir" not in several.values and several.values["resolution"] == 1024
    assert [line.value for line in several.lines if line.key == "directory.path"] == ["/pics", "/more"]
