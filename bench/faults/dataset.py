"""The tools of the Dataset tab and their undo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from bench.faults.campaign import Campaign, all_or_nothing
from lib_lora.dataset.collection.bad_files import plan_aside, plan_png
from lib_lora.dataset.collection.captions import plan_import
from lib_lora.dataset.collection.change import Change
from lib_lora.dataset.collection.moving import plan_move, plan_numbering, set_aside
from lib_lora.dataset.editor import STATE_FOLDER, DatasetEditor
from lib_lora.dataset.pictures.composites import CompositeOptions, plan_composites
from lib_lora.dataset.pictures.crops import plan_crops
from lib_lora.dataset.pictures.flips import plan_mirrored
from lib_lora.dataset.pictures.masks import plan_area_masks
from lib_lora.dataset.tags.edits import Add

Plan = Callable[[DatasetEditor], Change]


def _tags(editor: DatasetEditor) -> Change:
    return editor.plan_tags(Add(("mira",), first=True), "Trigger")


def _numbers(editor: DatasetEditor) -> Change:
    return plan_numbering([*editor.pictures[1:], editor.pictures[0]])


def _rejects(editor: DatasetEditor) -> Change:
    return plan_move(editor.pictures[:2], editor.rejected, "Set copies aside")


def _mirrored(editor: DatasetEditor) -> Change:
    return plan_mirrored(editor.pictures)


def _cropped(editor: DatasetEditor) -> Change:
    parts = [(picture, (0, 0, 20, 20)) for picture in editor.pictures]
    return set_aside(plan_crops(parts), editor.pictures, editor.originals)


def _masks(editor: DatasetEditor) -> Change:
    return plan_area_masks(editor.pictures, (), False)


def _composites(editor: DatasetEditor) -> Change:
    subjects = {"mira": editor.pictures[:1], "rin": editor.pictures[1:]}
    return plan_composites(subjects, editor.folders[0] / "1_pairs", CompositeOptions(share=0.5))


def _png(editor: DatasetEditor) -> Change:
    return plan_png([problem.path for problem in editor.problems], editor.originals)


def _aside(editor: DatasetEditor) -> Change:
    return plan_aside([problem.path for problem in editor.problems], editor.rejected)


PLANS: dict[str, Plan] = {
    "tags": _tags, "import": lambda editor: plan_import(editor.pictures), "numbering": _numbers, "rejects": _rejects,
    "mirrored": _mirrored, "crops": _cropped, "masks": _masks, "composites": _composites,
    "convert to PNG": _png, "set aside": _aside,
}  # fmt: skip


def campaigns() -> list[Campaign]:
    """Each tool, and the undo of each."""
    both = [(name, plan, undo) for name, plan in PLANS.items() for undo in (False, True)]
    return [_campaign(name, plan, undo) for name, plan, undo in both]


def _campaign(name: str, plan: Plan, undo: bool) -> Campaign:
    def prepare(folder: Path) -> None:
        _write_set(folder)
        if undo:
            editor = _open(folder)
            editor.apply(plan(editor))

    def act(folder: Path) -> None:
        editor = _open(folder)
        if undo:
            editor.undo()
        else:
            editor.apply(plan(editor))

    title = f"undo of {name}" if undo else name
    return Campaign(f"dataset: {title}", prepare, act, lambda folder: _open(folder) and None, all_or_nothing,
                    ignored=(STATE_FOLDER, ".cache"))  # fmt: skip


def _open(folder: Path) -> DatasetEditor:
    return DatasetEditor([folder], folder / ".cache")


def _write_set(folder: Path) -> None:
    for number, caption in enumerate((b"1girl,hat\r\n", b"\xef\xbb\xbfred hat, solo", b"A girl in the rain.")):
        path = folder / f"{number + 1}.png"
        Image.new("RGB", (32, 24 + number), (80 * number, 90, 200)).save(path)
        path.with_suffix(".txt").write_bytes(caption)
    Image.new("L", (32, 24), 255).save(folder / "1-masklabel.png")
    Image.new("RGB", (24, 24), "red").save(folder / "4.jpg")
    Image.new("P", (16, 8)).save(folder / "5.gif")
    (folder / "6.gif").write_bytes(b"GIF89a")
    (folder / "4.jpg.txt").write_text("1girl\nlong_hair", encoding="utf-8")
