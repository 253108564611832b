"""Two characters in one picture, measured: singles only against composites, joint and in two stages ("1to2")."""

from .experiment import Amounts, run

__all__ = ["Amounts", "run"]
