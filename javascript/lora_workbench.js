// What the page of LoRA Workbench does by itself: ask for news, enlarge pictures, choose grid cells, move block sliders.
(function () {
    "use strict";
    if (window.loraWorkbench) return;
    window.loraWorkbench = true;

    // web UIs with gradio 3 may put everything into a shadow root
    const root = () => {
        const app = document.querySelector("gradio-app");
        return app && app.shadowRoot ? app.shadowRoot : document;
    };
    const byId = (id) => root().querySelector("#" + id);
    const inView = (element) => element && element.getClientRects().length > 0;

    function poll() {
        if (!document.hidden && inView(byId("lw_page"))) {
            const button = byId("lw_poll");
            if (button) (button.querySelector("button") || button).click();
        }
    }

    // give a gradio textbox a value as if it had been typed
    function type(id, value) {
        const field = root().querySelector(`#${id} textarea, #${id} input`);
        if (!field || field.value === value) return;
        const prototype = field.tagName === "TEXTAREA" ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
        Object.getOwnPropertyDescriptor(prototype, "value").set.call(field, value);
        field.dispatchEvent(new Event("input", { bubbles: true }));
    }

    function zoom(image) {
        const dialog = document.createElement("dialog");
        dialog.className = "lw-zoom";
        const large = document.createElement("img");
        large.src = image.src;
        large.alt = image.alt;
        const caption = document.createElement("p");
        caption.textContent = image.alt;
        dialog.append(large, caption);
        dialog.addEventListener("click", () => dialog.close());
        dialog.addEventListener("close", () => dialog.remove());
        document.body.append(dialog);
        dialog.showModal();
    }

    function onClick(event) {
        const target = event.composedPath()[0];
        if (!(target instanceof Element)) return;
        const cell = target.closest("[data-lw-cell]");
        const star = target.closest("[data-lw-star]");
        if (star) type("lw_grid_star", star.dataset.lwStar + "|" + Date.now());
        else if (cell) type("lw_grid_pick", cell.dataset.lwCell + "|" + Date.now());
        else if (target.matches("img[data-lw-zoom]")) zoom(target);
        const group = target.closest("[data-lw-group]");
        if (group) setGroup(group.dataset.lwGroup, Number(group.dataset.lwValue));
    }

    // ---- block sliders: a view of the text field, which is what counts ----
    const sliders = () => Array.from(root().querySelectorAll("#lw_blocks_sliders input[type=range]"));
    const shown = (value) => String(Math.round(value * 1000) / 1000);
    let lastText = null;

    function slidersToText() {
        lastText = sliders().map((s) => shown(s.value)).join(",");
        type("lw_blocks_vector", lastText);
        label();
    }

    function textToSliders() {
        const field = root().querySelector("#lw_blocks_vector textarea, #lw_blocks_vector input");
        const all = sliders();
        if (!field || !all.length) return;
        const values = field.value.split(",").map(Number);
        const fresh = field.value !== lastText || all.some((s) => !s.dataset.lwReady);
        if (!fresh || values.length !== all.length || values.some(Number.isNaN)) return;
        lastText = field.value;
        all.forEach((slider, i) => {
            slider.dataset.lwReady = "1";
            slider.max = Math.max(1.5, values[i]);
            slider.min = Math.min(-0.5, values[i]);
            slider.value = values[i];
        });
        label();
    }

    function label() {
        sliders().forEach((s) => {
            s.parentElement.querySelector("output").textContent = Number(s.value).toFixed(2);
            s.parentElement.classList.toggle("lw-off", Number(s.value) === 0);
        });
    }

    function setGroup(name, value) {
        sliders().filter((s) => s.dataset.lwBlock.startsWith(name)).forEach((s) => { s.value = value; });
        slidersToText();
    }

    function onInput(event) {
        const target = event.composedPath()[0];
        if (!(target instanceof Element)) return;
        if (target.matches("#lw_blocks_sliders input[type=range]")) slidersToText();
        if (target.matches(".lw-compare input[type=range]")) {
            target.parentElement.style.setProperty("--lw-cut", target.value + "%");
        }
    }

    document.addEventListener("click", onClick);
    document.addEventListener("keydown", (event) => {
        const target = event.composedPath()[0];
        if ((event.key === "Enter" || event.key === " ") && target instanceof Element && target.matches("[data-lw-cell]")) {
            event.preventDefault();
            target.click();
        }
    });
    document.addEventListener("input", onInput);
    setInterval(poll, 1000);
    setInterval(textToSliders, 250);
})();
