"""The host without a web UI: diffusers and transformers modules loaded from single-file checkpoints, offline."""
