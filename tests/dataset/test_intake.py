"""Uploaded files become a set: names kept, nothing overwritten, nothing outside."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lib_lora.dataset import intake
from lib_lora.dataset.intake import Intake, safe_parts
from lib_lora.errors import UserError


def put(into: Intake, path: str, content: bytes) -> None:
    part = into.part()
    part.write_bytes(content)
    if into.wanted(path):
        into.put(path, part)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("../../etc/1.png", ["etc", "1.png"]),
        (r"..\..\C:\x\1.png", ["C_", "x", "1.png"]),
        ("/a//b/./1.png", ["a", "b", "1.png"]),
        ("con/nul.png", ["_con", "_nul.png"]),
        ("10_mira/ä ö.png ", ["10_mira", "ä ö.png"]),
        (".git/1.png", []),
        ("__MACOSX/1.png", []),
    ],
)
def test_no_name_leads_out(path: str, parts: list[str]) -> None:
    assert safe_parts(path) == parts


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    first = Intake(tmp_path, "mira")
    for content in (b"1", b"1", b"2"):
        put(first, "10_mira/a.png", content)
    put(first, "a.exe", b"x")
    assert first.folder == tmp_path / "mira" and first.taken.left_out == 1
    next(first.folder.glob(".upload-*.part")).unlink()
    assert files(first.folder) == {"10_mira/a.png": b"1", "10_mira/a-2.png": b"2"}
    second = Intake(tmp_path, "mira")
    put(second, "a.png", b"3")
    assert second.folder == tmp_path / "mira-2" and Intake(tmp_path, "../..").folder.parent == tmp_path


def test_files_that_arrive_at_once_do_not_share_a_place(tmp_path: Path) -> None:
    one, other = Intake(tmp_path, "mira"), Intake(tmp_path, "mira")
    assert one.folder != other.folder  # two pages drop a folder of one name
    parts = [one.part() for _ in range(3)]  # before any of them is written
    for number, part in enumerate(parts):
        part.write_bytes(bytes([number]))
    for number, part in enumerate(parts):
        one.put(f"{number}.png", part)
    assert files(one.folder) == {f"{number}.png": bytes([number]) for number in range(3)}


def test_a_zip_is_unpacked_into_the_set_and_nowhere_else(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("../out.png", "10_mira/1.png", "10_mira/1.txt", "run.py", "deeper.zip"):
            file.writestr(name, name)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    into = Intake(tmp_path / "sets", "x")
    into.put("x.zip", archive)
    assert set(files(into.folder)) == {"out.png", "10_mira/1.png", "10_mira/1.txt"} and not archive.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["sets"]


def test_too_much_and_broken_zips_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    into = Intake(tmp_path / "sets", "x")
    with pytest.raises(UserError, match="cannot be read"):
        broken = into.part()
        broken.write_bytes(b"PK\x03\x04 no zip")
        into.put("x.zip", broken)
    monkeypatch.setattr(intake, "LARGEST_FILE", 1000)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("1.png", b"0" * 100_000)
    with pytest.raises(UserError, match="larger than"):
        into.put("bomb.zip", bomb)
    monkeypatch.setattr(intake, "MOST_FILES", 1)
    put(into, "1.png", b"1")
    with pytest.raises(UserError, match="at most"):
        put(into, "2.png", b"2")
    assert set(files(into.folder)) == {"1.png"}
