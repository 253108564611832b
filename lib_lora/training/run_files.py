"""What the small files of a run may hold; :class:`lib_lora.training.run.Run` reads and writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from lib_lora.small_files import listed, mapping, number, path, text, whole

MEASURED = ("loss", "best_loss", "gain", "error")  # of a mixture
STATUS = ("finished", "stopped", "failed")


def metrics(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl`` that are steps, and of their values what are numbers."""
    found = []
    for row in rows:
        with suppress(ValueError):
            found.append({"step": whole(row.get("step")), **_numbers(row)})
    return found


def epochs(content: Any) -> list[dict[str, Any]]:
    """``epochs.json``."""
    return listed(content, _epoch)


def _epoch(content: Any) -> dict[str, Any]:
    row = mapping(content)
    optional: dict[str, Callable[[Any], Any]] = {
        "running_loss": number,
        "fixed_loss": number,
        "validation_loss": number,
        "fixed_losses": lambda value: listed(value, number),
        "validation_losses": lambda value: listed(value, number),
        "lora_path": path,
    }
    read = {name: None if row[name] is None else kind(row[name]) for name, kind in optional.items() if name in row}
    return {**row, "epoch": whole(row["epoch"]), "step": whole(row["step"]), **read}


def result(content: Any) -> dict[str, Any]:
    """``result.json``."""
    row = mapping(content)
    if row["status"] not in STATUS:
        raise ValueError(f"unknown status {row['status']!r:.40}")
    file = None if row.get("path") is None else path(row["path"])
    return {"status": row["status"], "step": whole(row["step"]), "path": file, "reason": text(row.get("reason", ""))}


def choice(content: Any) -> dict[str, Any]:
    """``chosen.json``."""
    row = mapping(content)
    return {"epoch": whole(row["epoch"]), "weight": number(row["weight"])} if row else {}


def sweep(content: Any) -> dict[str, Any]:
    """``sweep.json``."""
    row = mapping(content)
    return {"label": text(row["label"]), "grid": path(row["grid"])} if row else {}


def mixture(content: Any) -> dict[str, Any]:
    """``mixture.json``: the fields of a mixture; nothing is one too."""
    row = mapping(content)
    if not row:
        return {}
    weights = {int(epoch): number(weight) for epoch, weight in mapping(row["weights"]).items()}
    counts = {name: whole(row[name]) for name in ("best", "pictures", "evaluations")}
    return {"weights": weights, **counts, **{name: number(row[name]) for name in MEASURED}}


def extensions(content: Any) -> list[int]:
    """``extensions.json``."""
    return listed(content, whole)


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name, value in row.items():
        if name != "step":
            with suppress(ValueError):
                found[name] = value if type(value) is int and abs(value) < 1 << 53 else number(value)
    return found
