"""LoRA files by name, for scripts that know them from here; the program takes them from :mod:`lib_lora.lora_files`."""

from __future__ import annotations

from lib_lora.lora_files import find_lora, list_loras, load_network, new_lora_path, new_path, remarks_on, subfolders

__all__ = ["find_lora", "list_loras", "load_network", "new_lora_path", "new_path", "remarks_on", "subfolders"]
