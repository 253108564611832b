"""A LoRA file in HTML: its picture, its facts, a bar for each block, and what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lib_lora.tools.inspection import BlockUse, Facts, Strengths
from lib_lora.ui import html
from lib_lora.ui.charts import energy_chart
from lib_lora.ui.files import Pictures
from lib_lora.ui.inspector import Measured
from lib_lora.workbench import LoraEntry

SHARES = (0.9, 0.99)
MANY = 20  # blocks, whose names stand upright


def head(facts: Facts, picture: str) -> str:
    """Picture, kind and sizes.

    Args:
        picture: its address, also as data; empty for none.
    """
    ranks = list(facts.ranks)
    rank = f"{ranks[0]} to {ranks[-1]}" if len(ranks) > 1 else str(ranks[0]) if ranks else "full"
    rows = [
        ("Family", facts.family),
        ("Kind", ", ".join(facts.kinds) or "unknown"),
        ("Rank", rank),
        ("Layers", facts.layers),
        ("Precision", ", ".join(facts.precisions)),
        ("Size", size_of(facts.size)),
    ]
    if facts.trigger:
        rows.append(("Trigger", facts.trigger))
    if facts.weight is not None:
        rows.append(("Weight", f"{facts.weight:g}"))
    image = f'<img src="{escape(picture)}" alt="Preview of {escape(facts.name)}" {html.ZOOMS}>' if picture else ""
    terms = "".join(f"<div><dt>{name}</dt><dd>{escape(str(value))}</dd></div>" for name, value in rows)
    return (
        f'<div class="lw-panel lw-inspect">{image}<div><h4>{escape(facts.name)}</h4>'
        f'<dl class="lw-facts">{terms}</dl></div></div>'
    )


def library(loras: Sequence[LoraEntry], pictures: Pictures, into: str) -> str:
    """All LoRA files as cards with their pictures, the newest first; the page filters them while one types."""
    newest = sorted(loras, key=lambda lora: -lora.path.stat().st_mtime_ns)
    cards = "".join(
        f'<button type="button" class="lw-card" data-lw-into="{into}" data-lw-pick="{escape(lora.name)}" '
        f'title="{escape(lora.name)}"><img src="{pictures.preview_url(lora.name, lora.path)}" alt="" loading="lazy" '
        f'onerror="this.remove()"><span>{escape(lora.name)}</span></button>'
        for lora in newest
    )
    return (
        f'<div class="lw-library"><input type="search" placeholder="Find a LoRA" aria-label="Find a LoRA" '
        f'data-lw-filter="lw-card"><div class="lw-cards">{cards}</div></div>'
    )


def size_of(size: int) -> str:
    """``1.3 MB``."""
    if size < 1e5:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def remarks(facts: Facts, measured: Measured) -> str:
    """What is odd, a line each."""
    found = [*facts.remarks, *(measured.found.remarks if measured.found else ())]
    return "".join(html.message(f"{text}.", html.WARNING) for text in found)


def figures(measured: Measured) -> str:
    """Strength and used rank of each block; a bar of progress as long as they are not there."""
    if measured.error is not None:
        return html.error_message(measured.error)
    found = measured.found
    if found is None:
        share = f"value={100 * measured.done / measured.total:.0f}" if measured.total else ""
        text = f"measuring, {measured.done} of {measured.total} layers" if measured.total else "reading the file"
        bar = f'<progress max=100 {share} aria-label="Progress"></progress>'
        return f'<div class="lw-job-line">{bar}<span class="lw-quiet">{text}</span></div>'
    return f'<div class="lw-panel" id="lw_inspect_blocks">{_strengths(found)}{_ranks(found)}{_numbers(found)}</div>'


def about(facts: Facts) -> str:
    """Tags, settings, and who loads it."""
    parts = []
    if facts.tags:
        most = facts.tags[0][1]
        tags = "".join(f"<span>{escape(tag)} <i>{count}</i></span>" for tag, count in facts.tags)
        title = f"Tags of the training set, the most frequent in {html.plural(most, 'image')}"
        parts.append(f"<h4>{title}</h4><div class='lw-chips'>{tags}</div>")
    if facts.folders:
        text = ", ".join(f"{name}: {images} × {repeats}" for name, (images, repeats) in facts.folders.items())
        parts.append(f'<p class="lw-quiet">Images × repeats: {escape(text)}</p>')
    if facts.settings:
        table = html.table(("Setting", "Value"), facts.settings.items())
        parts.append(f"<details open><summary>Trained with</summary>{table}</details>")
    if facts.programs:
        parts.append("<h4>Who loads it</h4>" + "".join(f"<p>{escape(text)}.</p>" for text in facts.programs))
    return f'<div class="lw-panel lw-about">{"".join(parts)}</div>' if parts else ""


def _strengths(found: Strengths) -> str:
    if found.base:
        title = f"Strength by block, against {escape(found.base)}"
        values = [block.against or 0.0 for block in found.blocks]
        texts = [f"{value:.1%} of the base weights" for value in values]
    else:
        title = "Strength by block"
        values = [block.norm for block in found.blocks]
        texts = [f"{block.norm:.3g}, {block.share:.1%} of the LoRA" for block in found.blocks]
    most = max(values, default=0.0)
    up_to = f"up to {most:.1%}" if found.base else f"up to {most:.3g}"
    return f'<h4>{title} <span class="lw-quiet">{up_to}</span></h4>{_bars(found.blocks, values, most, texts)}'


def _ranks(found: Strengths) -> str:
    with_rank = [block for block in found.blocks if block.rank]
    if not with_rank:
        return ""
    most = max(block.rank or 0.0 for block in with_rank)
    values = [block.effective or 0.0 for block in with_rank]
    texts = [
        f"{block.effective:.1f} of rank {block.rank:.0f}; {block.at90:.1f} keep 90 %, {block.at99:.1f} keep 99 %"
        for block in with_rank
    ]
    needed = " · ".join(f"rank {found.rank_for(share)} keeps {share:.0%}" for share in SHARES)
    return (
        f"<h4>Rank that is used, of {most:.0f}</h4>{_bars(with_rank, values, most, texts)}"
        f'<p class="lw-quiet">Of the whole file: {needed}.</p>'
    )


def _bars(blocks: Sequence[BlockUse], values: Sequence[float], most: float, texts: Sequence[str]) -> str:
    """A column for each block; the pointer and a screen reader get the numbers."""
    columns = "".join(
        f'<li title="{block.block}: {escape(text)}"><i style="--lw-part: {value / most if most > 0 else 0:.3f}"></i>'
        f'<b>{block.block}</b><span class="lw-read">{escape(text)}</span></li>'
        for block, value, text in zip(blocks, values, texts, strict=True)
    )
    many = " lw-many" if len(blocks) > MANY else ""
    return f'<div class="lw-chart-box"><ul class="lw-columns{many}">{columns}</ul></div>'


def _numbers(found: Strengths) -> str:
    heads = ["Block", "Layers", "‖ΔW‖", "Share", "Rank", "Used", "90 %", "99 %"]
    rows = [
        [
            b.block,
            b.layers,
            f"{b.norm:.3g}",
            f"{b.share:.1%}",
            *(_number(n) for n in (b.rank, b.effective, b.at90, b.at99)),
        ]
        + ([] if not found.base else ["" if b.against is None else f"{b.against:.2%}"])
        for b in found.blocks
    ]
    table = html.table([*heads, *(["of the base"] if found.base else [])], rows)
    chart = energy_chart(found.curve, found.rank_for(SHARES[-1]))
    return f"<details><summary>All numbers</summary>{chart}{table}</details>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
