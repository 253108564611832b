"""Facts about kohya's options: their defaults in our settings, and those that have no counterpart here."""

from __future__ import annotations

from typing import Any

from lib_lora.training.config import default_of, settings
from lib_lora.training.config_groups.setting import CAPTIONS, IMAGES, LOSS, NETWORK, NOISE, OPTIMIZER, SCHEDULE

# Settings of these groups that are left as they are where a file says nothing: they change no result, or the file of
# another trainer cannot mean them
_KEPT = {"resolution", "fixed_loss_images", "fixed_loss_timesteps", "chunk_layout", "caption_extension"}
_OF_THE_COMMAND_LINE = {"max_tokens", "clip_skip", "weighted_captions"}


def neutral(*groups: str) -> dict[str, Any]:
    """The settings of ``groups`` as they are where nothing is switched on."""
    off = {"shuffle": False, "keep_tokens": 0, "max_tokens": 75, "min_snr_gamma": 0.0, "schedule": "constant",
           "weight_decay": 0.0, "beta2": 0.999}  # fmt: skip
    known = {n: f for n, f in settings().items() if f.metadata["group"] in groups and n not in _KEPT}
    return {name: off.get(name, default_of(f)) for name, f in known.items()}


# What kohya's trainer does where a config says nothing
DEFAULTS: dict[str, Any] = neutral(NETWORK, OPTIMIZER, SCHEDULE, CAPTIONS, IMAGES, NOISE, LOSS) | {
    "rank": 4, "alpha": 1.0, "batch_size": 1, "unet_lr": 2e-6, "te_lr": 2e-6, "weight_decay": 0.01,
    "bucket_min": 256, "bucket_max": 1024, "max_steps": 1600, "save_every_n_epochs": 0, "save_every_n_steps": 0,
    "sample_every_n_epochs": 0, "sample_every_n_steps": 0, "sample_first": False,
}  # fmt: skip
DATA_DEFAULTS = {n: v for n, v in neutral(CAPTIONS, IMAGES).items() if n not in _OF_THE_COMMAND_LINE} | {
    "batch_size": 1, "bucket_min": 256, "bucket_max": 1024,
}  # fmt: skip

# Options with a rule of their own in kohya.py, though a setting bears their name
_SPECIAL = {
    "network_module", "optimizer_type", "optimizer_args", "lr_scheduler", "lr_warmup_steps", "lr_decay_steps",
    "resolution", "zero_terminal_snr", "save_state", "mixed_precision", "token_warmup_step", "num_repeats", "unet_lr",
    "text_encoder_lr", "max_token_length", "sample_prompts", "pretrained_model_name_or_path", "trigger",
    "max_validation_steps", "validation_timesteps", "clip_skip", "stop_text_encoder_training", "masked_loss",
    "enable_wildcard", "network_dim", "network_alpha", "max_train_epochs", "max_train_steps", "seed",
    "caption_extension", "save_precision", "lr_scheduler_min_lr_ratio", "lr_scheduler_num_cycles",
}  # fmt: skip

# kohya's name -> our setting, where value and meaning are the same
DIRECT: dict[str, str] = {
    f.metadata["kohya"]: name
    for name, f in settings().items()
    if f.metadata["kohya"].isidentifier() and f.metadata["kohya"] not in _SPECIAL
}

_HOST = "The host decides that"
_FILES = "Files go to the host's LoRA folder, and a run has a folder of its own"
_ALWAYS = "Always done here"
_LOADER = "Images are read without worker processes"
_MODEL = "Read from the loaded model"
_LOG = "Each run keeps its metrics, without an account"
_FAMILY = "For another family of models"

