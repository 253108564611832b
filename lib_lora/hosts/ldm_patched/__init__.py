"""Forge-Classic and reForge: an ldm shell around parts that are built on ``ldm_patched.*``."""
