"""``tour.json`` and ``tour.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ...files import write_text

TEXT = """\
# The tour in numbers

What the judge, a small network that reads attributes from pixels, sees in the pictures of the tour.

## A character that the model has never seen

Prompt `{prompt}`, {character_pictures} seeds, weight 1. Epoch {chosen_epoch} has the lowest fixed-noise loss
({losses}).

{character_table}

![The training pictures](tour-training-set.png)
![The same prompt and seed at each epoch and weight](tour-epoch-grid.png)

## A style, without the model's own

`{formula}`, {style_pictures} prompts and seeds.

{style_table}

![Rows: the base model, the style LoRA, and the style LoRA minus the base style](tour-merge.png)

The work took {minutes:.1f} minutes.
"""


def write_report(folder: Path, result: Mapping[str, object], seconds: Mapping[str, float]) -> dict[str, object]:
    """Write both files and return what ``tour.json`` says.

    Args:
        result: model, fixed_losses, chosen_epoch, prompt, formula, and the scores ``character`` and ``style``.
        seconds: of each piece of work now. What an earlier start has done took its own time, which is kept.
    """
    path = folder / "tour.json"
    known = json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.exists() else {}
    longest = {name: max(known.get(name, 0.0), seconds.get(name, 0.0)) for name in {**known, **seconds}}
    result = {**result, "seconds": longest, "total_seconds": round(sum(longest.values()), 1)}
    write_text(path, json.dumps(result, indent=1, ensure_ascii=False))
    text = TEXT.format(
        **result,
        losses=", ".join(f"{epoch}: {loss:.4f}" for epoch, loss in result["fixed_losses"].items()),
        character_table=table(result["character"]),
        character_pictures=_count(result["character"]),
        style_table=table(result["style"]),
        style_pictures=_count(result["style"]),
        minutes=result["total_seconds"] / 60,
    )
    write_text(folder / "tour.md", text)
    return result


def table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """A markdown table: names of scores down, ``columns`` across, in per cent."""
    names = [name for name in next(iter(columns.values())) if name != "n"]
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [f"| {name} | " + " | ".join(f"{s[name]:.0%}" for s in columns.values()) + " |" for name in names]
    return "\n".join(lines)


def _count(columns: Mapping[str, Mapping[str, float]]) -> int:
    return int(next(iter(columns.values()))["n"])
