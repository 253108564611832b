"""Caption files beside the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib_lora.dataset.problems import BadFile

CAPTION_EXTENSIONS = (".txt", ".caption")  # the first that exists wins
FURTHER_EXTENSIONS = (".tags", ".tag", ".prompt", ".cap")  # of other programs, where there is none of the above


@dataclass(frozen=True)
class Caption:
    """What a caption file says: its lines that are not empty. The first one counts, as in kohya."""

    texts: tuple[str, ...]
    path: Path

    @property
    def text(self) -> str:
        return self.texts[0] if self.texts else ""

    @property
    def lines(self) -> int:
        return len(self.texts)


class CaptionFiles:
    """The caption files of one folder.

    Args:
        files: all files of the folder.
        extension: ``".txt"`` (the dot may be missing) reads only those; empty reads .txt, else .caption, and where
            there is neither, what other programs call their files.
    """

    def __init__(self, files: list[Path], extension: str = ""):
        extension = extension.strip().lower()
        if extension and not extension.startswith("."):
            extension = f".{extension}"
        known = (*CAPTION_EXTENSIONS, *FURTHER_EXTENSIONS)
        present = {f.suffix.lower() for f in files}
        detected = CAPTION_EXTENSIONS if present & set(CAPTION_EXTENSIONS) else known
        self.extensions = (extension,) if extension else detected
        self._files = {(f.stem, f.suffix.lower()): f for f in files if f.suffix.lower() in self.extensions}
        self._others = {(f.stem, f.suffix.lower()) for f in files if f.suffix.lower() in known}

    def overlooked(self, images: list[Path]) -> str:
        """The ending of caption files beside these images, if none has one of those that are read; else ""."""
        stems = {image.stem for image in images}
        if any(stem in stems for stem, _ in self._files):
            return ""
        return next((ending for stem, ending in sorted(self._others) if stem in stems), "")

    def mixed(self, images: list[Path]) -> bool:
        """Whether these images have caption files of more than one extension between them."""
        stems = {image.stem for image in images}
        return len({extension for stem, extension in self._files if stem in stems}) > 1

    def read(self, image: Path) -> Caption | None:
        """Caption of an image from the file of the same name, first known extension; None without such a file.

        Raises:
            BadFile: the file is not UTF-8 text.
        """
        found = (self._files.get((image.stem, extension)) for extension in self.extensions)
        path = next((f for f in found if f is not None), None)
        if path is None:
            return None
        return Caption(tuple(line.strip() for line in decode(path).splitlines() if line.strip()), path)


def decode(path: Path) -> str:
    """Text of a caption file.

    Raises:
        BadFile: unreadable, or no UTF-8 text.
    """
    fix = "Open it in a text editor and save it as UTF-8"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFile(f"its caption file {path.name} is not UTF-8 text", where=path, fix=fix) from None
    except OSError as error:
        what = f"its caption file {path.name} cannot be read ({error.strerror})"
        raise BadFile(what, where=path, fix="Check its permissions") from error
    if "\0" in text:
        raise BadFile(f"its caption file {path.name} is not plain text", where=path, fix=fix)
    return text
