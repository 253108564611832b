// Pictures, folders and zips that are dropped on the Dataset tab, or chosen by [data-lw-upload="files" or "folder"], become a
// set: POST lora_workbench/upload?name= gives a key, each file is the body of POST lora_workbench/upload/KEY?path=, and the
// key in #lw_ds_dropped opens the set (ui/dataset/uploads.py). Where there is no [data-lw-upload], nothing is taken.
(function () {
    "use strict";
    if (window.loraWorkbenchUpload) return;
    window.loraWorkbenchUpload = true;

    const ROUTE = "lora_workbench/upload", AT_ONCE = 3;
    const root = () => window.loraWorkbench.root();
    const zone = () => root().querySelector("#lw_tab_dataset");
    const offered = () => Boolean(root().querySelector("[data-lw-upload]"));
    let busy = null; // {cancelled}

    const say = (html, kind = "info") => {
        const place = root().querySelector(".lw-drop-said");
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

    async function send(all) {
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
        say([bar, text, stop]);
        const faults = [];
        let done = 0, next = 0;
        const show = () => { bar.value = done; text.textContent = ` ${done} of ${files.length} `; };
        show();
        try {
            const begun = await fetch(`${ROUTE}?name=${encodeURIComponent(name)}`, { method: "POST" });
            if (!begun.ok) throw new Error(`The program did not take it (${begun.status})`);
            const { key } = await begun.json();
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
            say(faults.length ? faults.slice(0, 5).join(" · ") : "", faults.length ? "error" : "info");
            if (done > faults.length) window.loraWorkbench.type("lw_ds_dropped", `${key}|${Date.now()}`);
        } catch (error) {
            say(`${error.message}. Is the program still running?`, "error");
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
            send(Array.from(field.files).map((file) => [file.webkitRelativePath || file.name, file]));
        });
        field.click();
    });

    const files = (event) => event.dataTransfer?.types.includes("Files") && offered() && zone()?.contains(event.composedPath()[0]);
    let inside = 0;
    document.addEventListener("dragover", (event) => {
        if (!files(event)) return;
        event.preventDefault();
        zone().classList.add("lw-dropping");
        clearTimeout(inside);
        inside = setTimeout(() => zone().classList.remove("lw-dropping"), 250);
    });
    document.addEventListener("drop", async (event) => {
        if (!files(event)) return;
        event.preventDefault();
        send(await dropped(event.dataTransfer.items));
    });
})();
