"""Forge-Classic's; what is the same as in A1111 is taken from that double."""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "a1111" / "modules"))
