from __future__ import annotations

import pytest

from lib_lora.errors import UserError
from lib_lora.tools.merge import Reduction
from lib_lora.ui.merge_fields import ReductionFields, energy_of, rank_of


def test_rank() -> None:
    assert rank_of("exact") is None
    assert rank_of(" 16 ") == 16
    for text in ("0", "-1", "many", "99999"):
        with pytest.raises(UserError):
            rank_of(text)


def test_energy() -> None:
    assert energy_of("") is None
    assert energy_of("99 %") == energy_of("0.99") == energy_of("0,99") == 0.99
    for text in ("0", "101%", "all", "-1"):
        with pytest.raises(UserError):
            energy_of(text)


def test_both_together() -> None:
    found = ReductionFields("x", "merge").read("16", "99%")
    assert found == Reduction(16, 0.99)
    assert str(found) == "rank 16 and quality 99.00%"
    assert str(Reduction()) == "exact"
