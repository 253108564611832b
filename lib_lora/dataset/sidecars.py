"""Caption files beside the images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lib_lora.dataset.text_file import lines_of, read_text_file

CAPTION_EXTENSIONS = (".txt", ".caption")  # the first that exists wins
FURTHER_EXTENSIONS = (".tags", ".tag", ".prompt", ".cap")  # of other programs, where there is none of the above
MADE_FILE = "made.json"  # in a folder of pictures that a model drew: name of a picture -> what it was made from


def is_made(picture: Path) -> bool:
    """Whether a picture lies in a folder of those that a model drew."""
    return (picture.parent / MADE_FILE).is_file()


@dataclass(frozen=True)
class Caption:
    """What a caption file says: its lines that are not empty. The first one counts, as in kohya."""

    texts: tuple[str, ...]
    path: Path

    @property
    def text(self) -> str:
        """The first of its lines; empty where there is none."""
        return self.texts[0] if self.texts else ""

    @property
    def lines(self) -> int:
        """How many there are; each is a caption of its own."""
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
        self._others = {(f.stem, f.suffix.lower()): f for f in files if f.suffix.lower() in known}

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

    def path(self, image: Path) -> Path | None:
        """The caption file of an image: of the same name, with the first known extension; None without such a file."""
        found = (self._files.get((image.stem, extension)) for extension in self.extensions)
        return next((f for f in found if f is not None), None)

    def of(self, image: Path) -> list[Path]:
        """All files that may be captions of this image, the one that is read first."""
        endings = (*self.extensions, *CAPTION_EXTENSIONS, *FURTHER_EXTENSIONS)
        found = (self._others.get((image.stem, ending)) for ending in endings)
        return list(dict.fromkeys(f for f in found if f is not None))

    def new(self, image: Path) -> Path:
        """Where an image without a caption gets one: beside it, with the ending that this folder's captions have."""
        used = Counter(extension for _, extension in self._files)
        return image.with_suffix(used.most_common(1)[0][0] if used else self.extensions[0])

    def read(self, image: Path) -> Caption | None:
        """Caption of an image from its file; None without one.

        Raises:
            BadFile: the file is no UTF-8 text.
        """
        path = self.path(image)
        return None if path is None else Caption(lines_of(read_text_file(path).text), path)
