"""What lies in a folder and is not used as its owner may think: named alike by *Check* and in *Dataset*."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from lib_lora.dataset.problems import Problem
from lib_lora.dataset.sidecars import CAPTION_EXTENSIONS, FURTHER_EXTENSIONS, CaptionFiles

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".avif", ".jxl")
FOREIGN_EXTENSIONS = (
    ".gif", ".apng", ".tif", ".tiff", ".psd", ".psb", ".heic", ".heics", ".heif", ".hif", ".svg", ".svgz", ".ico",
    ".jp2", ".j2k", ".tga", ".kra", ".xcf", ".clip", ".ora", ".jpe", ".pjpeg", ".pjp", ".dib", ".ppm", ".pgm", ".pbm",
    ".pnm", ".pcx", ".dds", ".exr", ".hdr", ".qoi", ".flif", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf",
    ".rw2", ".eps", ".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v",
)  # fmt: skip
_KNOWN = (  # neither pictures nor worth a look
    *CAPTION_EXTENSIONS, *FURTHER_EXTENSIONS, ".json", ".jsonl", ".npz", ".npy", ".pt", ".csv", ".toml", ".yaml",
    ".yml", ".md", ".ini", ".db", ".xmp", ".log", ".zip", ".safetensors", ".html", ".py", ".url", ".lnk", ".part",
    ".tmp",
)  # fmt: skip
_MAGIC = ((b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF8", "GIF"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"),
          (b"8BPS", "PSD"), (b"\xff\x0a", "JPEG XL"), (b"\0\0\0\x0cJXL ", "JPEG XL"))  # fmt: skip
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}
SHOWN = 3


def odd_files(files: Sequence[Path], images: Sequence[Path], captions: CaptionFiles) -> Iterator[Problem]:
    """What is wrong with the names in one folder.

    Args:
        files: all that is visible in it. images: the pictures among them, masks left out.
    """
    yield from passed_over(files)
    yield from doubly_named(files, images, captions)
    yield from shared_captions(images, captions)


def passed_over(files: Sequence[Path]) -> Iterator[Problem]:
    """Pictures and films whose ending is not read, known by it or by their content."""
    for path in files:
        ending = path.suffix.lower()
        if ending in FOREIGN_EXTENSIONS:
            yield Problem(path, f"{path.suffix} files are not read", "Convert it to PNG or JPEG")
        elif ending not in (*IMAGE_EXTENSIONS, *_KNOWN) and (kind := _sniffed(path)):
            what = f"{path.suffix} files are not read" if ending else "files without an ending are not read"
            yield Problem(path, f"{what}, and this is a {kind} picture", "Give it the ending of its kind, such as .png")


def doubly_named(files: Sequence[Path], images: Sequence[Path], captions: CaptionFiles) -> Iterator[Problem]:
    """Captions named ``image.jpg.txt``, which no trainer reads."""
    names = {path.name.lower(): path for path in files}
    found = [
        path
        for image in images
        if captions.path(image) is None
        for ending in (*CAPTION_EXTENSIONS, *FURTHER_EXTENSIONS)
        if (path := names.get(f"{image.name}{ending}".lower())) is not None
    ]
    if found:
        first = found[0]
        right = Path(first.stem).stem + first.suffix
        reason = f"captions named like this one are not read in training ({len(found)} here: {_some(found)})"
        fix = f"Name it {right}, or in Dataset › Tags use “Write captions for training”"
        yield Problem(first, reason, fix, skipped=False)


def shared_captions(images: Sequence[Path], captions: CaptionFiles) -> Iterator[Problem]:
    """One caption file for several images, such as a.txt for a.png and a.jpg."""
    by_caption: dict[Path, list[Path]] = defaultdict(list)
    for image in images:
        if (path := captions.path(image)) is not None:
            by_caption[path].append(image)
    for path, sharing in by_caption.items():
        if len(sharing) > 1:
            reason = f"{len(sharing)} images share this caption file ({_some(sharing)})"
            yield Problem(path, reason, "Give them different names, and each a caption of its own", skipped=False)


def _sniffed(path: Path) -> str:
    """The format that the first bytes of a file show; "" for others and what cannot be read."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return ""
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return ""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "BMP"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "")
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def _some(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(path.name for path in paths[:SHOWN]) + more
