"""What a LoRA file is: algorithms, the network, its file and its arithmetic."""

from lib_lora.adapters.base import Adapter
from lib_lora.adapters.delta import Delta
from lib_lora.adapters.file import LoraFile, model_hash, read_lora, read_metadata, write_lora
from lib_lora.adapters.network import AttachReport, Network
from lib_lora.adapters.selection import NetworkSpec

__all__ = [
    "Adapter",
    "AttachReport",
    "Delta",
    "LoraFile",
    "Network",
    "NetworkSpec",
    "model_hash",
    "read_lora",
    "read_metadata",
    "write_lora",
]
