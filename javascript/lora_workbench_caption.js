// The caption of the Dataset tab. What the gallery knows of a picture is shown at once, before the program has heard of the
// click; what was typed is saved for the picture that it was typed for, whatever is shown by then.
//
// 1. A thumbnail has its caption, and as "KEY|digest" which picture and which text that is (Session.base). put() gives both
//    to #lw_ds_caption and #lw_ds_caption_base together, so that the two fields always speak of the same picture.
// 2. What is typed is a draft until the field is left, or until anybody gives it another text. Then it stands in a line,
//    which goes to the program in #lw_ds_left as JSON {author, number, captions: [{text, base}]}, one message at a
//    time. The author is this window, also after a reload.
// 3. The program answers in #lw_ds_kept, data-lw-kept = JSON {number, bases}: what the base of each picture is from now on.
// 4. A page that is closed leaves the line in the session's storage, and sends it when it is there again.
(function () {
    "use strict";
    if (window.loraWorkbenchCaption) return;
    window.loraWorkbenchCaption = true;

    const STORE = "lora-workbench left", AUTHOR = "lora-workbench author", LONGEST = 10000; // ms that an answer is waited for
    const LATE = 10000; // ms in which gallery and field may still be given what was true before an answer
    const page = () => window.loraWorkbench;
    const find = (selector) => page()?.root?.().querySelector(selector);
    const text = (id) => find(`#${id} textarea, #${id} input`);
    const field = () => text("lw_ds_caption"), base = () => text("lw_ds_caption_base");
    const all = () => Array.from(page().root().querySelectorAll("#lw_ds_pictures [data-lw-base]"));
    const thumbs = (of) => all().filter((thumb) => thumb.dataset.lwBase === of);
    const keyOf = (base) => base.split("|")[0];
    let draft = null; // {field, text, base}
    let line = [], flying = null; // [{text, base}], {number, captions, since}
    let settled = []; // [{old, base, text, since}], what was saved a moment ago
    let putting = false;

    // ---- showing ----
    function put(thumb) {
        if (!field() || thumb.dataset.lwBase === undefined) return;
        leave();
        write(thumb.dataset.lwCaption, thumb.dataset.lwBase);
    }

    function write(text, base) {
        putting = true;
        page().type("lw_ds_caption_base", base);
        page().type("lw_ds_caption", text);
        putting = false;
    }

    // ---- saving ----
    function typed() {
        if (!draft) watch(field());
        draft = { field: field(), text: field().value, base: base().value };
    }

    // another text for the field ends the draft; the one that it has already does not
    function watch(field) {
        const native = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value");
        Object.defineProperty(field, "value", {
            configurable: true,
            get: () => native.get.call(field),
            set: (value) => {
                if (value !== draft?.text) leave();
                native.set.call(field, value);
            },
        });
    }

    function leave() {
        if (!draft) return;
        const { text, base } = draft;
        delete draft.field.value;
        draft = null;
        if (!base) return;
        line = line.filter((one) => one.base !== base).concat({ text, base });
        correct();
        setTimeout(tell);
    }

    // a gallery that was drawn before the program had what was typed; and a caption that was changed by something else
    function correct() {
        settled = settled.filter((one) => performance.now() - one.since < LATE);
        settled.forEach((one) => thumbs(one.old).forEach((thumb) => {
            Object.assign(thumb.dataset, { lwBase: one.base, lwCaption: one.text });
        }));
        const unsaved = joined();
        unsaved.forEach((one) => thumbs(one.base).forEach((thumb) => { thumb.dataset.lwCaption = one.text; }));
        const of = base()?.value, thumb = of && !draft && all().find((one) => keyOf(one.dataset.lwBase) === keyOf(of));
        if (thumb && thumb.dataset.lwBase !== of && unsaved.every((one) => one.base !== of)) put(thumb);
    }

    // all that the program has not confirmed, the last text of each picture
    const joined = () => (flying?.captions || []).filter((old) => line.every((one) => one.base !== old.base)).concat(line);

    function tell() {
        if (!(line.length || flying) || !ready() || (flying && performance.now() - flying.since < LONGEST)) return;
        flying = { number: Date.now(), captions: joined(), since: performance.now() };
        line = [];
        setTimeout(tell, LONGEST + 1); // an answer may be lost, as when the program is restarted
        page().type("lw_ds_left", JSON.stringify({ author, number: flying.number, captions: flying.captions }));
    }

    function heard(answer) {
        if (!answer) return;
        const { number, bases } = JSON.parse(answer);
        if (number !== flying?.number) return;
        const { captions } = flying;
        flying = null;
        captions.filter(({ base }) => bases[base]).forEach(({ text, base: old }) => {
            const now = bases[old];
            if (now !== old) settled.push({ old, base: now, text, since: performance.now() });
            line.concat(draft || []).filter((one) => one.base === old).forEach((one) => { one.base = now; });
            thumbs(old).forEach((thumb) => { thumb.dataset.lwBase = now; });
            if (base()?.value !== old) return;
            if (!draft && line.every((one) => one.base !== now)) write(text, now); // a page that was reloaded has another text
            else page().type("lw_ds_caption_base", now);
        });
        setTimeout(correct, 2000);
        tell();
    }

    // ---- a reload ----
    const stored = (key) => { try { return sessionStorage.getItem(key); } catch { return null; } };
    const store = (key, value) => { try { sessionStorage.setItem(key, value); } catch { /* blocked */ } };
    const author = stored(AUTHOR) || String(Math.random()).slice(2);
    store(AUTHOR, author);
    const ready = () => text("lw_ds_left") && text("lw_poll_key")?.value;
    window.addEventListener("pagehide", () => {
        leave();
        if (joined().length) store(STORE, JSON.stringify(joined()));
    });
    function bringBack() {
        if (!stored(STORE)) return;
        if (!ready()) return setTimeout(bringBack, 250);
        line = JSON.parse(stored(STORE)).concat(line);
        sessionStorage.removeItem(STORE);
        tell();
    }

    // ---- completion, and keys ----
    const wordStart = (field) => field.value.lastIndexOf(",", field.selectionStart - 1) + 1;
    const suggestions = () => Array.from(page().root().querySelectorAll("#lw_ds_suggestions [data-lw-complete]"));

    function complete(tag) {
        const area = field(), from = wordStart(area), comma = area.value.indexOf(",", area.selectionStart);
        const rest = comma < 0 ? "" : area.value.slice(comma);
        const start = area.value.slice(0, from) + (from ? " " : "") + tag + (rest ? "" : ", ");
        page().type("lw_ds_caption", start + rest);
        area.focus();
        area.setSelectionRange(start.length, start.length);
        page().type("lw_ds_word", "|" + Date.now());
    }

    function onKey(event) {
        if (!field() || event.composedPath()[0] !== field()) return;
        const turn = (by, button) => {
            event.preventDefault();
            if (!page().turn(by)) find("#" + button).click(); // not on this page of the gallery: the program knows
        };
        if (event.ctrlKey && event.key === "Enter") turn(1, "lw_ds_save_next");
        else if (event.altKey && event.key === "ArrowRight") turn(1, "lw_ds_next");
        else if (event.altKey && event.key === "ArrowLeft") turn(-1, "lw_ds_back");
        else if (event.key === "Tab" && suggestions().length && !event.shiftKey) {
            event.preventDefault();
            complete(suggestions()[0].dataset.lwComplete);
        }
    }

    document.addEventListener("input", (event) => {
        const area = event.composedPath()[0];
        if (putting || !area || area !== field()) return;
        typed();
        if (event.isTrusted) page().type("lw_ds_word", area.value.slice(wordStart(area), area.selectionStart) + "|" + Date.now());
    }, true);
    document.addEventListener("focusout", (event) => {
        if (draft && event.composedPath()[0] === draft.field) leave();
    }, true);
    document.addEventListener("click", (event) => {
        const target = event.composedPath()[0];
        const word = target instanceof Element && target.closest("[data-lw-complete]");
        if (word) complete(word.dataset.lwComplete);
        if (target instanceof Element && target.closest("#lw_ds_undo")) settled = []; // what was before may be true again
    });
    document.addEventListener("keydown", onKey);

    function start() {
        const inspector = find(".lw-ds-inspector"), pictures = find("#lw_ds_pictures");
        if (!inspector || !pictures) return setTimeout(start, 250);
        const options = { childList: true, subtree: true };
        let last = "";
        new MutationObserver(() => { // gradio may put another element in the place of #lw_ds_kept
            const answer = find("#lw_ds_kept [data-lw-kept]")?.dataset.lwKept || "";
            if (answer !== last) heard(last = answer);
        }).observe(inspector, options);
        new MutationObserver(correct).observe(pictures, options);
        page().put = put;
        bringBack();
    }
    start();
})();
