"""The workbench over HTTP, below ``/lora-workbench/v1/``."""
