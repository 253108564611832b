"""Where we live: one package per host, each implementing the protocols of ``lib_lora.models.base``."""
