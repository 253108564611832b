// The gallery of the Dataset tab. What is clicked or gone to by keys is shown at once, with its caption, from what the page
// has; the program follows by the verbs of #lw_ds_do: select:KEY|DIGEST (KEY alone where the page does not have the
// caption), mark:KEY, markto:KEY (from the current picture on), markall:shown, sort:ORDER. Until it has, what it draws of an
// earlier picture is corrected. The size of the thumbnails is the page's own. Tools are accordions of which one is open.
(function () {
    "use strict";
    if (window.loraWorkbenchGallery) return;
    window.loraWorkbenchGallery = true;

    const page = () => window.loraWorkbench;
    const find = (selector) => page().root().querySelector(selector);
    const SIZE = "lora-workbench thumbnails", LATER = 120; // ms that arrow keys wait for the next
    const FOLLOWS = 5000; // ms in which the program follows
    const thumbs = () => Array.from(page().root().querySelectorAll("#lw_ds_pictures .lw-thumb"));
    const keyOf = (thumb) => thumb.dataset.lwDo.replace("select:", "");
    const act = (verb) => page().type("lw_ds_do", `${verb}|${Date.now()}`);
    const known = (thumb) => keyOf(thumb) === find("#lw_ds_current img")?.dataset.lwKey;
    let focused = "", timer = 0;
    let wanted = { key: "", until: 0 }; // the picture that the program is about to show

    // the picture beside the gallery is the one that was chosen, before the program has its larger one
    function show(thumb) {
        thumbs().forEach((one) => one.classList.toggle("lw-chosen", one === thumb));
        const large = find("#lw_ds_current img"), small = thumb.querySelector("img");
        if (!large || !small || known(thumb)) return;
        large.src = small.src;
        large.alt = small.alt;
        large.dataset.lwKey = "";
        const name = find("#lw_ds_current figcaption");
        if (!name || name.textContent === small.alt) return;
        const end = small.alt.lastIndexOf("."), ending = document.createElement("span");
        ending.className = "lw-ending";
        ending.textContent = small.alt.slice(end);
        name.replaceChildren(small.alt.slice(0, end), ending);
    }

    function follow() {
        const thumb = performance.now() < wanted.until && thumbs().find((one) => keyOf(one) === wanted.key);
        if (!thumb) return;
        if (known(thumb) && thumb.matches(".lw-chosen")) wanted.until = 0;
        else show(thumb);
    }

    function go(thumb, soon) {
        wanted = { key: keyOf(thumb), until: performance.now() + FOLLOWS };
        show(thumb);
        page().put?.(thumb);
        clearTimeout(timer);
        const select = () => act(`select:${thumb.dataset.lwBase || keyOf(thumb)}`);
        if (soon) timer = setTimeout(select, LATER);
        else select();
    }

    // to the next picture or the one before; false where it is on another page of the gallery
    function turn(by) {
        const all = thumbs(), place = all.findIndex((one) => one.matches(".lw-chosen"));
        const next = place < 0 ? null : all[place + by];
        if (next) go(next, true);
        return Boolean(next);
    }

    function columns(all) {
        const top = all[0].offsetTop;
        return Math.max(1, all.findIndex((one) => one.offsetTop > top) < 0 ? all.length : all.findIndex((one) => one.offsetTop > top));
    }

    function onKey(event) {
        const target = event.composedPath()[0];
        const thumb = target instanceof Element && target.closest("#lw_ds_pictures .lw-thumb");
        if (!thumb) return;
        const all = thumbs(), place = all.indexOf(thumb);
        const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(all), ArrowDown: columns(all), Home: -place, End: all.length - 1 - place }[event.key];
        if (by !== undefined) {
            const next = all[place + by];
            if (next && event.shiftKey) {
                next.classList.add("lw-ds-marked");
                thumb.classList.add("lw-ds-marked");
                act(`markto:${keyOf(next)}`);
            }
            if (next) {
                next.focus();
                if (!event.shiftKey) go(next, true);
            }
        } else if (event.key === " ") {
            thumb.classList.toggle("lw-ds-marked");
            act(`mark:${keyOf(thumb)}`);
        } else if (event.key === "Enter") {
            go(thumb);
            find("#lw_ds_caption textarea")?.focus();
        } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
            all.forEach((one) => one.classList.add("lw-ds-marked"));
            act("markall:shown");
        } else if (event.key === "z") {
            enlarge(thumb);
        } else return;
        event.preventDefault();
        event.stopPropagation();
    }

    // a thumbnail in the loupe; the program's larger picture takes its place when it is there
    function enlarge(thumb) {
        const image = thumb.querySelector("img");
        if (image) page().zoom(image);
    }

    document.addEventListener("lw-zoomed", (event) => {
        const thumb = event.detail.image.closest("#lw_ds_pictures .lw-thumb");
        if (!thumb) return;
        go(thumb, true);
        let left = 40;
        const swap = () => {
            const large = find("#lw_ds_current img");
            if (large?.dataset.lwKey === keyOf(thumb)) event.detail.show(large.src);
            else if (left--) setTimeout(swap, 100);
        };
        swap();
    });

    function onClick(event) {
        const target = event.composedPath()[0];
        if (!(target instanceof Element)) return;
        const thumb = target.closest("#lw_ds_pictures .lw-thumb");
        if (thumb && event.shiftKey) markTo(thumb);
        else if (thumb && (event.ctrlKey || event.metaKey)) thumb.classList.toggle("lw-ds-marked");
        else if (thumb) go(thumb);
        const link = target.closest("[data-lw-do^='mark:'], [data-lw-do^='markall:']");
        if (link) markBy(link);
        const bar = target.closest("#lw_ds_tools > * > .label-wrap, #lw_ds_tools .lw-ds-tool > .label-wrap");
        if (bar && event.isTrusted) closeOthers(bar);
        const to = target.closest("[data-lw-tool]");
        if (to) openTool(to.dataset.lwTool);
    }

    // what the program is about to mark
    function markTo(thumb) {
        const all = thumbs(), from = Math.max(0, all.findIndex((one) => one.matches(".lw-chosen"))), to = all.indexOf(thumb);
        all.slice(Math.min(from, to), Math.max(from, to) + 1).forEach((one) => one.classList.add("lw-ds-marked"));
    }
    function markBy(link) {
        const [verb, which] = link.dataset.lwDo.split(":");
        if (verb === "markall") return thumbs().forEach((one) => one.classList.toggle("lw-ds-marked", which === "shown"));
        thumbs().find((one) => keyOf(one).startsWith(which))?.classList.toggle("lw-ds-marked");
    }

    const bars = () => Array.from(page().root().querySelectorAll("#lw_ds_tools .lw-ds-tool > .label-wrap"));
    const isOpen = (bar) => bar.classList.contains("open");
    function closeOthers(bar) {
        bars().filter((one) => one !== bar && isOpen(one)).forEach((one) => one.click());
    }
    function openTool(key) {
        const bar = find(`#lw_ds_tool_${key} > .label-wrap`);
        if (!bar) return;
        closeOthers(bar);
        if (!isOpen(bar)) bar.click();
        bar.scrollIntoView({ block: "nearest", behavior: "smooth" });
    }

    // size and order
    function resize(value) {
        document.documentElement.style.setProperty("--lw-thumb", `${value}px`); // gradio rewrites its parts' own style
        try { localStorage.setItem(SIZE, value); } catch { /* blocked */ }
    }
    const size = () => { try { return localStorage.getItem(SIZE); } catch { return null; } };
    document.addEventListener("input", (event) => {
        const target = event.composedPath()[0];
        if (target instanceof Element && target.matches(".lw-ds-size")) resize(target.value);
    });
    document.addEventListener("change", (event) => {
        const target = event.composedPath()[0];
        if (target instanceof Element && target.matches(".lw-ds-sort")) act(`sort:${target.value}`);
    });

    // the gallery is drawn anew by the program: the focus stays where it was, and the slider says how large they are
    function drawn(place) {
        follow();
        const slider = place.querySelector(".lw-ds-size");
        if (slider && size()) slider.value = size();
        const thumb = focused && thumbs().find((one) => keyOf(one) === focused);
        if (thumb && (document.activeElement === document.body || !document.activeElement)) thumb.focus({ preventScroll: true });
    }
    function watch() {
        const places = ["#lw_ds_pictures", "#lw_ds_current"].map((id) => page()?.root?.().querySelector(id));
        if (!places.every(Boolean)) return setTimeout(watch, 500);
        page().turn = turn;
        if (size()) resize(size());
        const watcher = new MutationObserver(() => drawn(places[0]));
        places.forEach((place) => watcher.observe(place, { childList: true, subtree: true }));
    }

    const BAR = 64; // px at the top of the window that the line of jobs takes

    // a plan comes into view when a button of a tool has made it, at once or by a job: the tools are longer than the window.
    // One that took its time moves the page only where it must: whoever pressed the button may be writing captions by now
    function showPlan(before, left = 20, asked = performance.now()) {
        const plan = find("#lw_ds_dry_run"), tools = find("#lw_ds_tools"), working = find("#lw_ds_progress progress");
        if (plan && plan !== before) {
            if (performance.now() - asked < 5000) return plan.scrollIntoView({ behavior: "smooth", block: "center" });
            const top = (element) => element.getBoundingClientRect().top;
            tools.scrollTop += top(plan) - top(tools) - 8;
            if (top(plan) < BAR || top(plan) > innerHeight - BAR) scrollBy({ behavior: "smooth", top: top(plan) - BAR });
        } else if (left) setTimeout(showPlan, 250, before, working ? 20 : left - 1, asked);
    }

    document.addEventListener("click", (event) => {
        const target = event.composedPath()[0];
        if (!event.isTrusted || !(target instanceof Element) || !target.closest("#lw_ds_tools .lw-ds-tool button.lw-once")) return;
        showPlan(find("#lw_ds_dry_run"));
    });

    document.addEventListener("focusin", (event) => {
        const target = event.composedPath()[0];
        const thumb = target instanceof Element && target.closest("#lw_ds_pictures .lw-thumb");
        focused = thumb ? keyOf(thumb) : "";
    });
    document.addEventListener("dblclick", (event) => {
        const target = event.composedPath()[0];
        const thumb = target instanceof Element && target.closest("#lw_ds_pictures .lw-thumb");
        if (thumb) enlarge(thumb);
    });
    document.addEventListener("keydown", onKey, true);
    document.addEventListener("click", onClick);
    watch();
})();
