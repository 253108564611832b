"""Folders -> pictures, in one pass over each folder. Nothing found in a folder raises."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib_lora.dataset.collection.booru import Post, read_post, read_text
from lib_lora.dataset.collection.headers import Headers
from lib_lora.dataset.collection.picture import Picture
from lib_lora.dataset.problems import BadFile, Problem
from lib_lora.dataset.scan import CONCEPT_NAME, FOREIGN_EXTENSIONS, IMAGE_EXTENSIONS
from lib_lora.dataset.sidecars import decode

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
    names = (*_text_names(path), *_json_names(path), f"{path.stem}{MASK_ENDING}.png")
    files = {name: path.with_name(name) for name in names if path.with_name(name).exists()}
    masks = {picture.mask.name: picture.mask} if picture.mask else {}
    return _Reader(headers).picture(path, files, picture.folder, masks)


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
        masks = _files_in(mask_folder)
        for name, path in files.items():
            extension = path.suffix.lower()
            if extension in FOREIGN_EXTENSIONS:
                self.report(path, f"{path.suffix} files are not read", "Convert it to PNG or JPEG")
            elif extension in IMAGE_EXTENSIONS and not Path(name).stem.endswith(MASK_ENDING):
                self._add(path, files, concept, masks)
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

    def _add(self, path: Path, files: dict[str, Path], concept: Path, masks: dict[str, Path]) -> None:
        try:
            self.pictures.append(self.picture(path, files, concept, masks))
        except BadFile as error:
            self.problems.append(Problem.of(path, error))

    def picture(self, path: Path, files: dict[str, Path], concept: Path, masks: dict[str, Path]) -> Picture:
        try:
            state = path.stat()
        except OSError:
            raise BadFile("the file is not there any more", where=path, fix="Open the folder again") from None
        header = self.headers.get(path, state)
        if header.animated:
            self.report(path, "the image is animated; its first frame is used", "Save the frames you want", False)
        texts = [files[name] for name in _text_names(path) if name in files]
        extras = [files[name] for name in _json_names(path) if name in files]
        post, source, readable = self._post(texts, extras)
        beside = files.get(f"{path.stem}{MASK_ENDING}.png")
        mask = beside or masks.get(path.name) or masks.get(f"{path.stem}.png")
        return Picture(
            path=path,
            size=header.size,
            bytes=state.st_size,
            modified=state.st_mtime_ns,
            folder=concept,
            tags=post.tags,
            caption=source if source and source.stem == path.stem and source in texts else path.with_suffix(".txt"),
            source=source,
            sidecars=(*texts, *extras, *([mask] if mask else [])),
            mask=mask,
            types=post.types,
            family=post.family,
            rest=post.rest,
            readable=readable,
        )

    def _post(self, texts: list[Path], extras: list[Path]) -> tuple[Post, Path | None, bool]:
        """(tags, their file, whether its text could be read): from text if there is any, types and family from JSON."""
        text, source, readable = Post(), None, True
        for path in texts[:1]:
            source = path
            try:
                text = read_text(decode(path))
            except BadFile as error:
                readable = False
                self.report(path, error.what, error.fix or "Correct it", skipped=False)
        for path in extras[:1]:
            try:
                post = read_post(decode(path))
            except (BadFile, ValueError) as error:
                self.report(path, f"the side-car holds no post ({error})", "Delete it, or download it again", False)
                continue
            tags = text.tags if source else post.tags
            return Post(tags, {**post.types, **text.types}, post.family, text.rest), source or path, readable
        return text, source, readable


def _text_names(path: Path) -> tuple[str, ...]:
    return f"{path.stem}.txt", f"{path.stem}.caption", f"{path.name}.txt"


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
