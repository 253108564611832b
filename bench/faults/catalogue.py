"""All campaigns. A new tool gets one in `PARTS`."""

from __future__ import annotations

from bench.faults import afterwards, caches, dataset, made, pictures, settings, tools, training
from bench.faults.campaign import Campaign

PARTS = (
    dataset.campaigns, tools.campaigns, pictures.campaigns, made.campaigns, training.campaigns, afterwards.campaigns,
    settings.campaigns, caches.campaigns,
)  # fmt: skip


def campaigns() -> list[Campaign]:
    """All there are."""
    return [campaign for some in PARTS for campaign in some()]
