// The epoch grid: size of its pictures, keys between its cells, and the chosen picture in the place of another one.
// Cells are [data-lw-cell] (ui/grid_view.py); a click on one chooses it (lora_workbench.js). The slider is
// [data-lw-cell-size], in px; the size lasts as long as the window.
(function () {
    "use strict";
    if (window.loraWorkbenchGrid) return;
    window.loraWorkbenchGrid = true;

    const SIZE = "lora-workbench cell size";
    const page = () => window.loraWorkbench; // {root} of lora_workbench.js, which may be loaded later
    const grid = () => page()?.root?.().querySelector("#lw_grid_table");
    const stored = () => { try { return sessionStorage.getItem(SIZE); } catch { return null; } };

    function resize(value) {
        document.documentElement.style.setProperty("--lw-cell", value + "px"); // gradio rewrites its parts' own style
        try { sessionStorage.setItem(SIZE, value); } catch { /* blocked */ }
    }

    document.addEventListener("input", (event) => {
        const target = event.composedPath()[0];
        if (target instanceof Element && target.matches("[data-lw-cell-size]")) resize(target.value);
    });

    // what a reload brings back, as soon as the tab has been built
    function bringBack() {
        slider().value = stored();
        resize(slider().value);
    }
    const slider = () => page().root().querySelector("[data-lw-cell-size]");
    const wait = () => (page()?.once ? page().once(() => slider() && grid(), bringBack) : setTimeout(wait));
    if (stored()) wait();

    const cellOf = (event) => {
        const target = event.composedPath()[0];
        return target instanceof Element ? target.closest("[data-lw-cell]") : null;
    };

    // the cell beside, above or below: empty places are stepped over
    function beside(cell, right, down) {
        let place = cell.closest("td"), row = place.parentElement;
        const column = place.cellIndex;
        while (place) {
            if (right) place = right > 0 ? place.nextElementSibling : place.previousElementSibling;
            else {
                row = down > 0 ? row.nextElementSibling : row.previousElementSibling;
                place = row?.cells[column];
            }
            const found = place?.querySelector("[data-lw-cell]");
            if (found) return found;
        }
        return null;
    }

    const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

    document.addEventListener("keydown", (event) => {
        const cell = cellOf(event), move = MOVES[event.key];
        if (!cell || !move) return;
        event.preventDefault();
        const next = beside(cell, ...move);
        next?.focus();
        next?.scrollIntoView({ block: "nearest", inline: "nearest" });
    });

    // ---- the grid comes into view when it is begun ----
    document.addEventListener("click", (event) => {
        const target = event.composedPath()[0];
        if (!event.isTrusted || !(target instanceof Element) || !target.closest("#lw_grid_make")) return;
        show();
    });

    function show(left = 20) {
        const bar = page().root().querySelector("#lw_grid_progress");
        if (bar?.querySelector("progress") && grid()?.querySelector(".lw-cell")) bar.scrollIntoView({ behavior: "smooth", block: "start" });
        else if (left) setTimeout(show, 250, left - 1);
    }

    // ---- hold B: the chosen picture where another one is ----
    let flipped = null; // {image, own}

    function flip() {
        const cell = grid()?.querySelector("[data-lw-cell]:focus-visible") || grid()?.querySelector("[data-lw-cell]:hover");
        const chosen = cell?.closest("table").querySelector(".lw-cell.lw-chosen img");
        const image = cell?.querySelector("img");
        if (flipped || !chosen || chosen === image) return;
        flipped = { image, own: image.src };
        image.src = chosen.src;
        cell.classList.add("lw-flipped");
    }

    function flipBack() {
        if (!flipped) return;
        flipped.image.src = flipped.own;
        flipped.image.closest("[data-lw-cell]")?.classList.remove("lw-flipped");
        flipped = null;
    }

    document.addEventListener("keydown", (event) => {
        const target = event.composedPath()[0];
        const typing = target instanceof Element && target.matches("textarea, input:not([type=range]), [contenteditable]");
        if (event.key.toLowerCase() !== "b" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
        if (grid()?.getClientRects().length) flip();
    });
    document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") flipBack(); });
    window.addEventListener("blur", flipBack);
})();
