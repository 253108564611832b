"""A few of the faults of ``python -m lib_lora bench faults``; and the harness sees what is wrong."""

from __future__ import annotations

import pytest

from bench.faults.campaign import HALF, LEFT, LOST, Campaign, all_or_nothing, run_campaign
from bench.faults.catalogue import campaigns
from bench.faults.kills import run_kills

SLOW = ("extract", " zeros")  # computes for seconds; goes the way of what is cut off
QUICK = [campaign for campaign in campaigns() if not any(word in campaign.name for word in SLOW)]


@pytest.mark.parametrize("campaign", QUICK, ids=lambda campaign: campaign.name)
def test_nothing_is_lost_half_or_left_over(campaign, tmp_path):
    found = run_campaign(campaign, tmp_path / "work", pairs=1, most=4, seed=3)
    assert found.faults >= 2 and found.recovered == found.faults, found.stories


def test_a_killed_process_leaves_nothing_half(tmp_path):
    tools = [campaign for campaign in QUICK if campaign.name.startswith("dataset: ")]  # needs no torch
    found = run_kills(tools, tmp_path / "work", 4, seed=5)
    assert found.recovered == found.faults == 4, found.stories


def test_the_harness_sees_what_is_wrong(tmp_path):
    def careless(folder):
        (folder / "a.txt").write_text("new " * 9, encoding="utf-8")
        (folder / "b.txt").unlink()
        (folder / "b.txt").write_text("other", encoding="utf-8")

    def prepare(folder):
        for name in ("a.txt", "b.txt"):
            (folder / name).write_text("old", encoding="utf-8")

    campaign = Campaign("careless", prepare, careless, lambda folder: None, all_or_nothing)
    found = run_campaign(campaign, tmp_path / "work", pairs=0)
    assert found.wrong[LOST] and found.wrong[HALF] and found.recovered < found.faults
    assert all_or_nothing({"a": b"1"}, {"a": b"2"}, {"a": b"1", "x": b""}) == [f"{LEFT}: x"]
