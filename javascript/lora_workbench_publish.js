// The library of the Publish tab: while one types into [data-lw-filter=CLASS], only those of that class stay whose name
// has all words of it.
(function () {
    "use strict";
    if (window.loraWorkbenchPublish) return;
    window.loraWorkbenchPublish = true;

    function filter(field) {
        const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
        const box = field.parentElement;
        box.querySelectorAll("." + field.dataset.lwFilter).forEach((card) => {
            const name = card.dataset.lwPick.toLowerCase();
            card.hidden = !words.every((word) => name.includes(word));
        });
    }

    document.addEventListener("input", (event) => {
        const target = event.composedPath()[0];
        if (target instanceof Element && target.matches("[data-lw-filter]")) filter(target);
    });
})();
