"""Every setting of a training run, declared once: default, help, range, unit and kohya's name.

The UI builds its fields from :func:`settings`, the TOML file has one key per field, and the metadata of the LoRA file
is derived from the same object.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from lib_lora.errors import UserError

OPTIMIZERS = ("AdamW",)
SCHEDULES = ("constant", "constant_with_warmup", "cosine")
ALGORITHMS = ("lora",)
BASE_PRECISIONS = ("as loaded", "bf16")
SAVE_PRECISIONS = ("fp16", "bf16", "fp32")

RUN, NETWORK, OPTIMIZER, CAPTIONS, IMAGES, LOSS, SAVING, MEMORY = GROUPS = (
    "Run", "Network", "Optimizer and schedule", "Captions", "Images and buckets", "Noise and loss",
    "Saving and samples", "Precision and memory",
)  # fmt: skip

T = TypeVar("T")


def setting(
    default: T,
    group: str,
    label: str,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    choices: tuple[str, ...] = (),
    kohya: str = "",
) -> T:
    """A dataclass field that carries what a form needs to show it and to check it."""
    metadata = {"group": group, "label": label, "help": help, "low": low, "high": high, "unit": unit}
    return field(default=default, metadata={**metadata, "choices": choices, "kohya": kohya})


@dataclass
class TrainConfig:
    """The settings of one run; ``check()`` raises a UserError that names the setting.

    Counting: one *step* is one optimizer update; an epoch sees every image ``repeats`` times.
    """

    # fmt: off
    # -- what is trained ------------------------------------------------------------------------------------------
    name: str = setting("", RUN, "Name", "File name of the LoRA, without .safetensors", kohya="output_name")
    trigger: str = setting("", RUN, "Trigger", "Word put first in every caption; empty for a style", kohya="trigger")
    data_dir: str = setting("", RUN, "Folder", "Folder with images, or with one sub-folder N_name per concept",
        kohya="train_data_dir")
    repeats: str = setting("auto", RUN, "Repeats",
        "auto: the number in the folder's name, else 1; a number: for folders without one", kohya="num_repeats")
    model: str = setting("", RUN, "Model", "Checkpoint to train on; empty: the one that is loaded",
        kohya="pretrained_model_name_or_path")
    epochs: int = setting(10, RUN, "Epochs", "How often all images are seen (times their repeats)",
        low=1, high=1000, kohya="max_train_epochs")
    batch_size: int = setting(2, RUN, "Batch size", "Images per step; more is smoother and needs more memory",
        low=1, high=64, unit="images", kohya="train_batch_size")
    seed: int = setting(42, RUN, "Seed", "Same seed, same settings: same LoRA", low=0, high=2**31 - 1, kohya="seed")
    # -- network --------------------------------------------------------------------------------------------------
    algorithm: str = setting("lora", NETWORK, "Algorithm", "lora with a convolution rank is also called LoCon",
        choices=ALGORITHMS, kohya="network_module")
    rank: int = setting(16, NETWORK, "Rank", "Size of the LoRA: 8-16 characters, 16-32 styles",
        low=1, high=512, kohya="network_dim")
    alpha: float = setting(8.0, NETWORK, "Alpha", "Scale is alpha / rank; usually rank or half of it",
        low=0.01, high=512, kohya="network_alpha")
    conv_rank: int = setting(0, NETWORK, "Convolution rank", "Also train 3x3 convolutions (LoCon); 0 is off",
        low=0, high=512, kohya="conv_dim")
    conv_alpha: float = setting(1.0, NETWORK, "Convolution alpha", "Alpha of the 3x3 convolutions",
        low=0.01, high=512, kohya="conv_alpha")
    # -- optimizer and schedule -----------------------------------------------------------------------------------
    optimizer: str = setting("AdamW", OPTIMIZER, "Optimizer", "AdamW works everywhere",
        choices=OPTIMIZERS, kohya="optimizer_type")
    unet_lr: float = setting(5e-4, OPTIMIZER, "U-Net learning rate",
        "1e-4 to 5e-4; lower if images turn harsh; 0 leaves the U-Net alone", low=0, high=1, kohya="unet_lr")
    te_lr: float = setting(1e-4, OPTIMIZER, "Text encoder learning rate",
        "About a fifth of the U-Net's; 0 leaves the text encoder alone", low=0, high=1, kohya="text_encoder_lr")
    weight_decay: float = setting(0.1, OPTIMIZER, "Weight decay", "Pulls weights to zero; 0.01-0.1",
        low=0, high=10, kohya="optimizer_args.weight_decay")
    beta1: float = setting(0.9, OPTIMIZER, "Beta 1", "Memory of the gradient",
        low=0, high=0.9999, kohya="optimizer_args.betas[0]")
    beta2: float = setting(0.99, OPTIMIZER, "Beta 2", "Memory of its square; 0.99 for short runs, 0.999 for long ones",
        low=0, high=0.99999, kohya="optimizer_args.betas[1]")
    schedule: str = setting("cosine", OPTIMIZER, "Learning rate schedule", "cosine falls to 0 at the end",
        choices=SCHEDULES, kohya="lr_scheduler")
    warmup: float = setting(0.0, OPTIMIZER, "Warm-up", "Share of the steps in which the rate rises from 0",
        low=0, high=0.5, unit="of all steps", kohya="lr_warmup_steps")
    gradient_accumulation: int = setting(1, OPTIMIZER, "Gradient accumulation",
        "Batches per step: a larger batch without its memory",
        low=1, high=256, unit="batches", kohya="gradient_accumulation_steps")
    max_grad_norm: float = setting(1.0, OPTIMIZER, "Gradient clipping", "Longest allowed gradient; 0 is off",
        low=0, high=1000, kohya="max_grad_norm")
    # -- captions -------------------------------------------------------------------------------------------------
    shuffle: bool = setting(True, CAPTIONS, "Shuffle tags",
        "New order of the tags each time; for tags, not for sentences", kohya="shuffle_caption")
    keep_tokens: int = setting(1, CAPTIONS, "Keep tokens",
        "The first tags that stay in place; at least 1 with a trigger",
        low=0, high=50, unit="tags", kohya="keep_tokens")
    max_tokens: int = setting(225, CAPTIONS, "Longest caption", "75, 150 or 225",
        low=75, high=225, unit="tokens", kohya="max_token_length")
    clip_skip: int = setting(1, CAPTIONS, "Clip skip", "2 for anime models of SD1, else 1",
        low=1, high=12, kohya="clip_skip")
    # -- images and buckets ---------------------------------------------------------------------------------------
    resolution: int = setting(512, IMAGES, "Resolution", "Area of the images is this squared; 512-768 for SD1",
        low=64, high=2048, unit="px", kohya="resolution")
    bucket_step: int = setting(64, IMAGES, "Bucket step", "Sides are multiples of this",
        low=8, high=256, unit="px", kohya="bucket_reso_steps")
    bucket_min: int = setting(0, IMAGES, "Shortest side", "Of any bucket; 0 is half of the resolution",
        low=0, high=2048, unit="px", kohya="min_bucket_reso")
    bucket_max: int = setting(0, IMAGES, "Longest side", "Of any bucket; 0 is twice the resolution",
        low=0, high=4096, unit="px", kohya="max_bucket_reso")
    no_upscale: bool = setting(False, IMAGES, "Never enlarge", "Small images get small buckets",
        kohya="bucket_no_upscale")
    flip: bool = setting(False, IMAGES, "Flip",
        "Mirror half of the images and swap left/right tags; off for asymmetric subjects", kohya="flip_aug")
    # -- noise and loss -------------------------------------------------------------------------------------------
    min_snr_gamma: float = setting(5.0, LOSS, "Min-SNR gamma", "Balances the noise levels; 5 is usual, 0 is off",
        low=0, high=20, kohya="min_snr_gamma")
    noise_offset: float = setting(0.0, LOSS, "Noise offset",
        "Lets the LoRA change overall brightness; 0.05-0.1, 0 is off", low=0, high=1, kohya="noise_offset")
    fixed_loss_images: int = setting(8, LOSS, "Fixed-noise loss: images",
        "Measured after each epoch on the same images and noise; 0 is off",
        low=0, high=256, unit="images", kohya="max_validation_steps")
    fixed_loss_timesteps: int = setting(4, LOSS, "Fixed-noise loss: noise levels", "Per image, evenly spread",
        low=1, high=32, kohya="validation_timesteps")
    # -- saving and samples ---------------------------------------------------------------------------------------
    save_every_n_epochs: int = setting(1, SAVING, "Save every",
        "A LoRA file every so many epochs; the last is always saved",
        low=1, high=1000, unit="epochs", kohya="save_every_n_epochs")
    save_precision: str = setting("fp16", SAVING, "File precision", "fp16 is small and loads everywhere",
        choices=SAVE_PRECISIONS, kohya="save_precision")
    state_every_n_steps: int = setting(100, SAVING, "Save progress every",
        "So that a crash costs little; each epoch's end is saved too",
        low=1, high=100000, unit="steps", kohya="save_state")
    sample_prompts: str = setting("", SAVING, "Sample prompts",
        "One a line: prompt --n negative --w 512 --h 512 --s 28 --l 7 --d seed", kohya="sample_prompts")
    sample_every_n_epochs: int = setting(1, SAVING, "Sample every", "0 is off",
        low=0, high=1000, unit="epochs", kohya="sample_every_n_epochs")
    # -- precision and memory -------------------------------------------------------------------------------------
    gradient_checkpointing: bool = setting(False, MEMORY, "Gradient checkpointing",
        "Much less memory, about a third slower", kohya="gradient_checkpointing")
    precision: str = setting("as loaded", MEMORY, "Precision of the base",
        "bf16 is faster on new cards; the LoRA itself is always fp32", choices=BASE_PRECISIONS, kohya="mixed_precision")
    # fmt: on

    def check(self) -> TrainConfig:
        """Return self if every setting is usable, else raise :class:`UserError` naming the first that is not."""
        for f in fields(self):
            _check_field(f, getattr(self, f.name))
        _check_together(self)
        return self


def settings() -> dict[str, Field]:
    """Field by name, in the order of the form; ``field.metadata`` has group, label, help, low, high, unit, …"""
    return {f.name: f for f in fields(TrainConfig)}


def default_of(f: Field) -> Any:
    """The default value of a setting."""
    if f.default is MISSING:
        raise ValueError(f"setting {f.name} has no default")
    return f.default


def _check_field(f: Field, value: Any) -> None:
    meta = f.metadata
    kind = type(default_of(f))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise UserError(f"{meta['label']} must be a {kind.__name__}, not {value!r}", where=f.name)
    if meta["choices"] and value not in meta["choices"]:
        known = ", ".join(meta["choices"])
        raise UserError(f"{meta['label']} does not know {value!r}", where=f.name, fix=f"Use {known}")
    low, high = meta["low"], meta["high"]
    if low is not None and not low <= value <= high:  # also refuses NaN
        fix = f"Use {low:g} to {high:g} {meta['unit']}".rstrip()
        raise UserError(f"{meta['label']} cannot be {value:g}", where=f.name, fix=fix)


def _check_together(c: TrainConfig) -> None:
    if not c.name.strip():
        raise UserError("The LoRA needs a name", where="name", fix="Type a short name, for example the character's")
    if bad := re.search(r'[<>:"/\\|?*\x00-\x1f]|^\.|[. ]$', c.name):
        what = f"The name cannot contain {bad.group()!r} there"
        raise UserError(what, where="name", fix="Use letters, digits, - and _")
    if not c.data_dir.strip():
        raise UserError("No image folder chosen", where="data_dir", fix="Choose the folder that holds the images")
    if c.repeats != "auto" and not (c.repeats.isdigit() and 1 <= int(c.repeats) <= 10000):
        raise UserError(f"Repeats cannot be {c.repeats!r}", where="repeats", fix='Use "auto" or a number from 1')
    if c.max_tokens % 75:
        raise UserError("Longest caption counts in chunks of 75 tokens", where="max_tokens", fix="Use 75, 150 or 225")
    if c.resolution % 8 or c.bucket_step % 8:
        name = "resolution" if c.resolution % 8 else "bucket_step"
        raise UserError("Image sides must be multiples of 8 pixels", where=name, fix="Use 512 or 768, and a step of 64")
    if c.unet_lr == 0 and c.te_lr == 0:
        raise UserError("Both learning rates are 0, so nothing would be learned", where="unet_lr", fix="Try 5e-4")
    if c.warmup and c.schedule == "constant":
        raise UserError("The constant schedule has no warm-up", where="schedule", fix="Use constant_with_warmup")
