from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lib_lora.models.base import HostPaths
from lib_lora.ui import html
from lib_lora.ui.files import Pictures


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(HostPaths(tmp_path / "loras", tmp_path / "models", tmp_path / "runs", tmp_path / "data"))


def test_a_picture_is_found_again_by_its_address(pictures: Pictures, tmp_path: Path) -> None:
    picture = tmp_path / "runs" / "one" / "samples" / "größe 1.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"x")
    assert pictures.url(picture).startswith("lora_workbench/image/runs/one/samples/gr%C3%B6%C3%9Fe%201.png?v=")
    assert pictures.find("runs", "one/samples/größe 1.png") == picture.resolve()


def test_nothing_else_is_given_out(pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("secret.png", "runs/config.toml"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert pictures.find("runs", "../secret.png") is None
    assert pictures.find("runs", str(tmp_path / "secret.png")) is None
    assert pictures.find("runs", "config.toml") is None
    assert pictures.find("loras", "x.png") is None
    with pytest.raises(ValueError, match="not below"):
        pictures.url(tmp_path / "secret.png")


def test_the_walk_throughs_are_given_out_and_no_other_text(pictures: Pictures) -> None:
    app = FastAPI()
    pictures.serve_on(app)
    client = TestClient(app)
    names = re.findall(r'href="([^"]+)"', html.guides("character", "likeness", "style", "two-subjects"))
    answers = [client.get(f"/{name}") for name in names]
    assert len(answers) == 4 and all("Walk-through" in answer.text for answer in answers)
    assert "claims, measured" in client.get(f"/lora_workbench/guide/{html.TRUTH}").text
    for name in ("x", "merge", "..%2Fmerge", "style.md", "%2e%2e/merge"):
        assert client.get(f"/lora_workbench/guide/{name}").status_code == 404
