"""Folders -> items: which images there are, their captions and buckets. Reads headers, never pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from lib_lora.dataset.buckets import Size, bucket_for
from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.images import read_header
from lib_lora.dataset.oddities import IMAGE_EXTENSIONS, odd_files
from lib_lora.dataset.problems import BadFile, Problem
from lib_lora.dataset.sidecars import Caption, CaptionFiles

CONCEPT_NAME = re.compile(r"(\d+)_(.*)")
MOST_REPEATS = 10_000  # of a folder's name; more is a date
MASK_ENDINGS = ("-masklabel", "_mask")  # OneTrainer's, and the common one


@dataclass(frozen=True)
class Item:
    """One usable image: its file, concept, size as seen (width, height), caption as written, and bucket."""

    path: Path
    concept: Concept
    size: Size
    bucket: Size
    caption: str
    caption_path: Path | None = None  # None: the caption is the concept's class tokens
    lines: tuple[str, ...] = ()  # of the caption file, where there are several
    mask_path: Path | None = None
    after_path: Path | None = None  # the same picture after a change, of the same size

    @property
    def after(self) -> Item | None:
        """The partner as an item of the same bucket."""
        return None if self.after_path is None else replace(self, path=self.after_path, after_path=None)


@dataclass(frozen=True)
class Scan:
    """What the folders hold. ``concepts`` are resolved: own folder, repeats ≥ 1, class tokens."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...]
    concepts: tuple[Concept, ...]

    @cached_property
    def samples_per_epoch(self) -> int:
        """Images times their repeats, without regularisation."""
        return sum(item.concept.repeats for item in self.subject)

    @cached_property
    def subject(self) -> tuple[Item, ...]:
        """The items that are no regularisation."""
        return tuple(item for item in self.items if not item.concept.regularisation)

    def without(self, problems: Iterable[Problem]) -> Scan:
        """This scan with further problems noted, and the files they make unusable left out."""
        problems = tuple(problems)
        bad = {p.path for p in problems if p.skipped}
        return replace(self, items=tuple(i for i in self.items if i.path not in bad), problems=self.problems + problems)


def scan(config: DatasetConfig) -> Scan:
    """Find every image of the configured folders.

    A folder may hold images, ``N_name`` folders (repeats and class tokens, at any depth), or plain folders, which
    belong to the concept around them. Images lying beside ``N_name`` folders are not used (as in kohya), but reported.
    Nothing found in a folder raises: what cannot be used is in ``problems``.

    Raises:
        UserError: a setting of ``config`` that cannot work.
    """
    config.validate()
    walk = _Walk(config)
    for concept in config.folders:
        walk.visit_root(_resolved(concept))
    return Scan(tuple(walk.items), tuple(walk.problems), tuple(walk.concepts))


def _resolved(concept: Concept) -> Concept:
    """Repeats and class tokens from the folder's name, as far as it has them."""
    if named := CONCEPT_NAME.fullmatch(concept.path.name):
        return replace(concept, repeats=int(named[1]), class_tokens=named[2].strip() or concept.class_tokens)
    return replace(concept, repeats=concept.repeats or 1)


def _by_stem(folder: Path | None) -> dict[str, Path]:
    """The image files of a folder of masks."""
    files = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []
    return {f.stem: f for f in files if f.suffix.lower() in IMAGE_EXTENSIONS}


def without_masks(images: list[Path]) -> tuple[list[Path], dict[str, Path]]:
    """The pictures of one folder, and the mask files beside them by the picture's stem."""
    stems = {image.stem for image in images}
    masks = {}
    for image in images:
        stem = image.stem
        for ending in MASK_ENDINGS:
            if (pictured := stem.removesuffix(ending)) != stem and pictured in stems:
                masks[pictured] = image
    found = set(masks.values())
    return [image for image in images if image not in found], masks


def _paired(item: Item, after: Path | None) -> Item:
    """The item with its partner; BadFile where there is none of the same size."""
    if after is None:
        fix = "Name both alike, or leave it out"
        raise BadFile("there is no picture of this name after the change", where=item.path, fix=fix)
    if (size := read_header(after)[0]) != item.size:
        what = f"before and after differ in size: {item.size[0]}×{item.size[1]} and {size[0]}×{size[1]}"
        raise BadFile(what, where=after, fix="Crop or resize one of them")
    return replace(item, after_path=after)


