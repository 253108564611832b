"""Our settings as a TOML file for kohya's trainer, and what that file cannot say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib_lora.adapters.blocks import BlockWeights, load_presets
from lib_lora.adapters.formula import parse
from lib_lora.errors import UserError
from lib_lora.lora_files import find_lora
from lib_lora.models.families import families
from lib_lora.training.config import TrainConfig, settings
from lib_lora.training.flow import MEANINGLESS, meaningful
from lib_lora.training.importers import kohya_blocks, kohya_flow
from lib_lora.training.importers.kohya import translate
from lib_lora.training.importers.kohya_keys import DIRECT
from lib_lora.training.importers.kohya_optimizer import OF_PYTORCH_OPTIMIZER, WITH_LOWEST, as_kohya
from lib_lora.training.lr_schedule import CYCLIC
from lib_lora.training.optimizers import RECIPES, Recipe, parse_arguments, recipe_of

OPTIMIZERS = {"Adafactor (relative step)": "Adafactor", "ScheduleFreeAdamW": "AdamWScheduleFree",
              "ScheduleFreeRAdam": "RAdamScheduleFree", "ScheduleFreeSGD": "SGDScheduleFree"}  # fmt: skip
LYCORIS = {"oft": "diag-oft"}
LAYERS = {"attention": "attn-only", "attention+mlp": "attn-mlp", "attention+mlp+conv": "full"}
# Options that are left out at 0, for kohya's trainer means something else by a 0 there, or stops
ZERO_IS_NONE = ("min_snr_gamma", "noise_offset", "ip_noise_gamma", "multires_noise_iterations", "adaptive_noise_scale",
                "scale_weight_norms", "v_pred_like_loss", "network_dropout", "caption_dropout_every_n_epochs",
                "sample_every_n_epochs", "save_every_n_epochs",
                "sample_every_n_steps", "save_every_n_steps", "validation_split", "max_grad_norm")  # fmt: skip
# Settings that the file says in other words, or that belong to this program alone and change no result
IN_OTHER_WORDS = {"trigger", "caption_prefix", "caption_extension", "bucket_min", "bucket_max", "model",
                  "sample_prompts", "state_every_n_steps", "fixed_loss_images", "fixed_loss_timesteps",
                  "checkpoint_blocks", "batch_parts", "chunk_layout"}  # fmt: skip
REASONS = {
    "schedule": "kohya's trainer has no such schedule; LoRA Easy Training Scripts has rex",
    "layers": "it chooses layers by these presets only: " + ", ".join(LAYERS),
    "zero_terminal_old_snr": "kohya's trainer always weighs by the old SNR",
    "random_line": "kohya's trainer switches it together with wildcards",
    "wildcards": "kohya's trainer switches it together with random lines",
    "decay_share": "a share of all steps cannot be said there",
    "token_warmup": "a share of all steps cannot be said there",
    "flow_shift": "it has one for other families of models only",
    "apply_loras": "its base_weights have no weights per block",
    "min_lr": f"its schedules have none but {' and '.join(WITH_LOWEST)}",
    "nested_ranks": "its DyLoRA trains in another way",
    "tlora_rank": "it trains all ranks at every noise level",
    "nearest_noise": "it draws one noise for each image",
}
OF_A_FLOW = {**MEANINGLESS, "flow_shift": "kohya's trainers do not draw such noise levels",
             **dict.fromkeys(kohya_flow.BOUNDS, "kohya's trainer of this family does not heed it")}  # fmt: skip
SCRIPTS = dict.fromkeys(("", "sd1", "sd2"), "train_network.py") | dict.fromkeys(
    ("sdxl", "ssd1b", "vega"), "sdxl_train_network.py"
)


@dataclass(frozen=True)
class Exported:
    """A config for kohya's trainer.

    Attributes:
        text: the TOML file, with what it cannot say as remarks at its top.
        prompts_file, prompts: name and text of the file with sample prompts that it names; "" where there are none.
        left_out: label of each setting that changes the result and is not in the file -> why.
        script: of kohya's, that the file is for.
    """

    text: str
    prompts_file: str
    prompts: str
    left_out: dict[str, str]
    script: str


def export_kohya(config: TrainConfig, family: str = "", loras: Sequence[Path] = ()) -> Exported:
    """What kohya's ``train_network.py --config_file`` reads, with all that it can say.

    Args:
        family: of the model that is to be trained; "" is one of SD. For one of :data:`kohya_flow.OF_FAMILY` the file is
            for the script of that family, and has its noise levels, if the LoRA is a plain one: LyCORIS does not say a
            family.
        loras: folders of the LoRAs that act while this one is trained, whose paths the file has then.
    """
    flow = kohya_flow.OF_FAMILY.get(family)
    target = flow if _is_plain(config) else None
    options = _options(meaningful(config)[0] if target else config)
    options |= {"v2": True} if family == "sd2" else {}
    options |= _base_weights(config.apply_loras, loras)
    if target:
        own = [word for word in options["network_args"] if word not in kohya_blocks.to_kohya(config)]
        options |= {"network_module": target.module, "network_args": own, **kohya_flow.to_kohya(config, target)}
        if not kohya_flow.TRAINERS[target.module].bounded:
            options = {key: value for key, value in options.items() if key not in kohya_flow.BOUNDS}
    prompts_file = f"{config.name or 'lora'}-prompts.txt" if config.sample_prompts.strip() else ""
    if prompts_file:
        options["sample_prompts"] = prompts_file
    left_out = _left_out(config, options, OF_A_FLOW if target else {})
    script = flow.script if flow else SCRIPTS.get(family, "" if family in families() else SCRIPTS[""])
    if not script:
        why = "kohya's sd-scripts trains no such model, musubi-tuner may"
        left_out, script = {f"Model = {families()[family].label}": why, **left_out}, "musubi-tuner's"
    remarks = [f"# Not in this file: {label} ({why})" for label, why in left_out.items()]
    lines = [*remarks, *(f"{key} = {_toml(value)}" for key, value in options.items())]
    return Exported("\n".join(lines) + "\n", prompts_file, config.sample_prompts, left_out, script)


def to_kohya_toml(config: TrainConfig) -> str:
    """The text of :func:`export_kohya`."""
    return export_kohya(config).text


def _left_out(config: TrainConfig, options: dict[str, Any], meaningless: Mapping[str, str]) -> dict[str, str]:
    """What would be another setting if the file were read again; ``meaningless``: reasons of the model's family."""
    reasons = {**REASONS, **meaningless}
    again = translate(options).applied_to(TrainConfig())
    same = IN_OTHER_WORDS | ({"beta1", "beta2"} if _recipe(config.optimizer).betas is None else set())
    lost = [n for n in settings() if n not in same and _meaning(again, n) != _meaning(config, n)]
    labels = {name: f"{settings()[name].metadata['label']} = {getattr(config, name)}" for name in lost}
    return {labels[name]: reasons.get(name, "kohya's trainer has no such setting") for name in lost}


