// "?" shows what the keys do; also a click on [data-lw-keys].
(function () {
    "use strict";
    if (window.loraWorkbenchKeys) return;
    window.loraWorkbenchKeys = true;

    const KEYS = [
        ["Everywhere", [["?", "these keys"], ["Tab", "to the next button or field"], ["Esc", "closes what is open"]]],
        ["Enlarged pictures", [["← →", "next picture in the row"], ["↑ ↓", "next row, such as another prompt"], ["Space", "back and forth between two"]]],
        ["Dataset, pictures", [["← → ↑ ↓", "go to a picture"], ["Shift + arrows", "mark on the way"], ["Space", "mark one"], ["Ctrl + A", "mark all"],
            ["Z", "enlarge"], ["Enter", "write its caption"]]],
        ["Dataset, caption", [["Tab", "complete the tag"], ["Ctrl + Enter", "save, next picture"], ["Alt + ← →", "picture before, picture after"]]],
        ["Dataset, generate pictures", [["K", "keep the picture"], ["L", "leave it"]]],
        ["Charts", [["drag", "zoom in"], ["double click", "show all"]]],
    ];
    const root = () => window.loraWorkbench?.root?.() || document;
    const make = (name, text) => Object.assign(document.createElement(name), { textContent: text || "" });

    function show() {
        if (document.querySelector("dialog.lw-keys")) return;
        const dialog = make("dialog");
        dialog.className = "lw-keys";
        dialog.setAttribute("aria-label", "Keys");
        KEYS.forEach(([title, rows]) => {
            const list = make("dl");
            rows.forEach(([key, text]) => {
                const name = make("dt");
                name.append(make("kbd", key));
                list.append(name, make("dd", text));
            });
            const part = make("section");
            part.append(make("h4", title), list);
            dialog.append(part);
        });
        const close = make("button", "Close");
        close.type = "button";
        close.addEventListener("click", () => dialog.close());
        dialog.append(close);
        dialog.addEventListener("close", () => dialog.remove());
        (root().querySelector("#lw_page") || document.body).append(dialog);
        dialog.showModal();
    }

    document.addEventListener("keydown", (event) => {
        const target = event.composedPath()[0];
        const writes = target instanceof Element && target.matches("input, textarea, select, [contenteditable]");
        if (event.key !== "?" || writes || !root().querySelector("#lw_page")?.getClientRects().length) return;
        event.preventDefault();
        show();
    });
    document.addEventListener("click", (event) => {
        const target = event.composedPath()[0];
        if (target instanceof Element && target.closest("[data-lw-keys]")) show();
    });
})();
