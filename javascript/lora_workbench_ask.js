// Events in gradio 6 (ui/compat.py). Before and after each event of its own, gradio 6 tells every component that has been
// an input or output of any event so far how that one is getting on, and looks for each through the whole page: a second
// a click on a page of this size. So an event is one of the page alone, whose script asks the program and gives gradio
// the answer, and nothing is told.
//
// ask(number, last, prepare, values) posts the inputs to the handler `number` as gradio's client would, and returns the
// outputs. While a handler is at work, another event for it is dropped, or where `last` is true, the newest one waits.
// Both are gradio's own rules. A dropped event has no answer, and so no events after it.
(function () {
    "use strict";
    if (window.loraWorkbench?.ask) return;

    // gradio keeps the states of a page under its session; `about` is what an event says of itself
    const DOOR = { route: "gradio_api/run/predict", session: Math.random().toString(36).slice(2), about: null };
    const working = new Map(); // number -> the event that waits, or null
    const failing = new Set(); // numbers of handlers whose last answer was an error; #lw_failed says that there are some

    let asked = false;

    const idle = () => asked && !working.size; // not known where gradio asks by itself

    function ask(number, last, prepare, values, door = DOOR) {
        if (working.has(number)) {
            return new Promise((resolve, reject) => {
                if (last) working.set(number, { prepare, values, door, resolve, reject });
            });
        }
        asked = true;
        working.set(number, null);
        return answer(number, prepare, values, door).finally(() => {
            const next = working.get(number);
            working.delete(number);
            if (next) ask(number, last, next.prepare, next.values, next.door).then(next.resolve, next.reject);
        });
    }

    async function answer(number, prepare, values, { route, session, about }) {
        const data = prepare ? await prepare(...values) : values;
        const body = JSON.stringify({ data, fn_index: number, session_hash: session, event_data: about });
        const headers = { "Content-Type": "application/json" };
        const found = await fetch(route, { method: "POST", headers, body }).catch(() => null);
        window.loraWorkbench.silent?.(!found);
        if (found) failing[found.ok ? "delete" : "add"](number);
        document.documentElement.classList.toggle("lw-failing", failing.size > 0);
        if (found?.ok) return (await found.json()).data;
        window.loraWorkbench.release?.(); // the buttons that wait for it
        throw new Error(`No answer of handler ${number}: ${found ? found.status : "no connection"}`);
    }

    window.loraWorkbench = Object.assign(window.loraWorkbench || {}, { ask, idle });
})();
