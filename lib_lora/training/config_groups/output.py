"""What a run writes, and what it may use."""

from __future__ import annotations

from dataclasses import dataclass

from lib_lora.training.config_groups.only import given
from lib_lora.training.config_groups.setting import MEMORY, SAVING, setting

BASE_PRECISIONS = ("as loaded", "bf16", "fp16")
SAVE_PRECISIONS = ("fp16", "bf16", "fp32")


@dataclass
class SavingSettings:
    """Which files a run writes, and when."""

    # fmt: off
    save_every_n_epochs: int = setting(1, SAVING, "Save every",
        "A LoRA file every so many epochs; the last is always saved; 0: only that",
        low=0, high=1000, unit="epochs", kohya="save_every_n_epochs")
    save_every_n_steps: int = setting(0, SAVING, "Save also every",
        "A LoRA file NAME-step00000500 every so many steps; 0 is off",
        low=0, high=1_000_000, unit="steps", kohya="save_every_n_steps")
    save_precision: str = setting("fp16", SAVING, "File precision", "fp16 is small and loads everywhere",
        choices=SAVE_PRECISIONS, kohya="save_precision")
    state_every_n_steps: int = setting(100, SAVING, "Save progress every",
        "So that a crash costs little; each epoch's end is saved too",
        low=1, high=100000, unit="steps", kohya="save_state")
    sample_prompts: str = setting("", SAVING, "Sample prompts",
        "One a line: prompt --n negative --w 512 --h 512 --s 28 --l 7 --d seed", kohya="sample_prompts")
    sample_every_n_epochs: int = setting(1, SAVING, "Sample every", "0 is off",
        low=0, high=1000, unit="epochs", kohya="sample_every_n_epochs", only=given("sample_prompts", "sample prompts"))
    sample_every_n_steps: int = setting(0, SAVING, "Sample also every", "0 is off",
        low=0, high=1_000_000, unit="steps", kohya="sample_every_n_steps",
        only=given("sample_prompts", "sample prompts"))
    sample_first: bool = setting(True, SAVING, "Sample before the first step",
        "What the base draws, to compare with", kohya="sample_at_first", only=given("sample_prompts", "sample prompts"))
    # fmt: on


@dataclass
class MemorySettings:
    """What a run may use of memory and precision."""

    # fmt: off
    gradient_checkpointing: bool = setting(False, MEMORY, "Gradient checkpointing",
        "Much less memory, about a third slower", kohya="gradient_checkpointing")
    checkpoint_blocks: str = setting("", MEMORY, "Blocks to checkpoint",
        "Empty is all. The outer ones keep the most: IN01-IN02 OUT09-OUT11 in SD 1.x; fewer blocks are faster",
        only=given("gradient_checkpointing", "gradient checkpointing"))
    batch_parts: int = setting(1, MEMORY, "Parts of a batch",
        "Computed one after another: less memory, slower, the same result; several processes share them",
        low=1, high=64)
    precision: str = setting("as loaded", MEMORY, "Precision of the base",
        "bf16 on new cards, fp16 on older ones; the LoRA itself is always fp32",
        choices=BASE_PRECISIONS, kohya="mixed_precision")
    fp8_base: bool = setting(False, MEMORY, "fp8 base",
        "The U-Net's weights take half of fp16's memory on the card, at less precision; not in a web UI",
        kohya="fp8_base")
    nf4_base: bool = setting(False, MEMORY, "NF4 base",
        "A quarter of fp16's memory, at still less precision; needs bitsandbytes, and not in a web UI")
    offload_base: int = setting(0, MEMORY, "Base in main memory",
        "Of the U-Net's weights; they are brought layer by layer, twice a step. In a web UI its own settings count",
        low=0, high=100, unit="%")
    # fmt: on
