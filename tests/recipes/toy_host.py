"""The toy web UI as ``Host``: it has one checkpoint, in the folder that it was started in."""

from __future__ import annotations

from pathlib import Path

from lib_lora.hosts.standalone.host import StandaloneHost
from lib_lora.models.base import HostPaths


class ToyHost(StandaloneHost):
    """A web UI that holds its models as the standalone program does."""

    name = "toy"

    def __init__(self) -> None:
        here = Path.cwd()
        super().__init__(HostPaths(here / "Lora", here / "checkpoints", here / "runs", here / "data"), device="cpu")
