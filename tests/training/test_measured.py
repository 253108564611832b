"""The settings' table of claims and the claims themselves name each other."""

from __future__ import annotations

from pathlib import Path

from bench.truth.claims import CLAIMS
from lib_lora.training.config import settings
from lib_lora.training.measured import CLAIMS_OF

TRUTH = Path(__file__).parents[2] / "docs" / "truth.md"


def test_a_settings_claims_are_about_it_and_stand_in_the_document() -> None:
    text = TRUTH.read_text(encoding="utf-8")
    for setting, names in CLAIMS_OF.items():
        assert setting in settings()
        for name in names:
            assert f"{setting}=" in CLAIMS[name].usual + CLAIMS[name].other
            assert f"| `{name}` |" in text


def test_no_claim_about_a_setting_is_left_out() -> None:
    known = {name for names in CLAIMS_OF.values() for name in names}
    about = {
        name for name, claim in CLAIMS.items() if any(f" {s}=" in f"{claim.usual} {claim.other}" for s in settings())
    }
    assert about == known and len(CLAIMS) >= 29
