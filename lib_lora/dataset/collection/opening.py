"""Folders -> pictures, in one pass over each folder. Nothing found in a folder raises."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lib_lora.dataset.collection.booru import read_post, read_text, typed
from lib_lora.dataset.collection.headers import Headers
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.oddities import IMAGE_EXTENSIONS, odd_files
from lib_lora.dataset.problems import BadFile, Problem
from lib_lora.dataset.scan import CONCEPT_NAME, without_masks
from lib_lora.dataset.sidecars import CaptionFiles
from lib_lora.dataset.tags.pieces import split_pieces
from lib_lora.dataset.tags.text import join
from lib_lora.dataset.text_file import read_text_file

MASK_ENDING = "-masklabel"  # OneTrainer's
MASK_FOLDERS = ("mask", "masks", "conditioning", "conditioning_data")  # kohya's: same file name, white is trained


@dataclass(frozen=True)
class Opened:
    """Pictures in the order of their names, and what was found wrong."""

    pictures: tuple[Picture, ...]
    problems: tuple[Problem, ...]


def open_folders(folders: Iterable[Path], headers: Headers) -> Opened:
    """All pictures in and below ``folders``, with tags, masks and side-cars. Reads headers and text, never pixels."""
    reader = _Reader(headers)
    for folder in folders:
        concept = Path(folder)
        reader.visit(concept, concept)
    headers.save()
    return Opened(tuple(reader.pictures), tuple(reader.problems))


def reread(picture: Picture, headers: Headers) -> Picture:
    """The picture as it is on disk now.

    Raises:
        BadFile: it cannot be read any more.
    """
    path = picture.path
    names = (picture.caption.name, f"{path.name}.txt", *_json_names(path), *(file.name for file in picture.sidecars))
    files = {name: path.with_name(name) for name in names if path.with_name(name).exists()}
    captions = CaptionFiles(list(files.values()))
    return _Reader(headers).picture(path, files, captions, picture.folder, picture.mask)


class _Reader:
    def __init__(self, headers: Headers):
        self.headers = headers
        self.pictures: list[Picture] = []
        self.problems: list[Problem] = []
        self.seen: set[Path] = set()

    def report(self, path: Path, reason: str, fix: str, skipped: bool = True) -> None:
        self.problems.append(Problem(path, reason, fix, skipped))

    def visit(self, folder: Path, concept: Path) -> None:
        if (real := _resolved(folder)) in self.seen:
            self.report(folder, "the folder is already part of this set", "Open it once")
            return
        self.seen.add(real)
        folders, files = self.listing(folder)
        mask_folder = next((f for f in folders if f.name.casefold() in MASK_FOLDERS), None)
        apart = _files_in(mask_folder)
        images, masks = without_masks([path for path in files.values() if path.suffix.lower() in IMAGE_EXTENSIONS])
        captions = CaptionFiles(list(files.values()))
        self.problems += odd_files(list(files.values()), images, captions)
        for path in images:
            mask = masks.get(path.stem) or apart.get(path.name) or apart.get(f"{path.stem}.png")
            try:
                self.pictures.append(self.picture(path, files, captions, concept, mask))
            except BadFile as error:
                self.problems.append(Problem.of(path, error))
        for child in folders:
            if child != mask_folder:
                self.visit(child, child if CONCEPT_NAME.fullmatch(child.name) else concept)

    def listing(self, folder: Path) -> tuple[list[Path], dict[str, Path]]:
        """(folders, files by name) without hidden ones, in an order that does not depend on the file system."""
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except FileNotFoundError:
            self.report(folder, "the folder does not exist", "Check the path")
            return [], {}
        except OSError as error:
            self.report(folder, f"the folder cannot be read ({error.strerror})", "Check the path and its permissions")
            return [], {}
        found.sort(key=lambda entry: (entry.name.casefold(), entry.name))
        folders = [Path(entry.path) for entry in found if _is_folder(entry)]
        return folders, {entry.name: Path(entry.path) for entry in found if not _is_folder(entry)}

    def picture(
        self, path: Path, files: dict[str, Path], captions: CaptionFiles, concept: Path, mask: Path | None
    ) -> Picture:
        try:
            state = path.stat()
        except OSError:
            raise BadFile("the file is not there any more", where=path, fix="Open the folder again") from None
        header = self.headers.get(path, state)
        if header.animated:
            self.report(path, "the image is animated; its first frame is used", "Save the frames you want", False)
        own = captions.path(path)
        text = files.get(f"{path.name}.txt")
        extras = [files[name] for name in _json_names(path) if name in files]
        found = _Found() if own is None else self._caption(own)
        found = self._side_car(found, text, extras)
        beside = (*captions.of(path), *([text] if text else []), *extras, *([mask] if mask else []))
        return Picture(
            path=path,
            size=header.size,
            bytes=state.st_size,
            modified=state.st_mtime_ns,
            folder=concept,
            tags=found.tags,
            text=found.text,
            caption=own or captions.new(path),
            source=found.source,
            sidecars=tuple(dict.fromkeys(beside)),
            mask=mask,
            types=found.types,
            family=found.family,
            readable=found.readable,
        )

    def _caption(self, path: Path) -> _Found:
        """What the caption file says, to the letter."""
        try:
            text = read_text_file(path).text
        except BadFile as error:
            self.report(path, error.what, error.fix or "Correct it", skipped=False)
            return _Found(source=path, readable=False)
        tags = tuple(split_pieces(text))
        types = {tag: kind for tag in tags if (kind := typed(tag)[0])}
        return _Found(tags, text, path, types)

    def _side_car(self, found: _Found, text: Path | None, extras: list[Path]) -> _Found:
        """With what a downloader has written: the tags where there is no caption, types and family from JSON."""
        if text is not None and found.source is None:
            try:
                post = read_text(read_text_file(text).text)
                found = _Found(post.tags, join(post.tags), text, post.types)
            except BadFile as error:
                self.report(text, error.what, error.fix or "Correct it", skipped=False)
                found = _Found(source=text, readable=False)
        for path in extras[:1]:
            try:
                post = read_post(read_text_file(path).text)
            except (BadFile, ValueError, RecursionError) as error:
                self.report(path, f"the side-car holds no post ({error})", "Delete it, or download it again", False)
                continue
            if found.source is None:
                found = _Found(post.tags, join(post.tags), path)
            found = replace(found, types={**post.types, **found.types}, family=post.family)
        return found


@dataclass(frozen=True)
class _Found:
    """What the files beside a picture say of it; see `Picture`."""

    tags: tuple[str, ...] = ()
    text: str = ""
    source: Path | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    readable: bool = True


def _json_names(path: Path) -> tuple[str, ...]:
    return f"{path.name}.json", f"{path.stem}.json"


def _files_in(folder: Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    try:
        return {entry.name: Path(entry.path) for entry in os.scandir(folder)}
    except OSError:
        return {}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of symbolic links
        return False


def _resolved(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (OSError, RuntimeError):
        return folder
