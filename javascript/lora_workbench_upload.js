// Pictures, folders and zips that are dropped on the Dataset tab, or chosen by [data-lw-upload="files" or "folder"], become a
// set: POST lora_workbench/upload?name= gives a key, each file is the body of POST lora_workbench/upload/KEY?path=, and the
// key in #lw_ds_dropped opens the set (ui/dataset/uploads.py). On the Publish tab it is LoRA files and their pictures, and
// the key goes to #lw_publish_dropped. A tab without a [data-lw-upload] takes nothing.
(function () {
    "use strict";
    if (window.loraWorkbenchUpload) return;
    window.loraWorkbenchUpload = true;

    const ROUTE = "lora_workbench/upload", AT_ONCE = 3;
    const root = () => window.loraWorkbench.root();
    // where something can be dropped: the field that gets the key, and what the server is told that it is for
    const ZONES = [["#lw_tab_dataset", "lw_ds_dropped", ""], ["#lw_tab_publish", "lw_publish_dropped", "publish"]];
    const zoneOf = (node) => {
        for (const [selector, field, purpose] of ZONES) {
            const zone = root().querySelector(selector);
            if (zone?.contains(node) && zone.querySelector("[data-lw-upload]")) return { zone, field, purpose };
        }
        return null;
    };
    let busy = null; // {cancelled}

    const say = (zone, html, kind = "info") => {
        const place = zone.querySelector(".lw-drop-said");
        if (!place) return;
        place.className = `lw-drop-said lw-message lw-${kind}`;
        place.replaceChildren(...(Array.isArray(html) ? html : [html]));
    };

    // files of a drop, with the folders that they lie in; browsers give a folder's entries a hundred at a time
    async function dropped(items) {
        const entries = Array.from(items).map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
        const found = [];
        const visit = async (entry) => {
            if (entry.isFile) {
                const file = await new Promise((done, failed) => entry.file(done, failed));
                found.push([entry.fullPath.replace(/^\//, ""), file]);
                return;
            }
            const reader = entry.createReader();
            for (;;) {
                const some = await new Promise((done, failed) => reader.readEntries(done, failed));
                if (!some.length) return;
                for (const one of some) await visit(one);
            }
        };
        for (const entry of entries) await visit(entry);
        return found;
    }

    // the name of the set, and the paths within it: one folder of everything is the set, unless its name has repeats
    function named(files) {
        const tops = new Set(files.map(([path]) => (path.includes("/") ? path.split("/")[0] : "")));
        const top = tops.size === 1 ? [...tops][0] : "";
        if (top) {
            const repeats = /^\d+_(.+)$/.exec(top);
            if (repeats) return [repeats[1], files];
            return [top, files.map(([path, file]) => [path.slice(top.length + 1), file])];
        }
        const zip = files.length === 1 && /^(.+)\.zip$/i.exec(files[0][0]);
        const day = new Date().toLocaleDateString("sv");
        return [zip ? zip[1] : `pictures ${day}`, files];
    }

    async function send({ zone, field, purpose }, all) {
        if (busy || !all.length) return;
        const [name, files] = named(all);
        busy = { cancelled: false };
        const bar = document.createElement("progress"), text = document.createElement("span"), stop = document.createElement("button");
        bar.max = files.length;
        bar.setAttribute("aria-label", "Pictures that are here");
        stop.type = "button";
        stop.className = "lw-pick";
        stop.textContent = "Cancel";
        stop.addEventListener("click", () => { busy.cancelled = true; });
        say(zone, [bar, text, stop]);
        const faults = [];
        let done = 0, next = 0;
        const show = () => { bar.value = done; text.textContent = ` ${done} of ${files.length} `; };
        show();
        try {
            const begun = await fetch(`${ROUTE}?name=${encodeURIComponent(name)}&for=${purpose}`, { method: "POST" });
            const { key, error } = await begun.json().catch(() => ({}));
            if (!key) throw new Error(error || `The program did not take it (${begun.status}). Is it still running?`);
            const work = async () => {
                while (next < files.length && !busy.cancelled) {
                    const [path, file] = files[next++];
                    const answer = await fetch(`${ROUTE}/${key}?path=${encodeURIComponent(path)}`, { method: "POST", body: file });
                    if (!answer.ok) faults.push(`${path}: ${(await answer.json().catch(() => ({}))).error || answer.status}`);
                    done += 1;
                    show();
                }
            };
            await Promise.all(Array.from({ length: AT_ONCE }, work));
            say(zone, faults.length ? faults.slice(0, 5).join(" · ") : "", faults.length ? "error" : "info");
            if (done > faults.length) window.loraWorkbench.type(field, `${key}|${Date.now()}`);
        } catch (error) {
            say(zone, error instanceof TypeError ? `${error.message}. Is the program still running?` : error.message, "error");
        }
        busy = null;
    }

    document.addEventListener("click", (event) => {
        const target = event.composedPath()[0];
        const button = target instanceof Element && target.closest("[data-lw-upload]");
        if (!button) return;
        const field = document.createElement("input");
        field.type = "file";
        field.multiple = true;
        field.webkitdirectory = button.dataset.lwUpload === "folder";
        field.addEventListener("change", () => {
            send(zoneOf(button), Array.from(field.files).map((file) => [file.webkitRelativePath || file.name, file]));
        });
        field.click();
    });

    const target = (event) => (event.dataTransfer?.types.includes("Files") ? zoneOf(event.composedPath()[0]) : null);
    let leaving = 0;
    document.addEventListener("dragover", (event) => {
        const { zone } = target(event) || {};
        if (!zone) return;
        event.preventDefault();
        zone.classList.add("lw-dropping");
        clearTimeout(leaving);
        leaving = setTimeout(() => zone.classList.remove("lw-dropping"), 250);
    });
    document.addEventListener("drop", async (event) => {
        const place = target(event);
        if (!place) return;
        event.preventDefault();
        send(place, await dropped(event.dataTransfer.items));
    });
})();
