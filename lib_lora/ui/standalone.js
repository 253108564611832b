// gradio 6 leaves a loop of animation frames running behind its loading screen (the timer of a StatusTracker that is
// taken away while it is pending), which keeps a tenth of a core busy for as long as the page is open. So frames are
// held back while nobody does anything and nothing changes; whatever stirs brings them at once.
(() => {
    "use strict";
    const QUIET = 1500; // ms without anything, from which on frames are held back
    const LONGEST = 10000; // ms that one is held back
    const frame = window.requestAnimationFrame.bind(window), cancel = window.cancelAnimationFrame.bind(window);
    const held = new Map(); // number -> {work, timer}
    let last = performance.now(), count = 0;

    const give = (number) => {
        const { work, timer } = held.get(number);
        clearTimeout(timer);
        held.delete(number);
        frame(work);
    };
    const stir = () => {
        last = performance.now();
        Array.from(held.keys()).forEach(give);
    };
    window.requestAnimationFrame = (work) => {
        if (performance.now() - last < QUIET) return frame(work);
        count -= 1; // the browser's own numbers are positive
        held.set(count, { work, timer: setTimeout(give, LONGEST, count) });
        return count;
    };
    window.cancelAnimationFrame = (number) => {
        clearTimeout(held.get(number)?.timer);
        if (!held.delete(number)) cancel(number);
    };
    for (const name of ["pointermove", "pointerdown", "keydown", "wheel", "input", "focusin", "resize"]) {
        window.addEventListener(name, stir, { capture: true, passive: true });
    }
    new MutationObserver(stir).observe(document, { childList: true, subtree: true, attributes: true });
})();