IGNORED: dict[str, str] = {
    **dict.fromkeys(("xformers", "sdpa", "mem_eff_attn", "lowram", "highvram", "torch_compile", "dynamo_backend",
                     "num_cpu_threads_per_process", "num_processes", "num_machines", "multi_gpu", "gpu_ids",
                     "main_process_port", "extra_accelerate_launch_args", "no_half_vae", "vae", "vae_batch_size",
                     "opt_channels_last", "tokenizer_cache_dir", "split_attn", "lowvram", "attn_mode", "flash_attn",
                     "sage_attn", "compile", "vae_dtype", "disable_mmap_load_safetensors"), _HOST),
    **dict.fromkeys(("output_dir", "logging_dir", "log_prefix", "save_last_n_epochs",
                     "save_last_n_steps", "save_last_n_epochs_state", "save_last_n_steps_state", "resume",
                     "save_state_on_train_end", "mem_eff_save", "resume_from_huggingface"), _FILES),
    **dict.fromkeys(("cache_latents", "cache_latents_to_disk", "enable_bucket", "caption_separator",
                     "cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk"), _ALWAYS),
    **dict.fromkeys(("max_data_loader_n_workers", "persistent_data_loader_workers"), _LOADER),
    **dict.fromkeys(("v2", "v_parameterization", "sdxl"), _MODEL),
    **dict.fromkeys(("log_with", "log_config", "log_tracker_name", "log_tracker_config", "wandb_api_key",
                     "wandb_run_name", "huggingface_repo_id", "huggingface_token", "huggingface_repo_type",
                     "huggingface_repo_visibility", "huggingface_path_in_repo", "save_state_to_huggingface",
                     "async_upload"), _LOG),
    **dict.fromkeys(("metadata_author", "metadata_description", "metadata_license", "metadata_tags", "metadata_title",
                     "training_comment"), "Written when a file is exported"),
    **dict.fromkeys(("t5xxl", "t5xxl_lr", "t5xxl_max_token_length", "flow_matching", "guidance_scale",
                     "model_prediction_type", "model_type", "clip_l", "clip_g", "ae",
                     "blocks_to_swap", "apply_t5_attn_mask", "dit", "text_encoder", "text_encoder1", "text_encoder2",
                     "qwen3", "gemma2", "mode_scale",
                     "fp8_scaled", "fp8_t5", "fp8_llm", "fp8_vl", "model_version", "dit_dtype", "t5"), _FAMILY),
    "no_token_padding": "Captions are filled up to 77 tokens, as in the web UI. The result will differ",
    "rank_dropout_scale": "What rank dropout leaves is always enlarged",
    **dict.fromkeys(("full_fp16", "full_bf16"), "The LoRA is always trained in fp32"),
    **dict.fromkeys(("face_crop_aug_range",),
                    "Not offered: it would keep latents from being cached. The result will differ"),
    **dict.fromkeys(("save_n_epoch_ratio",
                     "validation_seed", "validate_every_n_steps", "validate_every_n_epochs",
                     "max_validation_steps", "validation_timesteps"),
                    "Files, samples and the fixed-noise loss come once per epoch, as set here"),
    "config_file": "Import that file too: it has the rest",
    "dim_from_weights": "A run starts from nothing or from one file, with the rank set here. The result may differ",
    "save_model_as": "Files are always safetensors",
    "no_metadata": "Files always say how they were trained",
    "sample_sampler": "Samples are drawn with the host's sampler",
    "debug_dataset": "The Check button shows what will be trained",
    "skip_cache_check": "The cache knows by content what it holds",
    "lr_scheduler_timescale": "The inverse square root counts from the warm-up",
    "fused_backward_pass": "Has no effect on a LoRA in kohya's trainer either",
    "noise_offset_type": "Says which of the noise settings count",
    "train_inpainting": "Inpainting models are not trained here",
    "custom_attributes": "Not offered. The result will differ",
    "resize_interpolation": "Shrinking averages areas, enlarging uses Lanczos, as kohya's default",
}  # fmt: skip

# What accelerate's own file has: a file of these is about the computer, not about a training
OF_THE_COMPUTER = {key for key, reason in IGNORED.items() if reason == _HOST} | {"mixed_precision"}
# Options that other programs' files have too: they alone do not make a file kohya's
COMMON = {
    "learning_rate", "seed", "resolution", "batch_size", "epoch", "gradient_accumulation_steps", "max_grad_norm",
    "gradient_checkpointing", "lr_scheduler", "lr_scheduler_type", "mixed_precision", "xformers", "output_dir",
    "logging_dir", "name", "trigger", "vae", "lr_warmup_steps", "train_batch_size", "noise_offset", "resume", "sdxl",
    "pretrained_model_name_or_path", "max_train_steps", "train_data_dir", "compile", "text_encoder", "guidance_scale",
    "lowvram", "precision", "num_processes", "num_machines", "gpu_ids", "custom_attributes", "t5", "optimizer",
    "model_type",
}  # fmt: skip
