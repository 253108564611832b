// A button that asks the program for something takes no second click until the answer is there (ui/actions.py): it shows
// that, and what a double click sends after the first is not sent on. The program would refuse a second run of a name,
// but a second grid, merge or page of notes it would make.
(function () {
    "use strict";
    if (window.loraWorkbench?.answered) return;

    const LONGEST = 60000; // ms; an answer may be lost, as when the program is restarted
    const LOST = 3000; // ms after which a click counts again where no handler is at work: the first one came to nothing
    const waiting = new Map(); // id of a button → the button, the timer that gives up, and when it was clicked

    function answered(id) {
        const [button, timer] = waiting.get(id) || [];
        waiting.delete(id);
        clearTimeout(timer);
        button?.removeAttribute("aria-disabled"); // not "disabled", which is gradio's to set
        return [];
    }

    const lost = (id) => performance.now() - waiting.get(id)[2] > LOST && window.loraWorkbench.idle?.();
    const release = () => Array.from(waiting.keys()).forEach(answered); // no answer will come

    // before all others, which take the click for one that does something
    function onClick(event) {
        const target = event.composedPath()[0];
        const button = target instanceof Element && target.closest("button.lw-once");
        if (!button || button.disabled) return;
        if (waiting.has(button.id) && lost(button.id)) answered(button.id);
        if (waiting.has(button.id)) {
            event.preventDefault();
            event.stopImmediatePropagation();
            return;
        }
        waiting.set(button.id, [button, setTimeout(answered, LONGEST, button.id), performance.now()]);
        button.setAttribute("aria-disabled", "true");
    }

    window.loraWorkbench = Object.assign(window.loraWorkbench || {}, { answered, release });
    window.addEventListener("click", onClick, true);
})();
