// Charts that answer: values under the pointer, and zoom. A figure[data-lw-chart] holds an SVG that ui/charts.py has drawn
// and, as JSON, {box: [left, right, top, bottom], range: [x0, x1, y0, y1], unit, lines: [{name, css, points}]}. Dragging
// over a chart zooms into these steps; a double click shows all again. A chart that is drawn anew keeps its zoom.
// The newest column of a sample matrix is in view, unless its user has scrolled elsewhere.
(function () {
    "use strict";
    const page = window.loraWorkbench = window.loraWorkbench || {};
    if (page.charts) return;

    const SVG = "http://www.w3.org/2000/svg";
    const zooms = new Map(); // title -> [x0, x1]
    const known = new WeakMap(); // figure -> chart
    let drag = null; // {chart, from, band}

    // in a narrow column a chart is drawn anew, or its text would be too small to read
    const WIDE = 800, RIGHT = 20;
    const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => {
        const figure = target.closest("figure"), width = Math.round(target.clientWidth);
        if (!figure || !width || width >= WIDE) return;
        const chart = chartOf(figure);
        if (width === chart.width) return;
        chart.width = width;
        target.setAttribute("viewBox", `0 0 ${width} ${target.viewBox.baseVal.height}`);
        chart.box = [chart.box[0], width - RIGHT, chart.box[2], chart.box[3]];
        redraw(chart);
    }));

    const isDot = (line) => line.css.startsWith("lw-dot");
    const titleOf = (figure) => figure.querySelector("figcaption b").textContent;

    // gradio 6 keeps the elements and changes what is in them
    const isNew = (figure) => known.get(figure)?.raw !== figure.dataset.lwChart;

    function chartOf(figure) {
        if (isNew(figure)) {
            const raw = figure.dataset.lwChart, data = JSON.parse(raw);
            known.set(figure, { figure, raw, ...data, whole: data.range, svg: figure.querySelector("svg"), tip: null });
            sizes.unobserve(figure.querySelector("svg")); // so that the first look at it comes again
            sizes.observe(figure.querySelector("svg"));
        }
        return known.get(figure);
    }

    const toX = ({ box, range }, x) => box[0] + (x - range[0]) / (range[1] - range[0]) * (box[1] - box[0]);
    const toY = ({ box, range }, y) => box[3] - (y - range[2]) / (range[3] - range[2]) * (box[3] - box[2]);

    // the step under the pointer
    function stepAt(chart, event) {
        const area = chart.svg.getBoundingClientRect();
        const x = (event.clientX - area.left) / area.width * chart.svg.viewBox.baseVal.width;
        const share = (x - chart.box[0]) / (chart.box[1] - chart.box[0]);
        return chart.range[0] + Math.min(1, Math.max(0, share)) * (chart.range[1] - chart.range[0]);
    }

    function nearest(points, x) {
        return points.reduce((best, one) => (!best || Math.abs(one[0] - x) < Math.abs(best[0] - x) ? one : best), null);
    }

    function draw(name, attributes, text) {
        const element = document.createElementNS(SVG, name);
        Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
        if (text !== undefined) element.textContent = text;
        return element;
    }

    // about four round numbers, as ui/charts.py chooses them
    function ticks(low, high) {
        const rough = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(rough));
        const step = [1, 2, 2.5, 5, 10].map((m) => m * unit).find((one) => one >= rough);
        const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
        return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
    }

    function redraw(chart) {
        const { box, range, svg } = chart;
        const parts = [];
        ticks(range[2], range[3]).forEach((value) => {
            const y = toY(chart, value);
            parts.push(draw("line", { class: "lw-gridline", x1: box[0], x2: box[1], y1: y, y2: y }));
            parts.push(draw("text", { x: box[0] - 6, y: y + 4, "text-anchor": "end" }, value));
        });
        const below = svg.viewBox.baseVal.height - 8;
        ticks(range[0], range[1]).forEach((value) => {
            parts.push(draw("text", { x: toX(chart, value), y: below, "text-anchor": "middle" }, value));
        });
        parts.push(draw("text", { x: 0, y: below }, chart.unit + "s"));
        chart.lines.forEach((line) => {
            const inside = line.points.filter(([x]) => x >= range[0] && x <= range[1]);
            const places = inside.map(([x, y]) => [toX(chart, x), toY(chart, y)]);
            if (isDot(line)) {
                const lowest = Math.min(...line.points.map(([, y]) => y));
                places.forEach(([x, y], i) => {
                    const css = inside[i][1] === lowest ? line.css + " lw-best" : line.css;
                    parts.push(draw("circle", { class: css, cx: x, cy: y, r: 4.5 }));
                });
            } else parts.push(draw("polyline", { class: line.css, points: places.map((place) => place.join()).join(" ") }));
        });
        svg.replaceChildren(...parts);
    }

    function zoom(chart, from, to) {
        const values = chart.lines.flatMap((line) => line.points.filter(([x]) => x >= from && x <= to).map(([, y]) => y));
        if (values.length < 2) return;
        const low = Math.min(...values), high = Math.max(...values), margin = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
        chart.range = [from, to, low - margin, high + margin];
        zooms.set(titleOf(chart.figure), [from, to]);
        redraw(chart);
        chart.figure.classList.add("lw-zoomed");
    }

    function whole(chart) {
        chart.range = chart.whole;
        zooms.delete(titleOf(chart.figure));
        redraw(chart);
        chart.figure.classList.remove("lw-zoomed");
    }

    function point(chart, event) {
        const x = stepAt(chart, event);
        const found = chart.lines.map((line) => [line, nearest(line.points, x)]).filter(([, one]) => one);
        const main = found.find(([line]) => !isDot(line)) || found[0];
        if (!main) return;
        const near = (chart.range[1] - chart.range[0]) * 0.04;
        const shown = found.filter(([line, one]) => !isDot(line) || Math.abs(one[0] - main[1][0]) <= near);
        if (!chart.tip) {
            chart.tip = document.createElement("div");
            chart.tip.className = "lw-tip";
            chart.figure.append(chart.tip);
        }
        const head = document.createElement("b");
        head.textContent = `${chart.unit} ${main[1][0]}`;
        const rows = shown.map(([line, one]) => {
            const row = document.createElement("div"), mark = document.createElement("i");
            mark.className = line.css;
            row.append(mark, `${line.name} ${one[1].toPrecision(4)}`);
            return row;
        });
        chart.tip.replaceChildren(head, ...rows);
        const area = chart.svg.getBoundingClientRect(), scale = area.width / chart.svg.viewBox.baseVal.width;
        const left = toX(chart, main[1][0]) * scale;
        chart.tip.style.left = `${left}px`;
        chart.tip.classList.toggle("lw-left", left > area.width / 2);
        chart.tip.style.top = `${area.top - chart.figure.getBoundingClientRect().top}px`;
        chart.svg.querySelector(".lw-pointer")?.remove();
        const at = toX(chart, main[1][0]);
        chart.svg.append(draw("line", { class: "lw-pointer", x1: at, x2: at, y1: chart.box[2], y2: chart.box[3] }));
    }

    function leave(chart) {
        chart.tip?.remove();
        chart.tip = null;
        chart.svg.querySelector(".lw-pointer")?.remove();
    }

    function band(event) {
        const { chart } = drag, x = toX(chart, stepAt(chart, event)), from = toX(chart, drag.from);
        drag.band ||= chart.svg.appendChild(draw("rect", { class: "lw-band", y: chart.box[2], height: chart.box[3] - chart.box[2] }));
        drag.band.setAttribute("x", Math.min(x, from));
        drag.band.setAttribute("width", Math.abs(x - from));
    }

    const over = (event) => {
        const target = event.composedPath()[0];
        const svg = target instanceof Element && target.closest("figure[data-lw-chart] svg");
        return svg ? chartOf(svg.closest("figure")) : null;
    };
    let last = null;
    document.addEventListener("pointermove", (event) => {
        const chart = over(event);
        if (last && last !== chart) leave(last);
        last = chart;
        if (chart) point(chart, event);
        if (drag && chart === drag.chart) band(event);
    }, { passive: true });
    document.addEventListener("pointerdown", (event) => {
        const chart = event.button === 0 && over(event);
        if (chart) drag = { chart, from: stepAt(chart, event), band: null };
    });
    document.addEventListener("pointerup", (event) => {
        if (!drag) return;
        const { chart, from } = drag, to = stepAt(chart, event);
        drag.band?.remove();
        drag = null;
        if (Math.abs(to - from) > (chart.range[1] - chart.range[0]) * 0.02) zoom(chart, Math.min(from, to), Math.max(from, to));
    });
    document.addEventListener("dblclick", (event) => {
        const chart = over(event);
        if (chart) whole(chart);
    });

    // what has just been drawn: charts that were zoomed, and matrices whose newest column is out of view
    const scrolled = new Map(); // id of the panel -> where its user has left it
    function arrived(root) {
        root.querySelectorAll("figure[data-lw-chart]").forEach((figure) => {
            if (!isNew(figure)) return;
            const chart = chartOf(figure), range = zooms.get(titleOf(figure));
            if (range) zoom(chart, ...range);
        });
        root.querySelectorAll(".lw-matrix:not([data-lw-there])").forEach((matrix) => {
            const key = matrix.closest("[id^=lw_]")?.id || "";
            matrix.dataset.lwThere = "1";
            matrix.scrollLeft = scrolled.get(key) ?? matrix.scrollWidth;
            matrix.addEventListener("scroll", () => {
                const atEnd = matrix.scrollLeft + matrix.clientWidth > matrix.scrollWidth - 8;
                if (atEnd) scrolled.delete(key);
                else scrolled.set(key, matrix.scrollLeft);
            }, { passive: true });
        });
    }
    function watch() {
        const element = page.root?.().querySelector("#lw_page");
        if (!element) return setTimeout(watch, 500);
        let due = false;
        new MutationObserver(() => {
            if (due) return;
            due = true;
            setTimeout(() => { due = false; arrived(element); });
        }).observe(element, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-lw-chart"] });
        arrived(element);
    }
    page.charts = true;
    watch();
})();
