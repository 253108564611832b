"""What a LoRA file is: algorithms, the network, its file and its arithmetic."""

from .base import Adapter
from .delta import Delta
from .file import LoraFile, model_hash, read_lora, read_metadata, write_lora
from .network import AttachReport, Network
from .selection import NetworkSpec

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
