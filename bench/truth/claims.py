"""The claims: what the guide says, the two ways that are compared, and what is expected of the measures.

A way is a merge formula. STYLE was trained on the style that the miniature has never seen, BASE on its own pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

STYLE, KEPT = "style", "kept"  # measures: drawn in the new style; hair, hat, outfit and background as asked
MORE, LESS, ALIKE = "more", "less", "alike"
GP1 = [1.0, 0.6, 0.9, 0.9, 0.9, 0.6, 0.5, 0.4, 0.4, 0.6, 0.8, 1.0, 1.1, 1.1, 1.1, 1.1, 1.1]
GP2 = [0.3, *[0.1] * 11, *[0.2] * 5]
SUBTRACTED = "STYLE:1:GP1,BASE:-1:GP2"


@dataclass(frozen=True)
class Claim:
    """``expected``: measure -> what the guide says of ``other`` compared with ``usual``."""

    name: str
    says: str
    usual: str
    other: str
    expected: dict[str, str]


def _moved(vector: list[float], first: int, last: int, by: float) -> str:
    """Positions counted from 1, as the guide does."""
    return ",".join(f"{w + by * (first <= i <= last):g}" for i, w in enumerate(vector, start=1))


def _style(name: str, says: str, gp1: str, gp2: str, expected: dict[str, str]) -> Claim:
    return Claim(name, says, SUBTRACTED, f"STYLE:1:{gp1},BASE:-1:{gp2}", expected)


_ALL = (
    Claim("subtract", "Subtracting the base style by GP1 and GP2 keeps the style and gives back the content",
          "STYLE:1", SUBTRACTED, {STYLE: ALIKE, KEPT: MORE}),
    _style("strong", "GP1_STRONG and GP2_STRONG are for a style that is too weak",
           "GP1_STRONG", "GP2_STRONG", {STYLE: MORE}),
    _style("weak-style-1", "Style too weak: raise position 1 of GP2", "GP1", _moved(GP2, 1, 1, 0.1), {STYLE: MORE}),
    _style("weak-style-2", "Not enough: raise positions 13 to 17 of GP1 and GP2",
           _moved(GP1, 13, 17, 0.1), _moved(GP2, 13, 17, 0.1), {STYLE: MORE}),
    _style("chaotic", "The whole image is chaotic: lower positions 3 to 5 of GP1",
           _moved(GP1, 3, 5, -0.1), "GP2", {KEPT: MORE}),
    Claim("weight", "A good LoRA works at 1.0; about 0.8 is acceptable",
          "STYLE:1", "STYLE:0.8", {STYLE: ALIKE, KEPT: ALIKE}),
)  # fmt: skip
CLAIMS = {claim.name: claim for claim in _ALL}
