// Loupe: a click on img[data-lw-zoom] enlarges it. The pictures of one group ([data-lw-loupe], a strip, the grid) follow
// each other by the arrow keys, always in the same place, so that what differs is seen: left and right within the row of
// a table, up and down between its rows. Space shows the picture that was seen before, and back again. "lw-zoomed" tells
// others of each picture: {image, show(source)}, the latter for a better one.
(function () {
    "use strict";
    const page = window.loraWorkbench = window.loraWorkbench || {};
    if (page.zoom) return;

    const GROUPS = "[data-lw-loupe], .lw-strip, .lw-film, #lw_grid_table";
    const PICTURES = "img[data-lw-zoom], [data-lw-cell] img, .lw-thumb img";
    const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

    // rows of pictures; what is in no table is one row
    function rows(image) {
        const group = image.closest(GROUPS);
        if (!group) return [[image]];
        const all = Array.from(group.querySelectorAll(PICTURES));
        const bars = Array.from(new Set(all.map((one) => one.closest("tr"))));
        return bars.map((bar) => all.filter((one) => one.closest("tr") === bar));
    }

    const column = (image) => image.closest("td")?.cellIndex ?? -1;

    // the neighbour in that direction: in another row the one of the same column, or the nearest before it
    function next(all, image, [down, right]) {
        const row = all.findIndex((pictures) => pictures.includes(image));
        if (right) return all[row][all[row].indexOf(image) + right];
        const other = all[row + down];
        return other && (other.filter((one) => column(one) <= column(image)).pop() || other[0]);
    }

    page.zoom = (image) => {
        const all = rows(image);
        const dialog = document.createElement("dialog");
        const large = document.createElement("img");
        const caption = document.createElement("p");
        const keys = document.createElement("p");
        dialog.className = "lw-zoom";
        keys.className = "lw-zoom-keys";
        const hints = [["← → next", all.flat().length > 1], ["↑ ↓ next row", all.length > 1], ["Space back and forth", all.flat().length > 1]];
        keys.textContent = [...hints.filter(([, has]) => has).map(([text]) => text), "Esc closes"].join(" · ");
        let shown = image, before = null;

        const show = (one) => {
            if (one !== shown) before = shown;
            shown = one;
            large.src = one.dataset.lwFull || one.src;
            large.alt = caption.textContent = one.dataset.lwCaption || one.alt;
            dialog.setAttribute("aria-label", large.alt);
            const better = (source) => { if (shown === one) large.src = source; };
            document.dispatchEvent(new CustomEvent("lw-zoomed", { detail: { image: one, show: better } }));
        };
        dialog.addEventListener("keydown", (event) => {
            const move = MOVES[event.key];
            const one = event.key === " " ? before : move && next(all, shown, move);
            if (!move && event.key !== " ") return;
            event.preventDefault();
            if (one) show(one);
        });
        dialog.addEventListener("click", () => dialog.close());
        dialog.addEventListener("close", () => {
            dialog.remove();
            if (shown.isConnected) shown.focus({ preventScroll: false });
        });
        dialog.append(large, caption, keys);
        show(image);
        document.body.append(dialog);
        dialog.showModal();
    };
})();
