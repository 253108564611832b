"""The embedded demonstration: a world of paper dolls, a miniature model of it, a judge, and a tour."""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "miniature.safetensors"
FLOW = "miniature-flow"  # name of the same model tuned to rectified flow, see flow.py
