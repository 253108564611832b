"""Charts as inline SVG: nothing to install, and colours from the page's own variables, so light and dark both work."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 960, 220
SMALL = (560, 190)  # of those in a column: text is as large as on the page there
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 12, 28
POINTS = 300  # more cannot be seen
COLOURS = 6  # of runs in one picture
TICKS = 4

Point = tuple[float, float]


class Axes:
    """Maps data to pixels, and draws the frame with round numbers.

    Args:
        xs, ys: all values to be shown; at least one each.
        size: of the picture, in the units of its text.
    """

    def __init__(self, xs: Sequence[float], ys: Sequence[float], size: tuple[int, int] = (WIDTH, HEIGHT)):
        self.width, self.height = size
        self.x0, self.x1 = _padded(min(xs), max(xs), 0.0)
        self.y0, self.y1 = _padded(min(ys), max(ys), 0.06)

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return self.height - BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (self.height - TOP - BOTTOM)

    def frame(self, x_label: str) -> str:
        """SVG of lines and numbers of both axes."""
        parts, right = [], self.width - RIGHT
        for value in ticks(self.y0, self.y1):
            y = self.y(value)
            parts.append(f'<line class="lw-gridline" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
        for value in ticks(self.x0, self.x1):
            parts.append(f'<text x="{self.x(value):.1f}" y="{self.height - 8}" text-anchor="middle">{value:.6g}</text>')
        parts.append(f'<text x="0" y="{self.height - 8}">{escape(x_label)}</text>')
        return "".join(parts)

    def data(self, lines: Sequence[tuple[str, str, Sequence[Point]]], unit: str = "step") -> str:
        """What the page's script needs to show values under the pointer and to zoom, as JSON.

        Args:
            lines: (name, CSS class, points) of each; those whose class begins with ``lw-dot`` are dots.
        """
        box = [LEFT, self.width - RIGHT, TOP, self.height - BOTTOM]
        drawn = [
            {"name": name, "css": css, "points": [[float(f"{x:.6g}"), float(f"{y:.5g}")] for x, y in points]}
            for name, css, points in lines
        ]
        shown = {"box": box, "range": [self.x0, self.x1, self.y0, self.y1], "unit": unit, "lines": drawn}
        return json.dumps(shown, separators=(",", ":"))

    def line(self, points: Sequence[Point], css: str) -> str:
        """SVG of a line through points; ``css`` is its class."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        return f'<polyline class="{css}" points="{path}"/>'

    def dots(self, points: Sequence[Point], css: str, label: str, unit: str = "step") -> str:
        """SVG of points that say what they are when the mouse is over them."""
        return "".join(
            f'<circle class="{css}" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="4.5">'
            f"<title>{escape(label)} {y:.4g} at {unit} {x:g}</title></circle>"
            for x, y in points
        )


def loss_chart(
    losses: Sequence[Point], fixed: Sequence[Point] = (), held_out: Sequence[Point] = (), *, title: str = "Loss"
) -> str:
    """Running loss as a line over steps, with the fixed-noise loss of each epoch as dots (the lowest one filled).

    Args:
        losses: (step, loss) of every step; smoothed here, because single steps say little.
        fixed: (step, fixed-noise loss) at the end of each epoch.
        held_out: the same of pictures that are not trained on.
    """
    smooth = _without_first_spike(thinned(smoothed(_finite(losses))))
    dots = [
        (css, name, _finite(points))
        for css, name, points in (
            ("lw-dot", "fixed-noise loss per epoch", fixed), ("lw-dot lw-held", "of held-out images", held_out)
        )
        if points
    ]  # fmt: skip
    both = [*smooth, *(p for _, _, points in dots for p in points)]
    if not both:
        return ""
    axes = Axes([x for x, _ in both], [y for _, y in both])
    loss = axes.line(smooth, "lw-line-a") if len(smooth) > 1 else axes.dots(smooth, "lw-run lw-run-0", "running loss")
    parts = [axes.frame("steps"), loss]
    for css, name, points in dots:
        best = min(points, key=lambda p: p[1], default=None)
        parts.append(axes.dots([p for p in points if p != best], css, name))
        parts.append(axes.dots([best] if best else [], f"{css} lw-best", f"Lowest: {name}"))
    names = [("lw-line-a", "running loss"), *((css, f"{name}, lowest filled") for css, name, _ in dots)]
    lines = [("running loss", "lw-line-a", smooth), *((name, css, points) for css, name, points in dots)]
    return figure("".join(parts), title, names, data=axes.data(lines))