def _meaning(config: TrainConfig, name: str) -> Any:
    """A setting's value, without regard to how it is written."""
    if (name == "epochs" and config.max_steps) or (name == "cycles" and config.schedule not in CYCLIC):
        return None
    try:
        return MEANINGS[name](config) if name in MEANINGS else getattr(config, name)
    except UserError:
        return getattr(config, name)


def _applied(config: TrainConfig) -> Any:
    """Names without folders, weights and blocks of the LoRAs that act while this one is trained."""
    terms = parse(config.apply_loras) if config.apply_loras.strip() else []
    return [(term.name.replace("\\", "/").rsplit("/", 1)[-1], term.weight, term.blocks) for term in terms]


MEANINGS: dict[str, Callable[[TrainConfig], Any]] = {
    "block_lr": lambda c: dict(BlockWeights.parse(c.block_lr, load_presets())) if c.block_lr.strip() else {},
    "block_ranks": lambda c: kohya_blocks.meaning(c, "block_ranks"),
    "conv_block_ranks": lambda c: kohya_blocks.meaning(c, "conv_block_ranks"),
    "optimizer_args": lambda c: parse_arguments(c.optimizer_args),
    "apply_loras": _applied,
}


def _options(config: TrainConfig) -> dict[str, Any]:
    options = {kohya: getattr(config, name) for kohya, name in DIRECT.items()}
    options = {k: v for k, v in options.items() if v != "" and not (k in ZERO_IS_NONE and v == 0)}
    options.update(
        pretrained_model_name_or_path=config.model,
        **({"max_train_steps": config.max_steps} if config.max_steps else {"max_train_epochs": config.epochs}),
        seed=config.seed,
        resolution=str(config.resolution),
        min_bucket_reso=config.bucket_min or config.resolution // 2,
        max_bucket_reso=config.bucket_max or 2 * config.resolution,
        unet_lr=config.unet_lr,
        text_encoder_lr=config.te_lr,
        clip_skip=config.clip_skip,
        max_grad_norm=config.max_grad_norm,
        mixed_precision=config.precision if config.precision in ("bf16", "fp16") else "no",
        save_precision="float" if config.save_precision == "fp32" else config.save_precision,
        caption_extension=config.caption_extension or ".txt",
        enable_bucket=True,
        cache_latents=True,
    )
    options.update(_optimizer(config), **_network(config))
    if config.masks != "off":
        options["alpha_mask" if config.masks == "alpha" else "masked_loss"] = True
    if config.wildcards and config.random_line:
        options["enable_wildcard"] = True
    if config.max_tokens > 75:
        options["max_token_length"] = config.max_tokens
    if config.zero_terminal_snr:
        options["zero_terminal_snr"] = True
    if 0 < config.token_warmup < 1:
        options["token_warmup_step"] = config.token_warmup
    if config.repeats != "auto":
        options["dataset_repeats"] = int(config.repeats)
    if config.trigger:
        options["caption_prefix"] = f"{config.trigger}, {config.caption_prefix}".strip()
    return options


