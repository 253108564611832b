"""The judge: a small network that reads a paper-doll picture's attributes back from its pixels."""

from .attributes import CLASSES, Reading, agreement, majority, truth
from .judge import WEIGHTS, Judge

__all__ = ["CLASSES", "WEIGHTS", "Judge", "Reading", "agreement", "majority", "truth"]
