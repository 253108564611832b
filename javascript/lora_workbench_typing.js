// What is typed is the page's: it is kept at once, and no answer that comes late takes it away.
//
// 1. A user's input in a field of the Train tab goes into the hidden textbox #lw_train_typed as "ID,ID|time", when there
//    was none for a moment or the field is left; its change is an event (ui/form.py). gradio's own input events drop what
//    is typed while one of them is on its way.
// 2. fill(kept, now): `kept` is JSON, element id -> value, in the order of `now`, the values that the fields have; the
//    answer is what they shall have: those kept, but for fields that were typed into since the page was opened.
// 3. While a text field has the focus, a value that gradio sets over what was typed is put back, and told to gradio as if
//    it had been typed once more. Enter and leaving the field end that: then an answer may tidy up what was typed.
(function () {
    "use strict";
    if (window.loraWorkbenchTyping) return;
    window.loraWorkbenchTyping = true;

    const FORM = "#lw_tab_train", TYPED = "lw_train_typed";
    const FOLLOWS = "#lw_ds_caption"; // shows the picture that was gone to, and is saved by what it was given
    const TEXT = "textarea, input[type=text], input:not([type])";
    const PAUSE = 300; // ms
    const MOST = 3; // times that a text is put back, so that two that insist do not go on for ever
    const touched = new Set(); // element ids, since the page was opened
    const waiting = new Set(); // of them, those that the program does not know of yet
    let timer = 0;
    let guarded = null; // {field, text, left}

    function fill(kept, now) {
        if (!kept) return now;
        return Object.entries(JSON.parse(kept)).map(([id, value], number) => (touched.has(id) ? now[number] : value));
    }

    function touch(target) {
        const block = target.closest(`${FORM} [id^=lw_train_]`);
        if (!block || block.id === TYPED) return;
        touched.add(block.id);
        waiting.add(block.id);
        clearTimeout(timer);
        timer = setTimeout(tell, PAUSE);
    }

    function tell() {
        clearTimeout(timer);
        if (waiting.size) window.loraWorkbench.type(TYPED, `${Array.from(waiting)}|${Date.now()}`);
        waiting.clear();
    }

    function guard(field) {
        release();
        const native = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value");
        guarded = { field, text: field.value, left: MOST };
        Object.defineProperty(field, "value", {
            configurable: true,
            get: () => native.get.call(field),
            set: (value) => {
                if (value === guarded?.text || !guarded?.left) {
                    native.set.call(field, value);
                    return;
                }
                guarded.left -= 1;
                queueMicrotask(() => field.dispatchEvent(new Event("input", { bubbles: true })));
            },
        });
    }

    function release() {
        if (guarded) delete guarded.field.value;
        guarded = null;
    }

    function onInput(event) {
        const field = event.composedPath()[0];
        if (!(field instanceof Element) || !field.closest("#lw_page")) return;
        touch(field);
        if (guarded?.field === field) guarded.text = field.value;
        else if (event.isTrusted && field.matches(TEXT) && !field.closest(FOLLOWS)) guard(field);
    }

    function onEnter(event) {
        if (event.key === "Enter" && guarded?.field === event.composedPath()[0]) release();
    }

    // an option of a list is chosen without an input event
    function onOption(event) {
        const option = event.composedPath()[0];
        if (option instanceof Element && option.closest("[role=option], .options .item")) touch(option);
    }

    document.addEventListener("input", onInput, true);
    document.addEventListener("keydown", onEnter, true);
    document.addEventListener("mousedown", onOption, true);
    document.addEventListener("keyup", (event) => {
        const field = event.composedPath()[0];
        if (event.key === "Enter" && field instanceof Element && field.matches("[role=listbox], [aria-controls]")) touch(field);
    }, true);
    document.addEventListener("focusout", () => {
        release();
        if (waiting.size) setTimeout(tell);
    }, true);

    const wait = () => (window.loraWorkbench ? Object.assign(window.loraWorkbench, { fill }) : setTimeout(wait));
    wait();
})();
