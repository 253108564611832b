"""Neo's; what is the same as in Forge is taken from that double."""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "forge" / "backend"))
