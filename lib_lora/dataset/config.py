"""What the user says about the training images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lib_lora.errors import UserError


@dataclass(frozen=True)
class Concept:
    """A folder of images that belong together.

    Args:
        path: the folder. As part of a `DatasetConfig` it may also be the parent of concept folders.
        repeats: how often each image is seen per epoch; 0 takes it from the folder's name (``10_name``), else 1.
        class_tokens: caption of images without a caption file; empty takes it from the folder's name.
    """

    path: Path
    repeats: int = 0
    class_tokens: str = ""

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))


def _option(default: Any, help: str, **limits: Any) -> Any:
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class DatasetConfig:
    """Where the images are and how they become batches. Each field's metadata holds its help, limits and unit."""

    folders: tuple[Concept, ...] = field(
        default=(), metadata={"help": "Folders of images, or folders that hold folders named like 10_name"}
    )
    resolution: int = _option(512, "Side of the square whose area every bucket has at most", min=8, unit="px")
    batch_size: int = _option(1, "Images per step", min=1)
    trigger: str = _option("", "Activation tag that is put first in every caption")
    shuffle: bool = _option(False, "Shuffle the tags of a caption each time, behind the kept ones")
    keep_tokens: int = _option(0, "Tags at the front (the trigger counts) that are never shuffled", min=0, unit="tags")
    flip: bool = _option(False, "Mirror half of the images at random; left and right are swapped in their captions")
    caption_extension: str = _option("", "Extension of caption files; empty finds .txt and .caption")
    bucket_step: int = _option(64, "Bucket sides are multiples of this", min=8, unit="px")
    bucket_min: int = _option(0, "Shortest bucket side; 0 is half of the resolution", min=0, unit="px")
    bucket_max: int = _option(0, "Longest bucket side; 0 is twice the resolution", min=0, unit="px")
    no_upscale: bool = _option(False, "Never enlarge an image: small ones get a bucket of their own size")

    def __post_init__(self):
        object.__setattr__(self, "folders", tuple(self.folders))

    def validate(self) -> None:
        """Raise `UserError` naming the first setting that cannot work."""
        step = self.bucket_step
        if step < 8 or step % 8:
            raise UserError(f"{step} is not a multiple of 8", where="bucket_step", fix="Use 64, or 32, 16 or 8")
        if self.resolution < step:
            raise UserError(
                f"The resolution {self.resolution} is smaller than one bucket step of {step}",
                where="resolution",
                fix="Raise the resolution or lower bucket_step",
            )
        if self.bucket_max and self.bucket_max < max(self.bucket_min, step):
            raise UserError(
                f"The longest bucket side {self.bucket_max} is below the shortest, {max(self.bucket_min, step)}",
                where="bucket_max",
                fix="Set it to 0 (twice the resolution) or raise it",
            )
        for name, least in (("batch_size", 1), ("keep_tokens", 0), ("bucket_min", 0), ("bucket_max", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{getattr(self, name)} is too small", where=name, fix=f"Use {least} or more")

    def to_dict(self) -> dict[str, Any]:
        """Plain values only (str, int, bool, lists, dicts), fit for TOML and JSON."""
        data = asdict(self)
        data["folders"] = [{**asdict(c), "path": str(c.path)} for c in self.folders]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DatasetConfig:
        """Inverse of `to_dict`; missing fields get their defaults.

        Raises:
            UserError: a name that is no field.
        """
        known = {f.name for f in fields(cls)}
        for name in data:
            if name not in known:
                raise UserError("There is no such dataset setting", where=name, fix=f"Use one of {sorted(known)}")
        folders = tuple(Concept(**c) for c in data.get("folders", ()))
        return cls(**{**data, "folders": folders})
