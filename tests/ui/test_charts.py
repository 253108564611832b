from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from html import unescape

import pytest

from lib_lora.ui import charts


def svg(figure: str) -> ET.Element:
    """The drawing in a figure; not well-formed markup fails here."""
    return ET.fromstring(figure[figure.index("<svg") : figure.index("</svg>") + 6])


def test_the_line_stays_inside_the_drawing() -> None:
    drawing = svg(charts.loss_chart([(step, 1 / (step + 2000)) for step in range(1, 2000)]))
    points = [tuple(map(float, p.split(","))) for p in drawing.find("polyline").get("points").split()]
    assert len(points) == charts.POINTS
    assert all(0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for x, y in points)
    assert points[0][1] < points[-1][1]  # a falling loss falls on the screen


def test_a_spike_of_the_first_steps_does_not_flatten_the_rest() -> None:
    figure = charts.loss_chart([(1, 90.0), (2, 40.0), *((step, 1 + 1 / step) for step in range(3, 200))])
    data = json.loads(unescape(figure.partition('data-lw-chart="')[2].partition('"')[0]))
    assert data["range"][3] < 40 and data["lines"][0]["points"][-1][0] == 199


def test_the_lowest_fixed_noise_loss_is_filled() -> None:
    drawing = svg(charts.loss_chart([(1, 1.0), (2, 0.9)], [(1, 0.5), (2, 0.3), (3, 0.4)]))
    dots = {dot.get("class"): dot.find("title").text for dot in drawing.iter("circle")}
    assert "0.3 at step 2" in dots["lw-dot lw-best"]
    assert len(list(drawing.iter("circle"))) == 3


def test_values_that_are_no_numbers_are_left_out() -> None:
    drawing = svg(charts.loss_chart([(1, 1.0), (2, math.nan), (3, math.inf), (4, 0.5)]))
    assert "nan" not in ET.tostring(drawing, "unicode")
    assert len(drawing.find("polyline").get("points").split()) == 2


def test_nothing_to_show_gives_nothing() -> None:
    assert charts.loss_chart([]) == ""
    assert charts.runs_chart([("a", []), ("b", [])], "t") == ""
    assert charts.spectrum_chart([], 4) == ""


def test_the_loss_of_one_step_is_a_dot() -> None:
    assert svg(charts.loss_chart([(1, 0.5)])).find("circle") is not None


def test_a_constant_loss_has_a_scale() -> None:
    assert svg(charts.loss_chart([(1, 0.5), (2, 0.5)])).find("polyline") is not None


def test_titles_are_escaped() -> None:
    assert "<b>x" not in charts.runs_chart([("<b>x", [(1, 1.0), (2, 1.0)]), ("y", [])], "t")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.081, 0.0823), (1, 1500), (-3, 7), (1e-6, 2e-6)])
def test_ticks_are_few_and_within(low: float, high: float) -> None:
    found = charts.ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)


def test_smoothing_keeps_a_constant_and_calms_noise() -> None:
    assert charts.smoothed([(i, 2.0) for i in range(100)])[-1][1] == pytest.approx(2.0)
    noisy = [(i, 1.0 + (-1) ** i) for i in range(1000)]
    assert all(abs(y - 1) < 0.1 for _, y in charts.smoothed(noisy)[100:])


def test_spectrum_shows_what_is_cut_off() -> None:
    drawing = svg(charts.spectrum_chart([4.0, 2.0, 1.0, 0.5], kept=2))
    assert [bar.get("class") for bar in drawing] == ["lw-bar", "lw-bar", "lw-bar lw-cut", "lw-bar lw-cut"]
    assert float(drawing[0].get("height")) == 2 * float(drawing[1].get("height"))