def _base_weights(formula: str, folders: Sequence[Path]) -> dict[str, Any]:
    """The LoRAs of a formula as kohya's options; none where it has weights per block, or cannot be read."""
    try:
        terms = parse(formula) if formula.strip() else []
    except UserError:
        return {}
    if not terms or any(term.blocks for term in terms):
        return {}
    files = [_file_of(term.name, folders) for term in terms]
    return {"base_weights": files, "base_weights_multiplier": [term.weight for term in terms]}


def _file_of(name: str, folders: Sequence[Path]) -> str:
    try:
        return str(find_lora(name, folders))
    except UserError:
        return f"{name}.safetensors"


def _recipe(optimizer: str) -> Recipe:
    """Of a class that is not installed here, one with betas, as nearly all have them."""
    try:
        return recipe_of(optimizer)
    except UserError:
        package, _, kind = optimizer.rpartition(".")
        return Recipe(package, kind)


def _optimizer(c: TrainConfig) -> dict[str, Any]:
    arguments = [f"weight_decay={c.weight_decay}"]
    recipe = _recipe(c.optimizer)
    if recipe.kind == "AdaFactor":
        arguments += [f"relative_step={recipe.own_rate}", f"scale_parameter={recipe.own_rate}"]
    if recipe.betas is not None:
        arguments.append(f"betas=({', '.join(map(str, (c.beta1, c.beta2, *recipe.betas)))})")
    own = as_kohya(c.optimizer, parse_arguments(c.optimizer_args, renamed=c.optimizer in RECIPES))
    arguments += [f"{name}={value!r}" for name, value in own.items()]
    name = OPTIMIZERS.get(c.optimizer, c.optimizer)
    if c.optimizer in OF_PYTORCH_OPTIMIZER:
        name = f"pytorch_optimizer.{name}"
    found: dict[str, Any] = {"optimizer_type": name, "optimizer_args": arguments}
    found["lr_scheduler"] = "cosine_with_min_lr" if c.schedule == "cosine" and c.min_lr else c.schedule
    if c.min_lr and found["lr_scheduler"] in WITH_LOWEST:
        found["lr_scheduler_min_lr_ratio"] = c.min_lr
    if c.schedule in CYCLIC:  # with others kohya's trainer makes waves of them
        found["lr_scheduler_num_cycles"] = c.cycles
    if c.warmup:
        found["lr_warmup_steps"] = c.warmup
    if c.decay_share < 1:
        found["lr_decay_steps"] = c.decay_share
    return found


def _is_plain(c: TrainConfig) -> bool:
    """Whether kohya's own network does; else it is LyCORIS'."""
    others = c.dora or c.tucker or c.rs_lora or c.train_norm
    return c.algorithm == "lora" and c.layers == "attention+mlp" and not others


def _network(c: TrainConfig) -> dict[str, Any]:
    plain = _is_plain(c)
    arguments = [] if plain else [f"algo={'locon' if c.algorithm == 'lora' else LYCORIS.get(c.algorithm, c.algorithm)}"]
    if not plain and c.layers in LAYERS and not (c.layers == "attention+mlp" and c.conv_rank):
        arguments.append(f"preset={LAYERS[c.layers]}")
    arguments += [f"conv_dim={c.conv_rank}"] if c.conv_rank or not plain else []
    arguments += [f"conv_alpha={c.conv_alpha}"]
    switches = {"dora_wd": c.dora, "use_tucker": c.tucker, "rs_lora": c.rs_lora, "full_matrix": c.lokr_full,
                "decompose_both": c.lokr_both, "train_norm": c.train_norm}  # fmt: skip
    arguments += [f"{name}=True" for name, on in switches.items() if on]
    arguments += ["wd_on_output=False"] if c.dora else []
    numbers = {"rank_dropout": (c.rank_dropout, 0), "module_dropout": (c.module_dropout, 0),
               "constraint": (c.constraint, 0), "factor": (c.lokr_factor, -1),
               "loraplus_unet_lr_ratio": (c.loraplus_ratio, 1),
               "loraplus_text_encoder_lr_ratio": (c.loraplus_te_ratio, 1)}  # fmt: skip
    arguments += [f"{name}={value}" for name, (value, usual) in numbers.items() if value != usual]
    arguments += kohya_blocks.to_kohya(c) if plain else []  # LyCORIS has none of these
    return {"network_module": "networks.lora" if plain else "lycoris.kohya", "network_dim": c.rank,
            "network_alpha": c.alpha, "network_args": arguments}  # fmt: skip


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
