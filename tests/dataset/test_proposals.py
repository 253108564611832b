"""What a folder proposes for a training."""

from __future__ import annotations

from pathlib import Path

from lib_lora.dataset.proposals import propose


def captioned(folder: Path, *captions: str) -> Path:
    folder.mkdir(parents=True)
    for number, caption in enumerate(captions):
        (folder / f"{number:02}.txt").write_text(caption, encoding="utf-8")
    return folder


def test_the_trigger_is_in_the_folders_name_or_first_in_every_caption(tmp_path: Path) -> None:
    named = captioned(tmp_path / "a" / "10_mira girl", "1girl, smile", "1girl, hat")
    assert propose(named.parent).trigger == propose(named).trigger == "mira"
    assert propose(captioned(tmp_path / "b", "rin, smile", "rin, hat")).trigger == "rin"
    assert propose(captioned(tmp_path / "c", "1girl, smile", "1girl, hat")).trigger == ""  # a style
    assert propose(captioned(tmp_path / "d", "rin, smile", "hat")).trigger == ""
    two = captioned(tmp_path / "e" / "10_mira", "x").parent
    captioned(two / "5_rin", "y")
    assert propose(two).trigger == "" and propose(two).name == "e"


def test_prompts_come_from_different_captions_with_the_trigger_in_front(tmp_path: Path) -> None:
    folder = captioned(tmp_path / "my set!", "smile, hat", "rin, standing --w 9", "(a)", "b\nsecond line")
    found = propose(folder, "rin", lambda text: text.replace("(", r"\("))
    assert found.prompts.splitlines() == ["rin, standing w 9", "rin, b"] and found.name == "rin"
    assert propose(captioned(tmp_path / "none"), "rin").prompts == "rin"
    assert propose(captioned(tmp_path / "my style!")).name == "my-style"
    assert propose(tmp_path / "nowhere").prompts == ""
    (folder / ".rejected").mkdir()
    (folder / ".rejected" / "00.txt").write_text("zzz")
    assert "zzz" not in propose(folder, "rin").prompts
