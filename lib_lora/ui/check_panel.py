"""What a run will do, before it starts."""

from __future__ import annotations

from html import escape

from lib_lora.training.preflight import Preflight
from lib_lora.ui import html

SHOWN_PROBLEMS = 8
AS_LORA = "For them, Merge → Resize makes a plain LoRA of the file."


def check_panel(found: Preflight) -> str:
    """Counts and estimates first, then buckets, captions, warnings and unusable files."""
    parts = (_summary, _base, _buckets, _captions, _warnings, _elsewhere, _problems)
    return f'<div class="lw-panel" id="lw_check">{"".join(part(found) for part in parts)}</div>'


def _summary(found: Preflight) -> str:
    data = found.dataset
    facts = [
        ("Images", f"{data.images}"),
        ("Each epoch", f"{data.samples_per_epoch} samples, {html.plural(data.steps_per_epoch, 'step')}"),
        ("Whole run", html.plural(data.total_steps, "step")),
        ("Time", f"about {html.duration(max(1.0, found.seconds))}"),
        ("Memory", _memory(found)),
    ]
    return '<dl class="lw-facts">' + "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts) + "</dl>"


def _memory(found: Preflight) -> str:
    capacity = f" of {size(found.capacity)}" if found.capacity else ""
    whole = f"; with the program itself about {size(found.process)}" if found.process else ""
    return f"{size(found.bytes)}{capacity}, {size(found.model_bytes)} of it the model{whole}"


def _base(found: Preflight) -> str:
    return f'<p class="lw-quiet">{escape(html.sentence(found.base))}</p>' if found.base else ""


def _buckets(found: Preflight) -> str:
    chips = "".join(f"<span>{w}×{h} <b>{n}</b></span>" for (w, h), n in found.dataset.buckets.items())
    return f'<div class="lw-chips"><i>Buckets</i>{chips}</div>'


def _captions(found: Preflight) -> str:
    items = "".join(f"<li>{escape(text) or '<em>no caption</em>'}</li>" for text in found.dataset.captions)
    tokens = f", longest {found.dataset.tokens.longest} tokens" if found.dataset.tokens else ""
    return f'<div class="lw-block"><i>First captions, as the model will see them{tokens}</i><ul>{items}</ul></div>'


def _warnings(found: Preflight) -> str:
    if not found.advice:
        return html.message("No warnings.", html.GOOD)
    return "".join(
        f'<div class="lw-message lw-warning" role="status">{escape(html.sentence(a.text))} '
        f'<span class="lw-fix">{escape(html.sentence(a.fix))}</span></div>'
        for a in found.advice
    )


def _elsewhere(found: Preflight) -> str:
    if not found.elsewhere:
        return ""
    return f'<p class="lw-quiet">{escape(found.elsewhere)}. {escape(AS_LORA)}</p>'


def _problems(found: Preflight) -> str:
    problems = found.dataset.problems
    if not problems:
        return ""
    items = "".join(f"<li>{escape(str(p))}</li>" for p in problems[:SHOWN_PROBLEMS])
    more = f"<li>and {len(problems) - SHOWN_PROBLEMS} more</li>" if len(problems) > SHOWN_PROBLEMS else ""
    return f'<div class="lw-block"><i>{html.plural(len(problems), "file")} to look at</i><ul>{items}{more}</ul></div>'


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GB" if count >= 2**29 else f"{count / 2**20:.0f} MB"
