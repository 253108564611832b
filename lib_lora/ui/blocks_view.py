"""The *Blocks* tab in HTML: sliders, what a symptom would change, and what a scan found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from lib_lora.tools.block_edits import LbwText
from lib_lora.tools.block_strength import BlockScan, BlockStrength
from lib_lora.tools.symptoms import STYLE, Proposal
from lib_lora.ui import html
from lib_lora.ui.blocks_desk import Shape
from lib_lora.workbench import LoraEntry

SCOPES = (("", "whole blocks"), ("attn", "attention"), ("mlp", "MLP"), ("conv", "convolutions"))
LINKS = (("", "alone"), ("group", "with its group"), ("all", "all together"))
SHARE = 0.6  # of the effect that the blocks named for it hold


def sliders(shape: Shape) -> str:
    """A vertical slider a block, with solo and mute; the script keeps them and the text alike."""
    columns = "".join(_column(name, absent=name not in shape.present) for name in shape.layout)
    groups = "".join(_group(name, title) for name, title in shape.family.blocks.groups.items())
    choices = _radios("scope", "Sliders set", SCOPES) + _radios("link", "A slider moves", LINKS)
    return (
        f'<div class="lw-block-bar">{choices}</div><div class="lw-sliders">{columns}</div>'
        f'<div class="lw-groups">{groups}</div>'
    )


def _column(name: str, absent: bool) -> str:
    title = f' title="This LoRA has no layers in {name}"' if absent else ""
    return (
        f'<div class="lw-slider{" lw-absent" if absent else ""}"{title} data-lw-strength="{name}"><b>{name}</b>'
        f'<input type="range" min="-0.5" max="1.5" step="0.01" value="1" data-lw-block="{name}" '
        f'aria-label="Weight of block {name}"><output>1.00</output><span>'
        f'<button type="button" data-lw-solo="{name}" aria-label="Only {name}" title="Solo: only {name}">S</button>'
        f'<button type="button" data-lw-mute="{name}" aria-label="Without {name}" title="Mute {name}">M</button>'
        "</span></div>"
    )


def _group(name: str, title: str) -> str:
    buttons = " ".join(
        f'<button type="button" data-lw-group="{name}" data-lw-value="{value}" '
        f'aria-label="All of {escape(title)} to {value}">{value}</button>'
        for value in (0, 0.5, 1)
    )
    return f"<span>{escape(title)} {buttons}</span>"


def _radios(name: str, title: str, options: Sequence[tuple[str, str]]) -> str:
    """A row of choices that only the page knows of."""
    choices = "".join(
        f'<label><input type="radio" name="lw_blocks_{name}" value="{value}"'
        f"{' checked' if not value else ''}> {escape(label)}</label>"
        for value, label in options
    )
    return f'<fieldset class="lw-radios"><legend>{escape(title)}</legend>{choices}</fieldset>'


def about(entry: LoraEntry, shape: Shape) -> str:
    """What kind of LoRA it is."""
    rank = entry.metadata.get("ss_network_dim", "unknown")
    kind = "LoCon" if len(shape.layout) in (20, 26) else "LoRA"
    base = entry.metadata.get("ss_sd_model_name", "")
    blocks = f"{len(shape.layout)} blocks"
    facts = [kind, shape.family.short, f"rank {rank}", blocks, f"trained on {base}" if base else ""]
    warnings = "".join(html.message(remark, html.WARNING) for remark in shape.remarks)
    return f'<span class="lw-quiet">{escape(" · ".join(filter(None, facts)))}</span>{warnings}'


def proposal(found: Proposal, label: str, role: str) -> str:
    """What a measure would change, before it does."""
    rows = [(block, f"{old:g}", f"{new:g}") for block, (old, new) in found.changes.items()]
    if found.weight[0] != found.weight[1]:
        rows.append(("whole LoRA", *(f"{value:g}" for value in found.weight)))
    other = "the base-style LoRA that is subtracted" if role == STYLE else "the style LoRA"
    advice = f"In {other}: {found.other}." if found.other else ""
    if not rows:
        return html.message(f"{label}. Nothing to change in this LoRA. {advice}")
    table = html.table(("block", "from", "to"), rows)
    return f'<div class="lw-panel"><b>{escape(label)}</b>: this would change {table}{html.message(advice)}</div>'


def prompt(text: LbwText, tag: str) -> str:
    """The tag for the prompt, which a click copies; and a button that sends ``tag``, as we read it, to txt2img."""
    parts = [html.copyable(text.tag)]
    if text.elements:
        parts.append(" and in its element presets ")
        parts.append(html.copyable(text.elements))
    send = html.send_button(tag, behind="lw_blocks_prompt")
    return f'<div class="lw-code">For the prompt: {"".join(parts)} {send}</div>'


def strength(scan: BlockScan, drawn: Mapping[str, str], table_path: str) -> str:
    """What a scan found: who holds the style and the shapes, the pictures, a table to sort, and bars at the sliders.

    Args:
        drawn: addresses of pictures by the block that they lack; that with the whole LoRA has none.
    """
    rows = "".join(map(_strength_row, scan.by_strength()))
    names = ("block", "layers", "in pictures", "in predictions", "style", "shapes")
    head = "".join(f'<th scope="col"><button type="button" data-lw-order>{name}</button></th>' for name in names)
    return (
        f'<div class="lw-panel"><p>{_holders(scan)}</p>{_drawn(scan, drawn)}'
        '<div class="lw-scroll"><table class="lw-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="lw-quiet">The table is in {escape(table_path)}. A block at 20 % changes a fifth as much as '
        f"the whole LoRA does.</p></div>{_bars(scan)}"
    )


def _drawn(scan: BlockScan, urls: Mapping[str, str]) -> str:
    """The picture with the whole LoRA, then those without each block, the strongest first."""
    order = ["", *(row.block for row in scan.by_strength())]
    shown = [(f"without {block}" if block else "whole LoRA", urls[block]) for block in order if block in urls]
    return f'<div class="lw-strip" tabindex="0">{"".join(html.picture(url, name) for name, url in shown)}</div>'


def _bars(scan: BlockScan) -> str:
    """A style that gives each slider a bar as long as its block is strong."""
    most = max((float(np.mean(row.image)) for row in scan.rows), default=0.0) or 1.0
    rules = "".join(
        f'#lw_page [data-lw-strength="{row.block}"] {{ --lw-part: {float(np.mean(row.image)) / most:.3f}; }}'
        for row in scan.rows
    )
    return f"<style>{rules}</style>"


def _holders(scan: BlockScan) -> str:
    style, shape = (", ".join(scan.holders(part, SHARE)) for part in ("style", "shape"))
    return (
        f"<b>Style</b> (colour, contrast, texture), {SHARE:.0%} of it: {style}. "
        f"<b>Character</b> (shapes): {shape}. A rule of thumb, from {html.plural(len(scan.seeds), 'seed')}."
    )


def _strength_row(row: BlockStrength) -> str:
    """One line of the table; a bar as wide as its share of all that the LoRA does."""
    _, _, image, image_spread, latent, latent_spread, style, shape = row.row()
    bar = f'<span class="lw-share" style="--lw-part: {min(1.0, image):.3f}"></span>'
    cells = (
        (image, f"{bar} {image:.1%}{_spread(image_spread, row)}"),
        (latent, f"{latent:.1%}{_spread(latent_spread, row)}"),
        (style, f"{style:.1%}"),
        (shape, f"{shape:.1%}"),
    )
    numbers = "".join(f'<td data-lw-sort="{value:.5f}">{text}</td>' for value, text in cells)
    return f"<tr><td>{row.block}</td><td>{row.layers}</td>{numbers}</tr>"


def _spread(value: float, row: BlockStrength) -> str:
    """Over seeds, where there are several."""
    return f" ± {value:.1%}" if len(row.image) > 1 else ""
