"""The services behind page, API and command line: one :class:`Workbench` per process."""

from __future__ import annotations

from lib_lora.workbench.files import EpochFile, LoraEntry
from lib_lora.workbench.workbench import Workbench

__all__ = ["EpochFile", "LoraEntry", "Workbench"]
