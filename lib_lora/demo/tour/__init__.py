"""The tour: a character, its epochs, and a style without the base style, all for real on the miniature model."""

from .tour import run

__all__ = ["run"]
