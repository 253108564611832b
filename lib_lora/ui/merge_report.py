"""What a merge is, what a smaller rank loses and what half precision loses, before it is saved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from html import escape

from lib_lora.adapters.blocks import block_of
from lib_lora.adapters.layers import outline
from lib_lora.adapters.loaders import kinds_of, limits, limits_elsewhere, read_by
from lib_lora.adapters.merged import Merged
from lib_lora.tools.merge import Reduction
from lib_lora.ui import html
from lib_lora.ui.charts import energy_chart, spectrum_chart

SHOWN_BLOCKS = 6
SHARES = (0.9, 0.99, 0.999)


def merge_report(merged: Merged, reduction: Reduction, curve: Sequence[float] = ()) -> str:
    """Facts, the ranks that keep most of the energy, the blocks that lose most, and every layer on demand."""
    found = merged.report
    reduced = reduction != Reduction() and found.worst_layer is not None
    loss = f"{found.total_error:.2%}" if reduced else "none, the sum is exact"
    facts = [("Layers", len(merged.modules)), ("Rank", _ranks(merged)), ("Error", loss)]
    facts += [("Worst layer", f"{found.worst_error:.2%}")] if reduced else []
    parts = ['<dl class="lw-facts">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts) + "</dl>"]
    parts += [html.message(warning, html.WARNING) for warning in found.warnings]
    kinds = kinds_of(outline(merged.modules))
    elsewhere = [text for text in (limits_elsewhere(kinds),) if text]
    notes = (read_by(merged.file().family), *limits(kinds), *elsewhere)
    parts += [f'<p class="lw-quiet">{escape(text)}</p>' for text in notes]
    parts.append(_energy(curve, merged.rank))
    if reduced:
        parts.append(html.table(["Block", "Layers", "Largest error"], _by_block(found.per_layer)))
        kept = rank_of_layer(merged, found.worst_layer) or 0
        chart = spectrum_chart(found.spectrum.get(found.worst_layer, []), kept)
        if chart:
            parts.append(
                f'<p class="lw-quiet">Singular values of {escape(found.worst_layer)}; grey ones are cut off</p>{chart}'
            )
    parts.append(_all_layers(merged))
    return f'<div class="lw-panel" id="lw_merge_facts">{"".join(parts)}</div>'


def rank_of_layer(merged: Merged, key: str) -> int | None:
    """None for a full difference."""
    down = outline(merged.modules)[key].get("lora_down.weight")
    return None if down is None else down.shape[0]


def _ranks(merged: Merged) -> str:
    """``24``, or ``3 to 24`` where layers differ."""
    ranks = {rank for key in merged.modules if (rank := rank_of_layer(merged, key)) is not None}
    if not ranks:
        return "full"
    return f"{min(ranks)} to {max(ranks)}" if len(ranks) > 1 else str(merged.rank)


def _energy(curve: Sequence[float], kept: int) -> str:
    chart = energy_chart(curve, kept)
    if not chart:
        return ""
    needed = [(share, next((i for i, value in enumerate(curve, 1) if value >= share), len(curve))) for share in SHARES]
    text = " · ".join(f"rank {rank} keeps {share:.1%}" for share, rank in needed)
    return f'{chart}<p class="lw-quiet">Quality kept, as a share of Σσ² of all layers: {text}</p>'


def _by_block(per_layer: dict[str, float]) -> list[list[object]]:
    """The blocks with the largest errors: name, number of layers, error of the worst layer."""
    blocks: dict[str, list[float]] = defaultdict(list)
    for key, error in per_layer.items():
        blocks[block_of(key)].append(error)
    worst = sorted(blocks, key=lambda name: -max(blocks[name]))[:SHOWN_BLOCKS]
    return [[name, len(blocks[name]), f"{max(blocks[name]):.2%}"] for name in worst]


def _all_layers(merged: Merged) -> str:
    errors = merged.report.per_layer
    keys = sorted(merged.modules, key=lambda key: -errors.get(key, 0.0))
    rows = [[key, block_of(key), rank_of_layer(merged, key) or "full", f"{errors.get(key, 0.0):.3%}"] for key in keys]
    table = html.table(["Layer", "Block", "Rank", "Error"], rows)
    return f"<details><summary>All {html.plural(len(rows), 'layer')}</summary>{table}</details>"
