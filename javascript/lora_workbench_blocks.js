// The block sliders of LoRA Workbench: a view of the text below them, which is what counts.
// The text is numbers, one a slider, then entries such as IN04.attn=0.5 for kinds of layers.
(function () {
    "use strict";
    if (window.loraWorkbenchBlocks) return;
    window.loraWorkbenchBlocks = true;

    const page = () => window.loraWorkbench; // {root, type} of lora_workbench.js, which may be loaded later
    const find = (selector) => page().root().querySelector(selector);
    const SLIDERS = "#lw_blocks_sliders input[type=range]";
    const sliders = () => Array.from(page().root().querySelectorAll(SLIDERS));
    const field = () => find("#lw_blocks_vector textarea, #lw_blocks_vector input");
    const chosen = (name) => find(`input[name=lw_blocks_${name}]:checked`)?.value || "";
    const shown = (value) => String(Math.round(value * 1000) / 1000);
    const blockOf = (slider) => slider.dataset.lwBlock;

    let seen = null; // what the sliders show: text and scope
    let soloed = null; // {block, before, text}
    const muted = new Map(); // block -> its weight before it was muted

    // {numbers, kinds}, or null while the text is something else, such as a preset's name
    function parse(text) {
        const numbers = [], kinds = new Map();
        for (const part of text.split(",").map((p) => p.trim())) {
            const [name, value] = part.split("=");
            if (value === undefined) numbers.push(name === "" ? NaN : Number(name));
            else if (/^\w+\.\w+$/.test(name)) kinds.set(name, Number(value));
            else return null;
        }
        const all = [...numbers, ...kinds.values()];
        return numbers.length === sliders().length && !all.some(Number.isNaN) ? { numbers, kinds } : null;
    }

    function format({ numbers, kinds }) {
        return [...numbers.map(shown), ...Array.from(kinds, ([name, value]) => `${name}=${shown(value)}`)].join(",");
    }

    // the weight of one kind of layers in a block, as its slider shows it; without a kind, that of the whole block
    function weightOf(weights, index, block, kind) {
        const names = kind === "attn" ? ["attn", "attn1", "attn2"] : [kind];
        const name = kind && names.map((n) => `${block}.${n}`).find((n) => weights.kinds.has(n));
        return name ? weights.kinds.get(name) : weights.numbers[index];
    }

    function textToSliders() {
        const all = sliders();
        if (!all.length || !field()) return;
        const state = field().value + "|" + chosen("scope");
        if (state === seen && all[0].dataset.lwReady) return;
        const weights = parse(field().value);
        if (!weights) return;
        seen = state;
        if (soloed && soloed.text !== field().value) soloed = null;
        all.forEach((slider, i) => {
            const value = weightOf(weights, i, blockOf(slider), chosen("scope"));
            slider.dataset.lwReady = "1";
            slider.max = Math.max(1.5, value);
            slider.min = Math.min(-0.5, value);
            slider.value = slider.dataset.lwBefore = value;
            const mixed = Array.from(weights.kinds.keys()).some((name) => name.startsWith(blockOf(slider) + "."));
            slider.parentElement.classList.toggle("lw-mixed", mixed);
        });
        label();
    }

    function label() {
        sliders().forEach((slider) => {
            const column = slider.parentElement, off = Number(slider.value) === 0;
            column.querySelector("output").textContent = Number(slider.value).toFixed(2);
            column.classList.toggle("lw-off", off);
            column.querySelector("[data-lw-mute]").setAttribute("aria-pressed", off);
            column.querySelector("[data-lw-solo]").setAttribute("aria-pressed", soloed?.block === blockOf(slider));
        });
    }

    // what the sliders say becomes the text, and one step of the history
    function slidersToText() {
        const weights = parse(field().value) || { numbers: sliders().map(() => 1), kinds: new Map() };
        const kind = chosen("scope");
        sliders().forEach((slider, i) => {
            const value = Number(slider.value), block = blockOf(slider);
            if (!kind) {
                weights.numbers[i] = value;
            } else if (value !== weightOf(weights, i, block, kind)) {
                if (kind === "attn") ["attn1", "attn2"].forEach((k) => weights.kinds.delete(`${block}.${k}`));
                weights.kinds.set(`${block}.${kind}`, value);
            }
        });
        setText(format(weights));
    }

    function setText(text) {
        page().type("lw_blocks_vector", text);
        page().type("lw_blocks_edit", text + "|" + Date.now());
        textToSliders();
    }

    function setGroup(name, value) {
        sliders().filter((s) => blockOf(s).startsWith(name)).forEach((s) => { s.value = value; });
        slidersToText();
    }

    // linked sliders move by as much as the one that is held
    function moveLinked(held) {
        const link = chosen("link"), by = Number(held.value) - Number(held.dataset.lwBefore);
        const group = (slider) => blockOf(slider).replace(/\d+$/, "");
        held.dataset.lwBefore = held.value;
        sliders().filter((s) => s !== held && (link === "all" || (link === "group" && group(s) === group(held))))
            .forEach((s) => { s.value = s.dataset.lwBefore = Number(s.value) + by; });
        label();
    }

    function mute(block) {
        const slider = sliders().find((s) => blockOf(s) === block);
        if (Number(slider.value) !== 0) {
            muted.set(block, slider.value);
            slider.value = 0;
        } else {
            slider.value = muted.get(block) ?? 1;
        }
        slidersToText();
    }

    // only one block; the same button again brings the others back
    function solo(block) {
        const before = soloed ? soloed.before : field().value;
        if (soloed?.block === block) {
            soloed = null;
            setText(before);
            return;
        }
        const weights = parse(before);
        if (!weights) return;
        weights.numbers = sliders().map((s, i) => (blockOf(s) === block ? weights.numbers[i] || 1 : 0));
        weights.kinds = new Map(Array.from(weights.kinds).filter(([name]) => name.startsWith(block + ".")));
        soloed = { block, before, text: format(weights) };
        setText(soloed.text);
    }

    function onClick(event) {
        const target = event.composedPath()[0];
        if (!(target instanceof HTMLElement)) return;
        const { lwGroup, lwValue, lwSolo, lwMute } = target.dataset;
        if (lwGroup) setGroup(lwGroup, Number(lwValue));
        if (lwSolo) solo(lwSolo);
        if (lwMute) mute(lwMute);
    }

    function onSlider(act) {
        return (event) => {
            const target = event.composedPath()[0];
            if (target instanceof Element && target.matches(SLIDERS)) act(target);
        };
    }

    // the other picture, while a button or the key B is held
    const stage = () => find("#lw_blocks_result .lw-stage");
    const hold = (on) => stage()?.classList.toggle("lw-holding", on);

    function onKey(event) {
        const target = event.composedPath()[0];
        const typing = target instanceof Element && target.matches("textarea, input:not([type=range]), [contenteditable]");
        if (event.key.toLowerCase() !== "b" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
        if (stage()?.getClientRects().length) hold(event.type === "keydown");
    }

    document.addEventListener("pointerdown", (event) => {
        const target = event.composedPath()[0];
        if (target instanceof Element && target.matches("[data-lw-hold]")) hold(true);
    });
    ["pointerup", "pointercancel", "blur"].forEach((name) => window.addEventListener(name, () => hold(false)));
    ["keydown", "keyup"].forEach((name) => document.addEventListener(name, onKey));
    document.addEventListener("click", onClick);
    document.addEventListener("input", onSlider(moveLinked));
    document.addEventListener("change", onSlider(slidersToText));
    let clock = 0;
    function wind() { // for the tab in view, of a page that somebody sees
        clearInterval(clock);
        const follow = () => { if (page()?.root && find("#lw_blocks_sliders")?.offsetParent) textToSliders(); };
        if (!document.hidden) clock = setInterval(follow, 250);
    }
    document.addEventListener("visibilitychange", wind);
    wind();
})();
