// Events in gradio 3 and 4 (A1111, Forge, Neo). There each event makes gradio draw every component of the page anew, two
// to four times, those of the web UI too: 3,400 in Forge, 120 ms each time. So what happens in our part of the page is
// kept from it: the handler is asked as in gradio 6 (_ask.js), its answer is given to the components that it is for, and
// the events after it (`.then`) follow, all by gradio's own description of the page, window.gradio_config. Gradio's
// components are those of the description, so it finds them up to date whenever it draws.
//
// The states of a page are kept under gradio's session, which is read from the first thing that it asks for. Until then,
// and where the description is not what is expected here, nothing is done and all is gradio's.
(function () {
    "use strict";
    if (window.loraWorkbenchDirect) return;
    window.loraWorkbenchDirect = true;

    const ROUTE = "run/predict", OWN = "lw_page";
    const TOLD = ["share", "error", "warning", "clear_status"]; // events that are for gradio itself
    let session = "", page = null; // {parts, parents, own, listening, following}, as soon as all is there

    const fetched = window.fetch;
    window.fetch = function (address, options) {
        if (!session && String(options?.body).includes("session_hash")) session = JSON.parse(options.body).session_hash;
        return fetched.apply(this, arguments);
    };

    const usable = (part) => Boolean(part?.props && part.instance?.$$?.ctx && part.instance.$set); // Svelte's, until 4
    const enter = (map, key, entry) => map.set(key, (map.get(key) || []).concat(entry));

    function known() {
        const config = window.gradio_config;
        if (page || !session || !config?.components || config.api_prefix) return page; // gradio 5 on has a prefix
        const frame = config.components.find((part) => part.props?.elem_id === OWN);
        if (!usable(frame)) return null;
        const parts = new Map(config.components.map((part) => [part.id, part])), parents = new Map();
        config.components.forEach((part) => (part.children || []).forEach((child) => parents.set(child.id, part)));
        const own = new Set(), listening = new Map(), following = new Map();
        const add = (part) => { own.add(part.id); (part.children || []).forEach(add); };
        (parents.get(frame.id)?.children || [frame]).forEach(add); // beside it stand the hidden buttons of ui/poll.py
        config.dependencies.forEach((dependency, place) => {
            const number = dependency.id ?? place, entry = { ...dependency, number };
            Object.defineProperty(entry, "script", { get: () => dependency.frontend_fn });
            dependency.targets.map((target) => [].concat(target)).forEach(([id, event = dependency.trigger]) => {
                if (own.has(id)) enter(listening, `${id} ${event}`, entry);
            });
            if (Number.isInteger(dependency.trigger_after)) enter(following, dependency.trigger_after, entry);
        });
        page = { parts, parents, own, listening, following };
        return page;
    }

    // ---- what gradio would do for an event ----
    const after = (entry) => page.following.get(entry.number) || [];
    const outputs = (entry) => entry.outputs.map((id) => page.parts.get(id));
    const direct = (entry) => entry.queue === false && outputs(entry).every(usable) && after(entry).every(direct);
    const value = (part) => (part?.instance?.get_value ? part.instance.get_value() : part?.props.value);
    const values = (ids) => Promise.all(ids.map((id) => value(page.parts.get(id))));

    async function happen(entry, event, data) {
        await null; // what is typed in the same moment belongs to it
        const given = await values(entry.inputs);
        const prepare = entry.script && (async () => entry.script(given.concat(await values(entry.outputs))));
        if (!entry.backend_fn) return give(entry, await prepare?.());
        const door = { route: ROUTE, session, about: entry.collects_event_data ? data : null };
        give(entry, await window.loraWorkbench.ask(entry.number, event === "change", prepare, given, door));
        after(entry).forEach((next) => happen(next, "then"));
    }

    function give(entry, answer) {
        outputs(entry).forEach((part, place) => {
            const found = answer?.[place];
            if (found === undefined) return;
            const { __type__, ...props } = found?.__type__ === "update" ? found : { value: found };
            if (!Object.keys(props).length) return;
            Object.assign(part.props, props);
            part.instance.$set({ ...props, value_is_output: true });
            const around = page.parents.get(part.id);
            if ("visible" in props && around?.type === "form") showForm(around);
        });
    }

    // a frame around fields is in view where one of them is
    function showForm(form) {
        form.props.visible = form.children.some((part) => part.props.visible);
        form.instance.$set({ visible: form.props.visible });
    }

    // ---- before gradio hears of them ----
    window.addEventListener("gradio", (event) => {
        const { id, event: name, data } = event.detail || {};
        if (!known()?.own.has(id) || TOLD.includes(name)) return;
        const heard = page.listening.get(`${id} ${name}`) || [];
        if (!heard.every(direct)) return;
        event.stopImmediatePropagation();
        heard.forEach((entry) => happen(entry, name, data));
    }, true);
    window.addEventListener("prop_change", (event) => { // gradio 4
        const { id, prop, value } = event.detail || {};
        if (!known()?.own.has(id)) return;
        event.stopImmediatePropagation();
        page.parts.get(id).props[prop] = value;
    }, true);
})();
