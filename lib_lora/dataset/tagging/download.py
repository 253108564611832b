"""The two files of a tagger from huggingface.co, for who asked for them by a click.

Which one: small enough for every card and CPU, and of the authors' third series (Apache 2.0).
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from lib_lora.dataset.tagging.labels import CSV_NAME, read_labels
from lib_lora.dataset.tagging.onnx_model import MODEL_NAME
from lib_lora.errors import UserError
from lib_lora.files import atomic_write

AUTHOR, NAME = "SmilingWolf", "wd-vit-tagger-v3"
MEGABYTES = 380
SITE = "https://huggingface.co"  # another one is named by HF_ENDPOINT, as for Hugging Face's own programs
PATIENCE = 30.0  # seconds without a byte
_LOADING = Lock()


def download_tagger(taggers: Path) -> str:
    """Put the tagger into a folder of ``taggers``; returns its name. What is there already is not fetched again.

    The labels come first, and the model gets its name when it is whole: a download that broke off is no tagger.

    Raises:
        UserError: the site cannot be reached or does not give the file, the download broke off, the disk is full, or
            another one is under way.
    """
    if not _LOADING.acquire(blocking=False):
        raise UserError("The tagger is being downloaded already", fix="Wait until it is there")
    try:
        folder = taggers / NAME
        if not (folder / CSV_NAME).is_file():
            _fetch(folder / CSV_NAME)
        try:
            if not read_labels(folder).rows:
                raise UserError("The list of tags is empty", where=folder / CSV_NAME, fix="Try again later")
        except UserError:
            (folder / CSV_NAME).unlink(missing_ok=True)
            raise
        if not (folder / MODEL_NAME).is_file():
            _fetch(folder / MODEL_NAME)
    finally:
        _LOADING.release()
    return NAME


def _fetch(path: Path) -> None:
    site = os.environ.get("HF_ENDPOINT", "").rstrip("/") or SITE
    url = f"{site}/{AUTHOR}/{NAME}/resolve/main/{path.name}"
    if not url.startswith(("https://", "http://")):
        raise UserError("This is no address of a site", where=f"HF_ENDPOINT={site}", fix=f"Give one such as {SITE}")
    by_hand = f"Try again, or put {MODEL_NAME} and {CSV_NAME} of a tagger into {path.parent} yourself"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            _write(answer, int(answer.headers.get("Content-Length") or 0), path)
    except urllib.error.HTTPError as error:
        raise UserError(f"{site} does not give the file (it answers {error.code})", where=url, fix=by_hand) from error
    except (HTTPException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of the disk
        raise UserError(f"{site} cannot be reached, or broke off ({_reason(error)})", where=url, fix=by_hand) from error


def _write(answer: BinaryIO, size: int, path: Path) -> None:
    with atomic_write(path) as part:
        with open(part, "wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
            came = file.tell()
        if size and came != size:
            raise HTTPException(f"{came:,} of {size:,} bytes came")
        if path.name == MODEL_NAME and not _begins_as_model(part):
            raise HTTPException("what came is no model; a page of your network's, perhaps")


def _begins_as_model(path: Path) -> bool:
    """Whether the first field is the format's version, as in every ONNX file."""
    with open(path, "rb") as file:
        return file.read(1) == b"\x08"


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or error or type(error).__name__)
