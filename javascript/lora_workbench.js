// What the page of LoRA Workbench does by itself: ask for news, change tabs, choose grid cells, copy, sort.
(function () {
    "use strict";
    if (window.loraWorkbench?.root) return;

    // web UIs with gradio 3 may put everything into a shadow root
    const root = () => {
        const app = document.querySelector("gradio-app");
        return app && app.shadowRoot ? app.shadowRoot : document;
    };
    const byId = (id) => root().querySelector("#" + id);
    const inView = (element) => element && element.getClientRects().length > 0;

    // Asks once a second, in view, which parts changed (ui/poll.py), and presses the hidden button of each. Where nobody
    // has done anything for a while and there was no news, every other second is left out.
    const QUIET = 15000; // ms
    let asking = false, beat = 0, stirred = 0;

    async function poll() {
        markWebUI();
        const key = pageKey();
        beat += 1;
        if (performance.now() - stirred > QUIET && beat % 2) return;
        if (asking || !key || !inView(byId("lw_page"))) return;
        asking = true;
        try {
            const answer = await fetch("lora_workbench/news/" + key, { cache: "no-store" });
            silent(false);
            if (answer.status === 404) press("lw_poll"); // the program was restarted: show everything anew
            else if (answer.ok) refresh(await answer.json());
        } catch { // the program is away for a while
            silent(true);
        } finally {
            asking = false;
        }
    }

    // not below the pointer: an entry that is new on top of an open list would push another one under the click
    function refresh(numbers) {
        if (numbers.length) stirred = performance.now();
        if (root().querySelector(".options:hover")) return;
        numbers.forEach((number) => press("lw_poll_" + number));
    }

    const press = (id) => {
        const button = byId(id);
        if (button) (button.querySelector("button") || button).click();
    };

    // give a gradio textbox a value as if it had been typed
    function type(id, value) {
        const field = root().querySelector(`#${id} textarea, #${id} input`);
        if (!field || field.value === value) return;
        const prototype = field.tagName === "TEXTAREA" ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
        Object.getOwnPropertyDescriptor(prototype, "value").set.call(field, value);
        field.dispatchEvent(new Event("input", { bubbles: true }));
    }

    // #lw_away says so until the program answers again
    const silent = (yes) => document.documentElement.classList.toggle("lw-silent", yes);

    // act(), as soon as there() is true: gradio 6 builds a tab when it is opened. A page that nobody sees does not look.
    function once(there, act) {
        const again = () => once(there, act);
        if (there()) act();
        else if (document.hidden) document.addEventListener("visibilitychange", again, { once: true });
        else setTimeout(again, 500);
    }

    window.loraWorkbench = Object.assign(window.loraWorkbench || {}, { root, once, silent, type });

    // put a button's prompt into the web UI's txt2img, behind what a field of ours says, and go there
    function sendToTxt2img({ lwSend, lwBehind }) {
        const field = lwBehind && root().querySelector(`#${lwBehind} textarea, #${lwBehind} input`);
        type("txt2img_prompt", [field ? field.value.trim() : "", lwSend].filter(Boolean).join(" "));
        if (typeof window.switch_to_txt2img === "function") window.switch_to_txt2img();
    }

    function markWebUI() {
        document.documentElement.classList.toggle("lw-in-web-ui", Boolean(byId("txt2img_prompt")));
    }

    document.addEventListener("dblclick", (event) => {
        const target = event.composedPath()[0];
        const image = target instanceof Element && target.closest("[data-lw-cell]")?.querySelector("img");
        if (image) window.loraWorkbench.zoom(image);
    });

    function onClick(event) {
        const target = event.composedPath()[0];
        if (!(target instanceof Element)) return;
        const cell = target.closest("[data-lw-cell]");
        const star = target.closest("[data-lw-star]");
        if (star) type("lw_grid_star", star.dataset.lwStar + "|" + Date.now());
        else if (cell && event.detail < 2) type("lw_grid_pick", cell.dataset.lwCell + "|" + Date.now());
        else if (target.matches("img[data-lw-zoom]")) window.loraWorkbench.zoom(target);
        const action = target.closest("[data-lw-do]");
        if (action) datasetAction(action.dataset.lwDo, event);
        if (target.matches("[data-lw-copy]")) copy(target);
        if (target.matches("[data-lw-report]")) copyReport(target.parentElement.querySelector("details"));
        if (target.matches("[data-lw-order]")) sortBy(target);
        const pick = target.closest("[data-lw-pick]");
        if (pick) {
            type(pick.dataset.lwInto, pick.dataset.lwPick + "|" + Date.now());
            remember(pick.dataset.lwInto, pick.dataset.lwPick);
        }
        const way = target.closest("[data-lw-tab]");
        if (way && !carries(way.dataset.lwTab)) {
            openTab(way.dataset.lwTab);
            if (way.dataset.lwLora) begin(way.dataset.lwLora);
        }
        const send = target.closest("[data-lw-send]");
        if (send) sendToTxt2img(send.dataset);
    }

    // ---- what a reload brings back: the run that was open, and the tab ----
    const REMEMBERED = ["lw_runs_pick"];
    const store = (key, value) => { try { sessionStorage.setItem("lora-workbench " + key, value); } catch { /* blocked */ } };
    const stored = (key) => { try { return sessionStorage.getItem("lora-workbench " + key); } catch { return null; } };

    function remember(id, value) {
        if (REMEMBERED.includes(id)) store(id, value);
    }

    // ours, not those inside a tab
    const tabs = () => Array.from(root().querySelectorAll("#lw_tabs button[role=tab], #lw_tabs > .tab-nav button"))
        .filter((button) => button.closest(".tabs") === byId("lw_tabs"));

    // gradio 6 puts tabs that find no room into a menu
    function openTab(name) {
        const named = (button) => [name, window.loraWorkbench.shown(name)].includes(button.textContent.trim());
        const hidden = root().querySelectorAll("#lw_tabs .overflow-menu button");
        const button = tabs().find(named) || Array.from(hidden).find(named);
        if (button) button.click();
    }

    // the step to Publish takes along what was chosen in the grid, where no LoRA was chosen there yet
    function carries(tab) {
        const link = byId("lw_grid_publish"), field = root().querySelector("#lw_publish_lora input");
        if (tab !== "Publish" || !link || link.closest(".hide, .hidden") || field?.value) return false;
        link.click();
        return true;
    }

    // after a reload there is no grid that could tell what was chosen; as for bringBackField
    function begin(lora, left = 8) {
        const field = root().querySelector("#lw_publish_lora input");
        if (field?.value) return;
        if (field) type("lw_publish_open", lora + "|" + Date.now());
        if (left) setTimeout(begin, 250, lora, field ? left - 1 : left);
    }

    function bringBack() {
        if (!tabs().length) return setTimeout(bringBack, 250);
        const tab = tabs().find((button) => button.textContent.trim() === stored("tab"));
        if (tab) tab.click();
        REMEMBERED.filter(stored).forEach((id) => bringBackField(id));
    }

    const pageKey = () => byId("lw_poll_key")?.querySelector("textarea, input")?.value; // there when the page was filled

    // gradio 6 builds what is in a tab when the tab is opened, and may give it its empty values after that
    function bringBackField(id, left = 8) {
        const field = pageKey() && root().querySelector(`#${id} textarea, #${id} input`);
        if (field && field.value.startsWith(stored(id))) return;
        if (field) type(id, stored(id) + "|" + Date.now());
        if (left) setTimeout(bringBackField, 250, id, field ? left - 1 : left);
    }

    async function copy(element) {
        try {
            await navigator.clipboard.writeText(element.textContent);
        } catch (error) { // not a secure context: leave it selected, for Ctrl+C
            window.getSelection().selectAllChildren(element);
            return;
        }
        element.classList.add("lw-copied");
        setTimeout(() => element.classList.remove("lw-copied"), 1200);
    }

    function copyReport(details) {
        details.open = true; // what is copied is seen, and can be selected where the page may not copy
        copy(details.querySelector("pre"));
    }

    function sortBy(button) {
        const body = button.closest("table").tBodies[0], column = button.closest("th").cellIndex;
        const down = button.dataset.lwDown !== "1";
        button.dataset.lwDown = down ? "1" : "";
        const key = (row) => row.cells[column].dataset.lwSort || row.cells[column].textContent;
        const rows = Array.from(body.rows).sort((a, b) => key(a).localeCompare(key(b), "en", { numeric: true }));
        body.append(...(down ? rows.reverse() : rows));
    }

    // ---- dataset: clicks, and areas drawn on a picture ----
    function datasetAction(action, event) {
        const select = action.startsWith("select:"), marks = event.shiftKey || event.ctrlKey || event.metaKey;
        if (select && !marks && event.composedPath().some((node) => node.id === "lw_ds_pictures")) return; // _gallery.js does
        const verb = event.shiftKey ? "markto:" : marks ? "mark:" : "select:";
        type("lw_ds_do", (select ? action.replace("select:", verb) : action) + "|" + Date.now());
    }

    let shapes = [];
    let drawing = null;

    function point(event, canvas) {
        const box = canvas.getBoundingClientRect();
        return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    }

    function drawStart(event, canvas) {
        event.preventDefault();
        const at = point(event, canvas);
        const brush = root().querySelector("#lw_ds_brush input");
        const box = root().querySelector("#lw_ds_tool input").value !== "brush";
        drawing = box ? { box: [...at, ...at] } : { radius: Number(brush.value) / 100, points: [at] };
        if (box) shapes = shapes.filter((shape) => !shape.box);
        shapes.push(drawing);
        paint(canvas);
    }

    function drawMove(event) {
        const canvas = root().querySelector("#lw_ds_canvas canvas");
        if (!drawing || !canvas) return;
        const at = point(event, canvas);
        if (drawing.box) drawing.box = [...drawing.box.slice(0, 2), ...at];
        else drawing.points.push(at);
        paint(canvas);
    }

    function drawEnd() {
        if (drawing) type("lw_ds_area", JSON.stringify(shapes));
        drawing = null;
    }

    function paint(canvas) {
        const width = canvas.width = canvas.clientWidth;
        const height = canvas.height = canvas.clientHeight;
        const pen = canvas.getContext("2d");
        pen.fillStyle = pen.strokeStyle = "#e3342f";
        pen.lineCap = pen.lineJoin = "round";
        shapes.forEach((shape) => {
            if (shape.box) {
                const [left, top, right, bottom] = shape.box;
                pen.fillRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
                return;
            }
            pen.lineWidth = 2 * shape.radius * width;
            pen.beginPath();
            shape.points.forEach(([x, y]) => pen.lineTo(x * width, y * height));
            pen.lineTo(shape.points[0][0] * width + 0.1, shape.points[0][1] * height);
            pen.stroke();
        });
    }

    function clearArea() {
        shapes = [];
        type("lw_ds_area", "");
        const canvas = root().querySelector("#lw_ds_canvas canvas");
        if (canvas) paint(canvas);
    }

    document.addEventListener("pointerdown", (event) => {
        const target = event.composedPath()[0];
        if (target instanceof Element && target.matches("#lw_ds_canvas canvas")) drawStart(event, target);
    });
    document.addEventListener("pointermove", drawMove);
    document.addEventListener("pointerup", drawEnd);
    document.addEventListener("click", (event) => {
        if (event.composedPath().includes(byId("lw_ds_area_clear"))) clearArea();
        if (event.composedPath().some((node) => node.dataset && (node.dataset.lwDo || "").startsWith("select:"))) clearArea();
    });

    document.addEventListener("click", onClick);
    window.addEventListener("pagehide", () => { // links between tabs change the tab too
        const open = tabs().find((button) => button.matches(".selected, [aria-selected=true]"));
        if (open) store("tab", open.textContent.trim());
    });
    bringBack();
    document.addEventListener("keydown", (event) => {
        const target = event.composedPath()[0];
        if ((event.key === "Enter" || event.key === " ") && target instanceof Element && target.matches("[data-lw-cell], [data-lw-copy], [data-lw-zoom]")) {
            event.preventDefault();
            target.click();
        }
    });
    ["pointerdown", "keydown", "visibilitychange"].forEach((name) => {
        document.addEventListener(name, () => { stirred = performance.now(); }, { passive: true });
    });
    let clock = 0;
    function wind() { // a page that nobody sees has no clock
        clearInterval(clock);
        if (!document.hidden) clock = setInterval(poll, 1000);
    }
    document.addEventListener("visibilitychange", wind);
    wind();
})();
