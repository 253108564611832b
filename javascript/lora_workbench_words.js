// The page in another language. Its words are localizations/LANGUAGE.json, English text -> translation; "{}" in both is
// a hole for what differs: a number, a name. A web UI whose localization is set gives them to us in window.localization
// and puts whole texts in place by itself; standalone, the file is asked for where the browser, or a button with
// data-lw-language, wants that language. What the user wrote (translate="no", fields, code) stays as it is.
(function () {
    "use strict";
    if (window.loraWorkbench?.shown) return;

    const LANGUAGES = { zh: "zh_CN" }; // of a browser -> file
    const MARK = "LoRA Workbench: language"; // a key of each of our files, so that another's localization is told apart
    const KEPT = "lora_workbench_language";
    const ATTRIBUTES = ["placeholder", "title", "aria-label", "alt"];
    const ALONE = "textarea, input, code, pre, script, style, [translate=no], .notranslate, .lw-tag, .lw-ds-text";
    const LONGEST = 600; // letters of a text; what is longer is the user's
    const whole = new Map(), known = new Map();
    let holed = [];

    function take(words) {
        for (const [english, other] of Object.entries(words)) {
            if (typeof other !== "string") continue;
            if (english.includes("{}")) holed.push({ pattern: pattern(english), parts: other.split("{}"), english });
            else whole.set(english, other);
        }
        // the one that leaves least open comes first
        holed.sort((a, b) => b.english.length - a.english.length);
    }

    function pattern(english) {
        const parts = english.split("{}").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
        return new RegExp("^" + parts.join("(.*?)") + "$", "s");
    }

    function translated(text) {
        const key = text.trim().replace(/\s+/g, " ");
        if (key.length > LONGEST || !/[A-Za-z]/.test(key)) return null;
        if (!known.has(key)) known.set(key, whole.get(key) ?? filled(key));
        const found = known.get(key);
        return found === null ? null : text.replace(text.trim(), () => found);
    }

    function filled(key) {
        for (const { pattern, parts } of holed) {
            const match = key.match(pattern);
            if (!match) continue;
            return parts.reduce((text, part, n) => text + (whole.get(match[n]) ?? match[n]) + part);
        }
        return null;
    }

    function translateText(node) {
        if (!node.parentElement || node.parentElement.closest(ALONE)) return;
        const other = translated(node.data);
        if (other !== null && other !== node.data) node.data = other;
    }

    function translateAttributes(element) {
        if (element.closest("[translate=no]")) return;
        for (const name of ATTRIBUTES) {
            const text = element.getAttribute(name);
            const other = text && translated(text);
            if (other && other !== text) element.setAttribute(name, other);
        }
    }

    function translate(top) {
        if (top.nodeType === Node.TEXT_NODE) return translateText(top);
        if (top.nodeType !== Node.ELEMENT_NODE) return;
        translateAttributes(top);
        top.querySelectorAll(ATTRIBUTES.map((name) => `[${name}]`).join(",")).forEach(translateAttributes);
        const texts = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) translateText(texts.currentNode);
    }

    function watch(top) {
        translate(top);
        new MutationObserver((changes) => {
            for (const { type, target, addedNodes } of changes) {
                if (type === "characterData") translateText(target);
                else if (type === "attributes") translateAttributes(target);
                else addedNodes.forEach(translate);
            }
        }).observe(top, {
            childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES,
        });
    }

    // the text that the page shows for an English one, for scripts that look for a tab or a title
    const shown = (english) => whole.get(english) ?? english;
    window.loraWorkbench = Object.assign(window.loraWorkbench || {}, { shown });

    const chosen = () => {
        let kept = null;
        try { kept = localStorage.getItem(KEPT); } catch { /* no storage here */ }
        return kept ?? LANGUAGES[(navigator.language || "").slice(0, 2)] ?? "";
    };

    // of a web UI that is shown in Chinese by a localization without our words
    const hosts = () => (/^zh(?!.*(TW|HK|Hant))/i.test(window.opts?.localization || "") ? "zh_CN" : "");

    async function begin() {
        const place = window.loraWorkbench.root().querySelector("#lw_page") || document.body;
        if (window.localization?.[MARK]) {
            take(window.localization);
            watch(place);
            return;
        }
        const switches = Array.from(document.querySelectorAll("[data-lw-language]"));
        switches.forEach(connect);
        const language = switches.length ? chosen() : hosts();
        if (!language) return;
        const answer = await fetch(`lora_workbench/words/${language}`);
        if (!answer.ok) return;
        take(await answer.json());
        if (switches.length) document.documentElement.lang = language.replace("_", "-");
        watch(switches.length ? document.body : place);
    }

    function connect(button) {
        button.setAttribute("aria-pressed", String(button.dataset.lwLanguage === chosen()));
        button.addEventListener("click", () => {
            try { localStorage.setItem(KEPT, button.dataset.lwLanguage); } catch { return; }
            location.reload();
        });
    }

    // a web UI loads scripts before there is a page
    if (typeof window.onUiLoaded === "function") window.onUiLoaded(begin);
    else begin();
})();