class _Walk:
    """One pass over the folders, collecting items, problems and concepts."""

    def __init__(self, config: DatasetConfig):
        self.config = config
        self.items: list[Item] = []
        self.problems: list[Problem] = []
        self.concepts: list[Concept] = []
        self.seen: set[Path] = set()

    def report(self, path: Path, reason: str, fix: str, skipped: bool = True) -> None:
        self.problems.append(Problem(path, reason, fix, skipped))

    def visit_root(self, concept: Concept) -> None:
        found, reported = len(self.concepts), len(self.problems)
        self.visit(concept)
        if len(self.concepts) == found and len(self.problems) == reported:
            self.report(concept.path, "there is no image in this folder or below it", "Check the path")

    def visit(self, concept: Concept) -> None:
        folder = concept.path
        listing = self._listing(folder)
        if listing is None or not self._usable(concept):
            return
        folders, files = listing
        named = {f for f in folders if CONCEPT_NAME.fullmatch(f.name)}
        images, masks = without_masks([f for f in files if f.suffix.lower() in IMAGE_EXTENSIONS])
        if masks and self.config.masks != "files":
            example, count = next(iter(masks.values())), len(masks)
            self.report(example, f"mask files are not used ({count} here)", "Set the masks to “files”", False)
        captions = CaptionFiles(files, self.config.caption_extension)
        self.problems += odd_files(files, images, captions)
        if images and named and not CONCEPT_NAME.fullmatch(folder.name):
            reason = f"images beside folders named like N_name are not used ({len(images)} here)"
            self.report(folder, reason, "Move them into a folder named like 1_name")
        elif images:
            self._add_images(images, masks, captions, concept)
        for child in folders:
            own = Concept(child, regularisation=concept.regularisation)
            self.visit(_resolved(own) if child in named else replace(concept, path=child))

    def _listing(self, folder: Path) -> tuple[list[Path], list[Path]] | None:
        """(folders, files) in an order that does not depend on the file system; None when that was reported."""
        try:
            entries = sorted(folder.iterdir(), key=lambda e: (e.name.casefold(), e.name))
            visible = [e for e in entries if not e.name.startswith(".")]
            return [e for e in visible if e.is_dir()], [e for e in visible if not e.is_dir()]
        except FileNotFoundError:
            self.report(folder, "the folder does not exist", "Check the path")
        except NotADirectoryError:
            self.report(folder, "this is a file, not a folder", "Give the folder that holds the images")
        except OSError as error:
            self.report(folder, f"the folder cannot be read ({error.strerror})", "Check its permissions")
        return None

    def _usable(self, concept: Concept) -> bool:
        folder = concept.path
        if concept.repeats < 1:
            self.report(folder, "the folder name asks for 0 repeats", "Name it 1_… or higher to use it")
            return False
        if concept.repeats > MOST_REPEATS:
            reason = f"the folder name asks for {concept.repeats:,} repeats"
            self.report(folder, reason, f"Name it 1_… to use it once; {MOST_REPEATS:,} is the most")
            return False
        if (real := folder.resolve()) in self.seen:
            self.report(folder, "the folder is already part of this dataset", "List it once; raise its repeats")
            return False
        self.seen.add(real)
        return True

    def _add_images(self, images: list[Path], masks: dict[str, Path], captions: CaptionFiles, concept: Concept) -> None:
        self.concepts.append(concept)
        if self.config.masks == "files":
            masks = masks | _by_stem(self.config.mask_folder)
        partners = _by_stem(self.config.after_folder)
        for path in images:
            try:
                item = self._item(path, captions, concept)
                item = replace(item, mask_path=masks.get(path.stem)) if self.config.masks == "files" else item
                item = item if self.config.after_folder is None else _paired(item, partners.get(path.stem))
            except BadFile as error:
                self.problems.append(Problem.of(path, error))
            else:
                self.items.append(item)
        if other := captions.overlooked(images):
            reason = f"no image here has a {captions.extensions[0]} file, but there are {other} files"
            self.report(concept.path, reason, "Leave caption_extension empty, or name that one", skipped=False)
        if captions.mixed(images):
            reason = "captions are in .txt and in .caption files; an image that has both uses its .txt"
            self.report(concept.path, reason, "Keep one kind, or name it in caption_extension", skipped=False)

    def _item(self, path: Path, captions: CaptionFiles, concept: Concept) -> Item:
        size, kind, animated = read_header(path)
        caption = captions.read(path)
        self._note_wrong_extension(path, kind)
        if animated:
            self.report(path, "the image is animated; its first frame is used", "Save the frames you want", False)
        if caption is not None:
            self._note_odd_caption(caption)
        text = caption.text if caption else ""
        source = caption.path if caption and text else None
        bucket, written = bucket_for(size, self.config), text or concept.class_tokens
        lines = caption.texts if caption and self.config.random_line and caption.lines > 1 else ()
        return Item(path, concept, size, bucket, written, source, lines)

    def _note_wrong_extension(self, path: Path, kind: str) -> None:
        expected = Image.registered_extensions().get(path.suffix.lower(), kind)
        if kind != expected and {kind, expected} != {"JPEG", "MPO"}:
            reason = f"the content is {kind}, although the name ends in {path.suffix}"
            self.report(path, reason, "It is used all the same; rename it so that other programs read it", False)

    def _note_odd_caption(self, caption: Caption) -> None:
        if caption.lines > 1 and not self.config.random_line:
            self.report(caption.path, "only the first line is used", "Put the whole caption into one line", False)
        if caption.lines == 0:
            reason = "the caption file is empty, so the folder's class tokens are used"
            self.report(caption.path, reason, "Write a caption, or delete the file", False)
