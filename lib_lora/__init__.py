"""LoRA Workbench: train, compare, tune and merge LoRAs on the model that is already loaded."""

__version__ = "0.1.0"
