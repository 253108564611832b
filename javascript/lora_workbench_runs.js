// The table of runs: what is typed into .lw-runs-find narrows it, a click on a heading sorts it. Both are the page's own,
// and hold when the program draws the table anew.
(function () {
    "use strict";
    if (window.loraWorkbenchRuns) return;
    window.loraWorkbenchRuns = true;

    const place = () => window.loraWorkbench?.root?.().querySelector("#lw_runs_table");
    let words = [], order = null; // {column, down}

    function narrow(table) {
        Array.from(table.tBodies[0].rows).forEach((row) => {
            const text = Array.from(row.cells, (cell) => cell.textContent).join("\n").toLowerCase(); // none runs into the next
            row.hidden = !words.every((word) => text.includes(word));
        });
    }

    function sort(table) {
        if (!order) return;
        const body = table.tBodies[0];
        const key = (row) => row.cells[order.column]?.dataset.lwSort || row.cells[order.column]?.textContent || "";
        const rows = Array.from(body.rows).sort((a, b) => key(a).localeCompare(key(b), "en", { numeric: true }));
        const wanted = order.down ? rows.reverse() : rows;
        if (wanted.some((row, number) => body.rows[number] !== row)) body.append(...wanted);
        Array.from(table.tHead.rows[0].cells).forEach((cell, column) => {
            if (column === order.column) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
            else cell.removeAttribute("aria-sort");
        });
    }

    function drawn() {
        const table = place()?.querySelector("table.lw-runs");
        if (!table) return;
        const field = place().querySelector(".lw-runs-find");
        if (field && words.length && !field.value) field.value = words.join(" ");
        narrow(table);
        sort(table);
    }

    document.addEventListener("input", (event) => {
        const target = event.composedPath()[0];
        if (!(target instanceof Element) || !target.matches(".lw-runs-find")) return;
        words = target.value.toLowerCase().split(/\s+/).filter(Boolean);
        drawn();
    });
    document.addEventListener("click", (event) => {
        const target = event.composedPath()[0];
        const button = target instanceof Element && target.closest("[data-lw-runs-order]");
        if (!button) return;
        const column = button.closest("th").cellIndex;
        order = { column, down: order?.column === column && !order.down };
        drawn();
    });
    function watch() {
        new MutationObserver(drawn).observe(place(), { childList: true });
        drawn();
    }
    const wait = () => (window.loraWorkbench?.once ? window.loraWorkbench.once(place, watch) : setTimeout(wait));
    wait();
})();