def runs_chart(curves: Sequence[tuple[str, Sequence[Point]]], title: str) -> str:
    """Up to :data:`COLOURS` runs on one scale; each is (name, (step, loss) points), drawn as they are given."""
    lines = [(name, _finite(points)) for name, points in curves[:COLOURS]]
    everything = [p for _, points in lines for p in points]
    if not everything:
        return ""
    axes = Axes([x for x, _ in everything], [y for _, y in everything])
    drawn, names = [axes.frame("steps")], []
    for number, (name, points) in enumerate(lines):
        css = f"lw-run lw-run-{number}"
        drawn.append(axes.line(points, css) if len(points) > 1 else axes.dots(points, css, name))
        names.append((css, name))
    shown = [(name, f"lw-run lw-run-{number}", points) for number, (name, points) in enumerate(lines)]
    return figure("".join(drawn), title, names, data=axes.data(shown))


def spectrum_chart(values: Sequence[float], kept: int) -> str:
    """Singular values as bars, descending; the ``kept`` largest in colour, what is cut off in grey."""
    values = values[: max(2 * kept, 24)]
    if not values or values[0] <= 0:
        return ""
    width = 100 / len(values)
    bars = "".join(
        f'<rect class="{"lw-bar" if i < kept else "lw-bar lw-cut"}" x="{i * width + 0.1 * width:.2f}" '
        f'width="{0.8 * width:.2f}" y="{40 * (1 - v / values[0]):.2f}" height="{40 * v / values[0]:.2f}"/>'
        for i, v in enumerate(values)
    )
    label = f"Singular values, {kept} of {len(values)} kept"
    return (
        f'<svg class="lw-spectrum" viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{bars}</svg>"
    )


def energy_chart(curve: Sequence[float], kept: int) -> str:
    """Share of the energy that each rank keeps, from the first on, with a line at the ``kept`` rank."""
    if len(curve) < 2:
        return ""
    points = [(float(rank), share) for rank, share in enumerate(curve, start=1)]
    axes = Axes([x for x, _ in points], [min(y for _, y in points), 1.0], size=SMALL)
    parts = [axes.frame("rank"), axes.line(points, "lw-line-a")]
    if 1 <= kept <= len(curve):
        parts.append(axes.dots([(float(kept), curve[kept - 1])], "lw-dot lw-best", "Quality kept", unit="rank"))
    names = [("lw-line-a", "share kept by each rank")] + ([("lw-dot", f"rank {kept}")] if kept <= len(curve) else [])
    return figure("".join(parts), "Quality kept", names, size=SMALL)


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Exponential mean, without the pull of the first value; its memory grows with the length of the run."""
    keep = 1 - 1 / max(1.0, min(50.0, len(points) / 20))
    result, mean, weight = [], 0.0, 0.0
    for x, y in points:
        mean, weight = keep * mean + (1 - keep) * y, keep * weight + (1 - keep)
        result.append((x, mean / weight))
    return result


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most ``POINTS`` of them, evenly, with the last one."""
    if len(points) <= POINTS:
        return list(points)
    return [points[round(i * (len(points) - 1) / (POINTS - 1))] for i in range(POINTS)]


def ticks(low: float, high: float) -> list[float]:
    """About ``TICKS`` round numbers from ``low`` to ``high``."""
    rough = (high - low) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _without_first_spike(points: Sequence[Point]) -> Sequence[Point]:
    """Without those of a run's first steps that stand out above all others: the rest would be a flat line."""
    begin = len(points) // 20 + 1
    rest = max((y for _, y in points[begin:]), default=0.0)
    if len(points) < 20 or max(y for _, y in points) < 1.5 * rest:
        return points
    return [(x, y) for x, y in points if y <= rest]


def _finite(points: Sequence[Point]) -> list[Point]:
    return [p for p in points if math.isfinite(p[1])]


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    if high - low <= 1e-9 * max(1.0, abs(high)):
        margin = abs(high) * 0.1 or 1.0
        return low - margin, high + margin
    return low - share * (high - low), high + share * (high - low)


def figure(
    content: str, title: str, names: Sequence[tuple[str, str]], size: tuple[int, int] = (WIDTH, HEIGHT), data: str = ""
) -> str:
    """A drawing with its title and a legend of (CSS class, name); ``data`` is that of :meth:`Axes.data`."""
    live = f' data-lw-chart="{escape(data)}"' if data else ""
    legend = "".join(f'<span><i class="{css}"></i>{escape(name)}</span>' for css, name in names)
    return (
        f'<figure class="lw-chart"{live}><figcaption><b>{escape(title)}</b>{legend}</figcaption>'
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(title)}">{content}</svg></figure>'
    )
