"""What a merge is, and what a smaller rank would lose, before it is saved."""

from __future__ import annotations

from collections import defaultdict

from lib_lora.adapters.blocks import BLOCKS_26, block_of
from lib_lora.adapters.merge import Merged
from lib_lora.ui import html
from lib_lora.ui.charts import spectrum_chart

SHOWN_BLOCKS = 6


def merge_report(merged: Merged, asked_rank: int | None) -> str:
    """Facts, then the blocks that lose most with the singular values of the worst layer."""
    found = merged.report
    loss = "none, the sum is exact" if asked_rank is None else f"{found.total_error:.2%}"
    facts = [("Layers", len(merged.modules)), ("Rank", merged.rank), ("Error", loss)]
    parts = ['<dl class="lw-facts">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts) + "</dl>"]
    if asked_rank is not None and found.worst_layer is not None:
        parts.append(html.table(["Block", "Layers", "Largest error"], _by_block(found.per_layer)))
        chart = spectrum_chart(found.spectrum.get(found.worst_layer, []), asked_rank)
        if chart:
            parts.append(
                f'<p class="lw-quiet">Singular values of {found.worst_layer}; grey ones are cut off</p>{chart}'
            )
    parts += [html.message(warning, html.WARNING) for warning in found.warnings]
    return f'<div class="lw-panel" id="lw_merge_facts">{"".join(parts)}</div>'


def _by_block(per_layer: dict[str, float]) -> list[list[object]]:
    """The blocks with the largest errors: name, number of layers, error of the worst layer."""
    blocks: dict[str, list[float]] = defaultdict(list)
    for key, error in per_layer.items():
        blocks[block_of(key)].append(error)
    worst = sorted(blocks, key=lambda name: (-max(blocks[name]), BLOCKS_26.index(name)))[:SHOWN_BLOCKS]
    return [[name, len(blocks[name]), f"{max(blocks[name]):.2%}"] for name in worst]
