// Find a setting: a click on what was found leads to its field. The button has the field's element id (data-lw-goto) and
// the title of the closed group that it is in (data-lw-group; empty for a field that is always in view).
(function () {
    "use strict";
    if (window.loraWorkbenchTrain) return;
    window.loraWorkbenchTrain = true;

    const root = () => window.loraWorkbench.root();
    const shown = (element) => Boolean(element && element.getClientRects().length);

    function open(title) {
        const bars = Array.from(root().querySelectorAll("#lw_tab_train .label-wrap"));
        const titles = [title, window.loraWorkbench.shown(title)];
        const bar = bars.find((one) => shown(one) && titles.some((text) => one.textContent.trim().startsWith(text)));
        if (bar && !bar.classList.contains("open")) bar.click();
    }

    // groups build their fields when they are opened
    function lead(id, left = 12) {
        const block = root().querySelector("#" + id);
        if (!shown(block)) {
            if (left) setTimeout(lead, 100, id, left - 1);
            return;
        }
        block.scrollIntoView({ block: "center", behavior: "smooth" });
        block.querySelector("textarea, input")?.focus({ preventScroll: true });
    }

    document.addEventListener("click", (event) => {
        const target = event.composedPath()[0];
        const button = target instanceof Element && target.closest("[data-lw-goto]");
        if (!button) return;
        if (button.dataset.lwGroup) open(button.dataset.lwGroup);
        lead(button.dataset.lwGoto);
    });
})();
