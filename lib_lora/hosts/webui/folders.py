"""The web UI's folders, whichever of its options it has: what is missing has a usual place instead."""

from __future__ import annotations

from pathlib import Path

from modules import paths, shared

LORA_LISTS = ("lora_dirs", "lyco_dir_backcompat")  # Neo has several folders, A1111 one from before LyCORIS was built in


def lora_folders() -> tuple[Path, ...]:
    """Where the web UI looks for LoRA files; new ones go to the first."""
    first = getattr(shared.cmd_opts, "lora_dir", None) or Path(paths.models_path) / "Lora"
    return _distinct(first, *(folder for name in LORA_LISTS for folder in _listed(name)))


def checkpoint_folder() -> Path:
    """Where new checkpoints go."""
    usual = Path(paths.models_path) / "Stable-diffusion"
    return Path(getattr(shared.cmd_opts, "ckpt_dir", None) or usual)  # Neo reads the usual one beside --ckpt-dirs


def _listed(name: str) -> list[str]:
    """The folders of an option that takes one or several; none where the web UI does not have it."""
    value = getattr(shared.cmd_opts, name, None) or []
    return [str(value)] if isinstance(value, (str, Path)) else [str(folder) for folder in value]


def _distinct(*folders: str | Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(Path(folder) for folder in folders))
