"""One picture of the set, with what lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lib_lora.dataset.buckets import Size


@dataclass(frozen=True)
class Picture:
    """What is known of an image file without decoding it.

    Args:
        size: (width, height) as seen.
        bytes: length of the file.
        modified: time of its last change, ns.
        folder: the folder of the concept it belongs to: the nearest ``N_name`` folder, else the folder that was opened.
        tags: pieces of its caption as they stand in it, sentences among them; else the tags of a side-car.
        text: the caption file as it stands, every line; else the tags of a side-car in one line.
        caption: the file that edits write; where it is the source of the tags, it exists.
        source: the file the tags were read from; None when there is none.
        sidecars: every file that belongs to the picture and follows it when it is moved: captions, JSON, mask.
        mask: ``name-masklabel.png`` beside it, or the same name in a folder of masks.
        types: booru type of a tag where known: "character", "artist", "copyright", "general", "meta".
        family: the booru post that it is a variant of; "" if unknown.
        readable: False when its caption file cannot be read; tag edits leave such a picture alone.
    """

    path: Path
    size: Size
    bytes: int
    modified: int
    folder: Path
    tags: tuple[str, ...] = ()
    text: str = ""
    caption: Path = Path()
    source: Path | None = None
    sidecars: tuple[Path, ...] = ()
    mask: Path | None = None
    types: Mapping[str, str] = field(default_factory=dict, hash=False)
    family: str = ""
    readable: bool = True

    @property
    def captioned(self) -> bool:
        """Whether ``text`` comes from the caption file itself."""
        return self.source is not None and self.source == self.caption

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.size[0] * self.size[1]
