"""Transformers through diffusers: one file for each class, found by listing the folder (:mod:`.calls`)."""
