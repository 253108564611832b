"""Face, main visual, full body: proposed, put right by a click, and the repeats that balance them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import gradio as gr

from lib_lora.access import changes
from lib_lora.dataset.balance.classes import CLASSES, DISCARD, FACE, monochrome_share, plan_folders, propose
from lib_lora.dataset.balance.epochs import BY_IMAGES, BY_SAMPLES, for_images, for_samples
from lib_lora.dataset.balance.repeats import LEAST, MOST, VARIANTS, WITH_FLIPS, WITHOUT_FLIPS, Balance, even, solve
from lib_lora.dataset.collection.change import Change
from lib_lora.dataset.collection.moving import merged, plan_move
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.faces.detector import face_shares, find_detector
from lib_lora.dataset.scan import CONCEPT_NAME
from lib_lora.errors import UserError
from lib_lora.ui import html
from lib_lora.ui.actions import panel
from lib_lora.ui.dataset.pages import Connector
from lib_lora.ui.dataset.panel import Panel, Verb, View
from lib_lora.ui.dataset.views import facts, text

SHOWN = 36  # pictures of a class
NAMES = {
    "face": "Face close-up", "main": "Main visual", "full": "Full body", VARIANTS: "Variants", DISCARD: "Leave out",
}  # fmt: skip
MUCH_GREY = 0.5


class ClassesPanel(Panel):
    """Classes of one subject, or folders of several evened out."""

    name, key = "Classes and repeats", "classes"

    def build(self) -> None:
        """Fields of the framings, and the pictures of each."""
        with gr.Row(elem_classes=["lw-fields"]):
            self.subject = gr.Textbox(label="Name of the folders", info="Usually the trigger", elem_id="lw_ds_subject")
            self.flipped = gr.Checkbox(
                value=False, label="Mirrored copies are trained too", info="Doubles the set", elem_id="lw_ds_flipped"
            )
            self.model = gr.Dropdown(
                choices=list(BY_IMAGES),
                value=next(iter(BY_IMAGES)),
                label="Base model",
                elem_id="lw_ds_model",
                interactive=True,
            )
        self.balance = panel("lw_ds_balance")
        with gr.Row(elem_classes=["lw-actions"]):
            self.sort = gr.Button("Sort into folders …", variant="primary", elem_id="lw_ds_sort")
            self.even = gr.Button("Even out the folders' repeats …", elem_id="lw_ds_even")
            self.faces = gr.Button("Look for faces", elem_id="lw_ds_faces")
        self.message = panel("lw_ds_classes_message")
        self.table = panel("lw_ds_classes")

    def connect(self, on: Connector) -> None:
        """Buttons of the dry runs, and the search for faces."""
        on(self.sort.click, self.do_sort, [self.subject, self.flipped], self.message)
        on(self.even.click, self.do_even, [], self.message)
        on(self.faces.click, self.do_faces, [], self.message)
        for field in (self.flipped, self.model):
            on.listen(field.change, self.recompute, [self.flipped, self.model], [self.balance])

    def views(self) -> list[View]:
        """The classes, and how even they are."""
        return [(self.table, self.classes_view), (self.balance, self.balance_view)]

    def verbs(self) -> dict[str, Verb]:
        """``class``: a click puts a picture into the next class."""
        return {"class": self.next_class}

    def next_class(self, key: str) -> None:
        """Put a picture into the next class."""
        picture = self.session.find(key)
        own = propose(picture, self._face(picture)).name
        now = self.session.classes.get(picture.path, own)
        self.session.classes[picture.path] = CLASSES[(CLASSES.index(now) + 1) % len(CLASSES)]
        self.session.touch()

    @changes
    def do_faces(self) -> str:
        """Look for faces as a job; UserError where there is no detector."""
        host = self.session.workbench.host
        folders = [host.paths.places.faces, host.paths.checkpoints.parent / "adetailer"]
        detector = find_detector(folders)
        if detector is None:
            fix = f"Put a YOLO face model in ONNX into {folders[0]}, or install animeface; tags and shapes do without"
            raise UserError("There is no face detector", fix=fix)
        session = self.session
        pictures = session.opened().pictures

        def work() -> Iterator[tuple[int, int]]:
            session.faces = yield from face_shares(pictures, detector)

        session.run(f"Look for faces ({detector.name})", work)
        return ""

    @changes
    def do_sort(self, subject: str, flipped: bool) -> str:
        """Dry run: a folder for each class, with repeats that make them even."""
        name = (subject or "").strip()
        if not name:
            fix = "Type the trigger, or any name for a style"
            raise UserError("The folders need a name", where="Name of the folders", fix=fix)
        classes = self.classes()
        balance = self.solved(classes, flipped)
        root = self.session.opened().folders[0]
        return html.message(self.session.propose(plan_folders(classes, balance.repeats, root, name)))

    @changes
    def do_even(self) -> str:
        """Dry run: other repeats for the folders that are there."""
        return html.message(self.session.propose(self._evened()))

    def classes(self) -> dict[str, list[Picture]]:
        """Class -> pictures; members of a variant group are a class of their own."""
        duplicates = self.session.duplicates
        varied = {p.path for group in duplicates.variants for p in group} if duplicates else set()
        found: dict[str, list[Picture]] = {}
        for picture in self.session.shown():
            own = self.session.classes.get(picture.path)
            kind = own or (VARIANTS if picture.path in varied else propose(picture, self._face(picture)).name)
            found.setdefault(kind, []).append(picture)
        return {name: found[name] for name in NAMES if name in found}

    def solved(self, classes: dict[str, list[Picture]], flipped: bool) -> Balance:
        """Repeats of each class."""
        counts = {name: len(pictures) for name, pictures in classes.items() if name != DISCARD}
        groups = len(self.session.duplicates.variants) if self.session.duplicates else 0
        size = max(1, round(counts.get(VARIANTS, 0) / groups)) if groups else 1
        return solve(counts, flipped, size)

    # -- views --------------------------------------------------------------------------------------------------------

    def classes_view(self) -> str:
        """HTML: each class with its pictures."""
        if self.session.editor is None:
            return ""
        return "".join(self._class(name, pictures) for name, pictures in self.classes().items())

    @changes
    def recompute(self, mirrored: bool, base: str) -> str:
        """The balance under other conditions."""
        self.session.balanced_for = mirrored, base
        return self.balance_view()

    def balance_view(self) -> str:
        """Repeats, their sum, the ratio, and what stands in the way; then the epochs of the guide."""
        if self.session.editor is None or not self.session.shown():
            return ""
        mirrored, base = self.session.balanced_for or (False, next(iter(BY_IMAGES)))
        balance = self.solved(self.classes(), mirrored)
        pairs = [
            (NAMES[name], f"{html.plural(balance.images[name], 'image')} × {html.plural(n, 'repeat')}")
            for name, n in balance.repeats.items()
        ]
        ratio = f"{balance.ratio:.1f} : 1" if balance.ratio else "no faces"
        pairs += [("Main : face", ratio), (f"Images × repeats × {factor(mirrored)}", f"{balance.total:,}")]
        problems = "".join(html.message(problem, html.WARNING) for problem in balance.problems)
        grey = monochrome_share(self.session.shown())
        if grey > MUCH_GREY:
            problems += html.message(f"{grey:.0%} are black and white: leave some out for a colour model", html.WARNING)
        rest = why(balance, mirrored) + self._epochs(base)
        return f'<div class="lw-panel">{facts(pairs)}{problems}{rest}</div>'

    def _epochs(self, model: str) -> str:
        folders = Counter(picture.folder for picture in self.session.shown())
        if len(folders) > 1 and model in BY_SAMPLES:
            repeats = even({str(folder): count for folder, count in folders.items()})
            samples = sum(count * repeats[str(folder)] for folder, count in folders.items())
            advice = for_samples(model, samples)
            start = f"{len(folders)} folders evened out: {samples} samples an epoch"
        else:
            advice = for_images(model, sum(folders.values()))
            start = f"As one concept: {advice.repeats} repeats"
        run = f"{advice.epochs} epochs at batch {advice.batch_size}, {advice.steps:,} steps ({model})"
        return f'<p class="lw-quiet">{start}, {run}.</p>'

    def _class(self, name: str, pictures: list[Picture]) -> str:
        reasons = [self._reason(picture) for picture in pictures[:SHOWN]]
        figures = self.album.figures(pictures[:SHOWN], "class", reasons)
        more = f" (the first {SHOWN} are shown)" if len(pictures) > SHOWN else ""
        head = f"<h4>{text(NAMES[name])} · {len(pictures)}{more} – a click puts it into the next class</h4>"
        return f'{head}<div class="lw-ds-gallery lw-ds-small">{figures}</div>'

    def _reason(self, picture: Picture) -> str:
        if picture.path in self.session.classes:
            return "put here by hand"
        return propose(picture, self._face(picture)).reason

    def _face(self, picture: Picture) -> float | None:
        box = self.session.faces.get(picture.path)
        return box[3] - box[1] if box else None

    def _evened(self) -> Change:
        """Rename ``N_name`` folders' repeats by moving their pictures."""
        by_folder: dict[Any, list[Picture]] = {}
        for picture in self.session.opened().pictures:
            by_folder.setdefault(picture.folder, []).append(picture)
        if len(by_folder) < 2:
            raise UserError("There is only one folder", fix="Repeats are evened out between folders")
        repeats = even({str(folder): len(pictures) for folder, pictures in by_folder.items()})
        moves = []
        for folder, pictures in by_folder.items():
            named = CONCEPT_NAME.fullmatch(folder.name)
            target = folder.with_name(f"{repeats[str(folder)]}_{named[2] if named else folder.name}")
            if target != folder:
                moves.append(plan_move(pictures, target, folder.name))
        return merged(moves, "Even out repeats")


def factor(mirrored: bool) -> int:
    """What the guide multiplies images × repeats with."""
    return WITH_FLIPS if mirrored else WITHOUT_FLIPS


def why(balance: Balance, mirrored: bool) -> str:
    """The rule behind the repeats."""
    kind = "nearest" if balance.problems else "smallest"
    rules = [f"images × repeats × {factor(mirrored)} is between {LEAST:,} and {MOST:,}"]
    alike = ""
    if balance.ratio:
        rules = ["main : face is about 4 : 1", "no other class has more samples than the faces", *rules]
    elif len(balance.images.keys() - {VARIANTS}) > 1:
        lacking = "main visuals" if FACE in balance.images else "face close-ups"
        alike = f" As there are no {lacking}, the classes are repeated alike."
    mirror = "" if mirrored else f" With mirrored copies the factor is {WITH_FLIPS}."
    return f'<p class="lw-quiet">The {kind} repeats for which {_listed(rules)}.{alike}{mirror}</p>'


def _listed(parts: list[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)}, and {last}" if first else last
