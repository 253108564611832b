// Messages go when their cause is gone. A message that an action left (in an element #lw_…_message, #lw_…_saved …) is
// hidden by the next click on a button of the same tab; an error, and the frame at the field that it is about, also by
// typing in the tab. One about jobs (data-lw-until="idle") goes when the line of jobs (#lw_job) says that nothing runs any
// more. What is said anew is another element, and so in view again; in a column that scrolls by itself it is scrolled to.
(function () {
    "use strict";
    if (window.loraWorkbenchMessages) return;
    window.loraWorkbenchMessages = true;

    const PLACES = ["message", "saved", "written", "question", "queued", "applied"].map((end) => `.lw-html[id^=lw_][id$=_${end}]`).join(",");

    // the tab of an element: an error of another one stays
    const tabOf = (element) => element.closest("[id^=lw_tab_]");

    function hide(tab, selector) {
        tab.querySelectorAll(PLACES).forEach((place) => {
            place.querySelectorAll(selector).forEach((message) => { message.hidden = true; });
        });
        tab.querySelectorAll("[id$=_fault] style").forEach((style) => { style.media = "not all"; });
    }

    function onClick(event) {
        const target = event.composedPath()[0];
        const button = target instanceof Element && event.isTrusted && target.closest("button");
        if (button && tabOf(button) && !button.closest("#lw_runs_confirm")) hide(tabOf(button), ".lw-message");
    }

    function onInput(event) {
        const field = event.composedPath()[0];
        if (field instanceof Element && event.isTrusted && tabOf(field)) hide(tabOf(field), ".lw-error");
    }

    const SCROLLS = ".lw-look, .lw-ds-tools", SOON = 5000; // ms after a click in which its answer is scrolled to
    let column = null, until = 0;
    const watcher = new MutationObserver((changes) => {
        if (performance.now() > until) return watcher.disconnect();
        const added = changes.flatMap((change) => Array.from(change.addedNodes)).filter((node) => node instanceof Element);
        const said = added.map((node) => (node.matches(".lw-message") ? node : node.querySelector(".lw-message")));
        said.find((node) => node?.closest(PLACES) && column.contains(node))?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
    function onPress(event) {
        const target = event.composedPath()[0];
        const button = target instanceof Element && event.isTrusted && target.closest("button");
        if (!button || !button.closest(SCROLLS)) return;
        [column, until] = [button.closest(SCROLLS), performance.now() + SOON];
        watcher.disconnect();
        watcher.observe(column, { childList: true, subtree: true });
    }

    // gradio puts its elements there late and anew, so the line is asked for where a message waits for it
    let busy = false;
    new MutationObserver(() => {
        const line = document.querySelector("#lw_job [data-state]");
        if (!line || (line.dataset.state !== "idle") === busy) return;
        busy = !busy;
        if (!busy) document.querySelectorAll("[data-lw-until=idle]").forEach((message) => { message.hidden = true; });
    }).observe(document, { childList: true, subtree: true });

    document.addEventListener("click", onPress);
    document.addEventListener("click", onClick, true);
    document.addEventListener("input", onInput, true);
})();
