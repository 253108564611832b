"""Forge: the model is an engine object, built on ``backend.*``."""
