"""Our section of the web UI's Settings page."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from modules import paths, shared

SECTION = ("lora_workbench", "LoRA Workbench")
FOLDER, TAGS = "lora_workbench_folder", "lora_workbench_prompt_tags"


def add_settings() -> None:
    """For ``script_callbacks.on_ui_settings``."""
    hidden = {"visible": not getattr(shared.cmd_opts, "hide_ui_dir_config", False)}
    folder = shared.OptionInfo("", "Folder for runs, caches and presets", component_args=hidden, section=SECTION)
    folder.info("empty: lora_workbench in the web UI's data folder; LoRA files go to the LoRA folder anyway")
    tags = shared.OptionInfo(True, "Weights over the steps in LoRA tags of the prompt", section=SECTION)
    example = escape("<lora:NAME:0.8@0,0@1:lbw=OUTS>")  # the web UI takes an info for HTML
    tags.info(f"such as {example}; off leaves the tags to the web UI")
    for key, option in ((FOLDER, folder.needs_restart()), (TAGS, tags)):
        shared.opts.add_option(key, option)


def data_folder() -> Path:
    """Where our own files go."""
    return Path(_value(FOLDER, "") or Path(paths.data_path) / "lora_workbench")


def tags_wanted() -> bool:
    """Whether schedules in the prompt are read."""
    return bool(_value(TAGS, True))


def _value(key: str, default: Any) -> Any:
    return getattr(shared.opts, key, default)  # without the section's callback there is no such option
