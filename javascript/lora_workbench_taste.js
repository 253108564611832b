// Tune by taste in LoRA Workbench: the keys 1, 2 and 0 press the buttons of the question in view.
(function () {
    "use strict";
    if (window.loraWorkbenchTaste) return;
    window.loraWorkbenchTaste = true;

    document.addEventListener("keydown", (event) => {
        const target = event.composedPath()[0];
        const typing = target instanceof Element && target.matches("textarea, input, select, [contenteditable]");
        if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
        const page = window.loraWorkbench; // of lora_workbench.js, which may be loaded later
        const button = page && /^[012]$/.test(event.key) && page.root().querySelector(`#lw_taste_question [data-lw-key="${event.key}"]`);
        if (!button || button.disabled || !button.getClientRects().length) return;
        event.preventDefault();
        button.click();
    });
})();
