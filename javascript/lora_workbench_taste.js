// Choices between pictures in LoRA Workbench: 1, 2 and 0 press the buttons of Tune by taste, K and L those of Generate pictures.
(function () {
    "use strict";
    if (window.loraWorkbenchTaste) return;
    window.loraWorkbenchTaste = true;

    document.addEventListener("keydown", (event) => {
        const target = event.composedPath()[0];
        const typing = target instanceof Element && target.matches("textarea, input, select, [contenteditable]");
        if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
        const page = window.loraWorkbench; // of lora_workbench.js, which may be loaded later
        const key = event.key.toLowerCase();
        const found = page && /^[012kl]$/.test(key) ? page.root().querySelectorAll(`:is(#lw_taste_question, #lw_made_shown) [data-lw-key="${key}"]`) : [];
        const button = [...found].find((one) => !one.disabled && one.getClientRects().length);
        if (!button) return;
        event.preventDefault();
        button.click();
    });
})();
