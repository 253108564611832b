"""Our settings as a TOML file for kohya's trainer."""

from __future__ import annotations

import json
from typing import Any

from lib_lora.training.config import TrainConfig
from lib_lora.training.importers.kohya_keys import DIRECT
from lib_lora.training.optimizers import RECIPES

OPTIMIZERS = {"Adafactor (relative step)": "Adafactor", "ScheduleFreeAdamW": "AdamWScheduleFree",
              "ScheduleFreeRAdam": "RAdamScheduleFree", "ScheduleFreeSGD": "SGDScheduleFree"}  # fmt: skip
OF_PYTORCH_OPTIMIZER = ("CAME", "AdEMAMix")
LYCORIS = {"oft": "diag-oft"}
ZERO_IS_NONE = ("min_snr_gamma", "noise_offset", "ip_noise_gamma", "multires_noise_iterations", "adaptive_noise_scale",
                "scale_weight_norms", "v_pred_like_loss", "network_dropout", "min_bucket_reso", "max_bucket_reso",
                "caption_dropout_every_n_epochs")  # fmt: skip


def to_kohya_toml(config: TrainConfig) -> str:
    """What kohya's ``train_network.py --config_file`` reads; settings that it does not have are left out."""
    options = {kohya: getattr(config, name) for kohya, name in DIRECT.items()}
    options = {k: v for k, v in options.items() if v != "" and not (k in ZERO_IS_NONE and v == 0)}
    options.update(_optimizer(config), **_network(config))
    options.update(
        pretrained_model_name_or_path=config.model,
        resolution=str(config.resolution),
        unet_lr=config.unet_lr,
        text_encoder_lr=config.te_lr,
        clip_skip=config.clip_skip,
        mixed_precision=config.precision if config.precision in ("bf16", "fp16") else "no",
        enable_bucket=True,
        cache_latents=True,
    )
    options.setdefault("caption_extension", ".txt")
    if config.masks != "off":
        options["alpha_mask" if config.masks == "alpha" else "masked_loss"] = True
    if config.wildcards or config.random_line:
        options["enable_wildcard"] = True
    if config.max_tokens > 75:
        options["max_token_length"] = config.max_tokens
    if config.zero_terminal_snr:
        options["zero_terminal_snr"] = True
    if config.repeats != "auto":
        options["dataset_repeats"] = int(config.repeats)
    if config.trigger:
        options["caption_prefix"] = f"{config.trigger}, {config.caption_prefix}".strip()
    return "".join(f"{key} = {_toml(value)}\n" for key, value in options.items())


def _optimizer(c: TrainConfig) -> dict[str, Any]:
    arguments = [f"weight_decay={c.weight_decay}"]
    recipe = RECIPES[c.optimizer]
    if recipe.betas is not None:
        arguments.append(f"betas=({', '.join(map(str, (c.beta1, c.beta2, *recipe.betas)))})")
    if recipe.kind == "AdaFactor":
        arguments += [f"relative_step={recipe.own_rate}", f"scale_parameter={recipe.own_rate}"]
    name = OPTIMIZERS.get(c.optimizer, c.optimizer)
    if c.optimizer in OF_PYTORCH_OPTIMIZER:
        name = f"pytorch_optimizer.{name}"
    found: dict[str, Any] = {"optimizer_type": name, "optimizer_args": [*arguments, *c.optimizer_args.split()]}
    found["lr_scheduler"] = "cosine_with_min_lr" if c.schedule == "cosine" and c.min_lr else c.schedule
    if c.warmup:
        found["lr_warmup_steps"] = c.warmup
    return found


def _network(c: TrainConfig) -> dict[str, Any]:
    plain = c.algorithm == "lora" and not (c.dora or c.tucker or c.rs_lora or c.train_norm)
    arguments = [] if plain else [f"algo={'locon' if c.algorithm == 'lora' else LYCORIS.get(c.algorithm, c.algorithm)}"]
    if c.conv_rank:
        arguments += [f"conv_dim={c.conv_rank}", f"conv_alpha={c.conv_alpha}"]
    switches = {"dora_wd": c.dora, "use_tucker": c.tucker, "rs_lora": c.rs_lora, "full_matrix": c.lokr_full,
                "decompose_both": c.lokr_both, "train_norm": c.train_norm}  # fmt: skip
    arguments += [f"{name}=True" for name, on in switches.items() if on]
    arguments += ["wd_on_output=False"] if c.dora else []
    arguments += [f"factor={c.lokr_factor}"] if c.algorithm == "lokr" else []
    numbers = {"rank_dropout": c.rank_dropout, "module_dropout": c.module_dropout}
    arguments += [f"{name}={value}" for name, value in numbers.items() if value]
    return {"network_module": "networks.lora" if plain else "lycoris.kohya", "network_args": arguments}


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (str, list)) else repr(value)
