"""The HTTP API on the standalone host: the whole job, plain errors, logins, and folders that stay closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from lib_lora.access import Access, confined
from lib_lora.adapters.container import open_container
from lib_lora.adapters.file import read_lora
from lib_lora.api.doors import DoorKeeper, Doors
from lib_lora.api.routes import PREFIX, add_api
from lib_lora.errors import UserError
from lib_lora.tools.grid_spec import Candidate, GridSpec
from lib_lora.training.config import PATH_SETTINGS, TrainConfig, settings
from lib_lora.workbench import Workbench


class Caller:
    """A program that talks to the API."""

    def __init__(self, workbench: Workbench, access: Access, app: FastAPI | None = None):
        self.workbench = workbench
        self.app = app or FastAPI()
        add_api(self.app, workbench, access)
        self.client = TestClient(self.app)

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(f"{PREFIX}/{path}", **options)

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(f"{PREFIX}/{path}", json=body)

    def finished(self, answer: Any) -> dict[str, Any]:
        """The job that an answer started, after its end."""
        assert answer.status_code == 200, answer.text
        job = answer.json()["id"]
        self.workbench.queue.wait(job, timeout=120)
        return self.get(f"jobs/{job}").json()


@pytest.fixture
def workbench(tiny_host) -> Workbench:
    return Workbench(tiny_host)


@pytest.fixture
def caller(workbench: Workbench) -> Caller:
    return Caller(workbench, Access())


@pytest.fixture
def images(workbench: Workbench) -> Path:
    folder = workbench.host.paths.data / "sets" / "mira"
    folder.mkdir(parents=True)
    Image.new("RGB", (64, 64), "firebrick").save(folder / "a.png")
    (folder / "a.txt").write_text("mira, 1girl", encoding="utf-8")
    return folder


def small(images: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "mira", "data_dir": str(images), "trigger": "mira", "epochs": 2, "resolution": 64, "bucket_step": 8,
        "rank": 2, "batch_size": 1, **changes,
    }  # fmt: skip


def test_the_whole_job(caller: Caller, images: Path) -> None:
    trained = caller.finished(caller.post("start", settings=small(images)))
    assert trained["state"] == "done" and Path(trained["result"]).name == "mira.safetensors"
    (line,) = caller.get("runs").json()["runs"]
    assert (line["id"], line["name"], line["status"]) == (trained["run"], "mira", "finished")
    details = caller.get(f"runs/{line['id']}").json()
    assert details["settings"]["rank"] == 2 and [e["epoch"] for e in details["epochs"]] == [1, 2]

    wanted = {"run": line["id"], "epochs": [2], "weights": [0.5, 1], "width": 64, "height": 64, "steps": 1}
    grid = caller.finished(caller.post("grid", **wanted))
    assert grid["state"] == "done" and Path(grid["result"]).is_file() and grid["done"] == 2

    merged = caller.finished(caller.post("merge", formula="mira:1,mira-000001:-0.5", rank=2, save="both"))
    assert merged["result"]["saved"] == "both.safetensors" and merged["result"]["rank"] == 2
    caller.finished(caller.post("merge", formula="mira:1", program="diffusers", energy=0.999, base="tiny", save="d"))
    names = open_container(caller.workbench.lora_path("d")).entries
    assert names and all(name.startswith(("unet.", "text_encoder.")) for name in names)
    assert read_lora(caller.workbench.lora_path("both")).modules

    assert caller.get("loras").json()["loras"] == ["both", "d", "mira", "mira-000001"]
    about = caller.get("loras/mira").json()
    assert (about["trigger"], about["path"], about["ranks"]) == ("mira", "mira.safetensors", {"2": about["layers"]})
    sent = caller.post("publish", lora="mira", licence="cc-by-4.0", zip=True).json()
    assert sent["published"] == "mira.zip" and sent["pictures"] == 0  # no sample, and nothing was chosen in the grid
    assert (caller.workbench.runs.open(line["id"]).folder / "published.json").is_file()

    status = caller.get("status").json()
    assert [job["kind"] for job in status["jobs"]] == ["train", "grid", "api merge", "api merge"] and status[
        "current"
    ] is None
    assert status["model"]["family"] == "sd1" and status["read_only"] is False


def test_stop_ends_a_training_and_saves(caller: Caller, images: Path) -> None:
    caller.post("start", settings=small(images, epochs=1000))
    queue = caller.workbench.queue
    while queue.view(1).phase != "training":
        queue.wait(1, timeout=0.05)
    assert caller.finished(caller.post("stop", save=True))["state"] == "stopped"
    assert caller.workbench.list_loras()
    assert caller.post("stop").json()["error"]["what"] == "Nothing is running"


def test_a_preset_is_the_base_of_the_settings(caller: Caller, images: Path) -> None:
    answer = caller.post("start", settings=small(images), preset="Style · SD1.5").json()
    config = caller.workbench.runs.open(answer["run"]).config()
    assert (config.noise_offset, config.rank) == (0.1, 2)
    caller.workbench.queue.cancel(answer["id"])
    caller.workbench.queue.wait(answer["id"], timeout=60)


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("start", {}, "settings"),
        ("start", {"settings": {"nme": "x"}}, "settings"),
        ("start", {"settings": {"name": "x", "data_dir": "x", "epochs": "ten"}}, "epochs"),
        ("grid", {"run": "../mira"}, "../mira"),
        ("grid", {"run": "x", "weights": [True]}, "x"),
        ("merge", {"formula": "mira"}, ""),
        ("merge", {"formula": 3}, "formula"),
        ("merge", {"formula": "a:1", "save": "../../evil"}, "name"),
        ("merge", {"formula": "a:1", "overwrite": True}, "overwrite"),
        ("merge", {"formula": "a:1", "program": "paint"}, "program"),
        ("merge", {"formula": "a:1", "base": "../other"}, "../other"),
        ("merge", {"formula": "a:1", "energy": 2}, "energy"),
        ("publish", {"lora": "x", "weight": "1"}, "weight"),
    ],
)
def test_mistakes_are_named(caller: Caller, path: str, body: dict[str, Any], where: str) -> None:
    answer = caller.post(path, **body)
    if answer.status_code == 200:  # what only the work itself can find out
        job = caller.finished(answer)
        assert job["state"] == "failed" and job["error"]["what"]
        return
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["what"] and error["where"] == where


@pytest.mark.parametrize("name", PATH_SETTINGS)
def test_folders_outside_are_closed(caller: Caller, images: Path, tmp_path: Path, name: str) -> None:
    for outside in (tmp_path, images / ".." / ".." / "..", Path("/etc/passwd")):
        error = caller.post("start", settings=small(images, te_lr=0, **{name: str(outside)})).json()["error"]
        assert error["where"] == name and "may not be used" in error["what"]
    assert not caller.workbench.queue.jobs()


def test_every_folder_setting_is_confined() -> None:
    assert {name for name in settings() if name.endswith(("_dir", "_folder", "_path"))} <= set(PATH_SETTINGS)


def test_links_do_not_lead_outside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir(), outside.mkdir()
    (inside / "link").symlink_to(outside)
    assert confined(inside / "x", [inside], "data_dir") == inside / "x"
    with pytest.raises(Exception, match="may not be used"):
        confined(inside / "link", [inside], "data_dir")


def test_read_only_can_be_looked_at(workbench: Workbench, images: Path) -> None:
    caller = Caller(workbench, Access(read_only=True))
    assert caller.get("status").json()["read_only"] is True
    for path in ("start", "stop", "grid", "merge", "publish"):
        answer = caller.post(path, settings=small(images))
        assert answer.status_code == 403 and "--enable-insecure-extension-access" in answer.json()["error"]["fix"]
    assert not workbench.queue.jobs()


def test_without_api_there_are_no_routes(workbench: Workbench) -> None:
    assert Caller(workbench, Access(api=False)).get("status").status_code == 404


def test_api_auth_asks_for_its_own_login(workbench: Workbench) -> None:
    app = FastAPI()
    app.auth, app.tokens = {"page": "page"}, {"cookie": "page"}
    caller = Caller(workbench, Access(credentials={"anna": "sëcret"}), app)
    assert caller.get("status").status_code == 401
    assert caller.get("status").headers["www-authenticate"] == "Basic"
    for wrong in (("anna", "x"), ("", ""), ("page", "page")):
        assert caller.get("status", auth=wrong).status_code == 401
    assert caller.get("status", headers={"Authorization": "Basic !"}).status_code == 401
    assert caller.get("status", cookies={"access-token": "cookie"}).status_code == 401
    good = {"Authorization": "Basic YW5uYTpzw6tjcmV0"}
    assert caller.get("status", headers=good).status_code == 200


def test_gradio_auth_counts_where_the_api_has_none(workbench: Workbench) -> None:
    app = FastAPI()
    app.auth, app.tokens = {"page": "word"}, {"cookie": "page"}
    caller = Caller(workbench, Access(), app)
    assert caller.get("status").status_code == 401
    assert caller.post("stop").status_code == 401
    assert caller.get("status", auth=("page", "word")).status_code == 200
    assert caller.get("status", cookies={"access-token-unsecure-XY": "stale"}).status_code == 401
    assert caller.get("status", cookies={"access-token-unsecure-XY": "cookie"}).status_code == 200


TYPES = (
    {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": ""},
    {},
)
FOREIGN = (
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://testserver.evil.example"},
    {"origin": "http://testserver:81"},
    {"sec-fetch-site": "cross-site"},
    {"host": "evil.example"},
    {"host": "evil.example:7861", "origin": "http://evil.example:7861"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "localhost.evil.example"},
)


@pytest.mark.parametrize("types", TYPES)
def test_only_json_changes_anything(caller: Caller, types: dict[str, str]) -> None:
    for path in ("start", "stop", "grid", "merge", "publish"):
        for body in (b'{"formula": "a:1"}', b""):
            assert caller.client.post(f"{PREFIX}/{path}", content=body, headers=types).status_code == 415
    assert not caller.workbench.queue.jobs()


@pytest.mark.parametrize("headers", FOREIGN)
def test_other_sites_start_stop_and_read_nothing(caller: Caller, headers: dict[str, str]) -> None:
    assert caller.get("status", headers=headers).status_code == 403
    for path in ("start", "stop", "grid", "merge", "publish"):
        answer = caller.client.post(f"{PREFIX}/{path}", json={"formula": "a:1"}, headers=headers)
        assert answer.status_code == 403
    assert not caller.workbench.queue.jobs()


@pytest.mark.parametrize("host", ["localhost:7861", "127.0.0.1:7861", "[::1]:7861", "10.0.0.5", "mypc", "MyPC.local"])
def test_names_of_ones_own_are_let_in(caller: Caller, host: str) -> None:
    assert caller.get("status", headers={"host": host, "origin": f"http://{host}"}).status_code == 200
    answer = caller.get("status", headers={"host": host})
    assert answer.status_code == 200 and answer.headers["x-frame-options"] == "DENY"


def test_names_and_sites_that_the_user_trusts(workbench: Workbench) -> None:
    access = Access(
        names=("train.example.org",), origins=("https://tool.example.org",), origin_pattern=r"https://\w+\.test"
    )
    caller = Caller(workbench, access)
    for headers, status in (
        ({"host": "train.example.org"}, 200),
        ({"host": "train.example.org.evil.example"}, 403),
        ({"origin": "https://tool.example.org"}, 200),
        ({"origin": "https://tool.example.org.evil.example"}, 403),
        ({"origin": "https://a.test"}, 200),
        ({"origin": "https://a.test.evil.example"}, 403),
    ):
        assert caller.get("status", headers=headers).status_code == status, headers


def test_a_login_stands_for_the_name(workbench: Workbench) -> None:
    caller = Caller(workbench, Access(credentials={"anna": "x"}))
    assert caller.get("status", headers={"host": "cloud.example.org"}).status_code == 401
    assert caller.get("status", headers={"host": "cloud.example.org"}, auth=("anna", "x")).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[1]", 400),
        (b"{", 400),
        (b'{"job": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 100_000, 400),
        (b" " * 2_000_000, 413),
    ],
    ids=["list", "cut off", "5,000 digits", "deep", "long"],
)
def test_a_body_that_is_none(caller: Caller, body: bytes, status: int) -> None:
    answer = caller.client.post(f"{PREFIX}/stop", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status and answer.json()["error"]["where"] == "body"


def test_our_own_server_is_closed_to_other_sites(workbench: Workbench) -> None:
    """Also what gradio serves there; other sites may link to the page, and not frame it."""
    app = FastAPI()
    calls = []
    for path in ("/", "/run/predict", "/upload", "/file"):
        app.add_api_route(path, lambda: calls.append(1), methods=["GET", "POST"])
    client = TestClient(DoorKeeper(app, Doors(names=("127.0.0.1",))))
    for headers in FOREIGN:
        for path in ("/run/predict", "/upload"):
            assert client.post(path, headers=headers).status_code == 403
        assert client.get("/file", headers=headers).status_code == 403
    assert client.post("/upload", headers={"referer": "https://evil.example/x"}).status_code == 403
    assert not calls
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers={**link, "sec-fetch-mode": "no-cors"}).status_code == 403
    assert client.post("/run/predict", headers={"origin": "http://testserver"}).headers["x-frame-options"] == "DENY"
    assert "frame-ancestors" in client.get("/").headers["content-security-policy"]


HUGE = int("9" * 400)


@pytest.mark.parametrize(
    ("entry", "value", "where"),
    [
        ("width", 10**9, "width"), ("height", HUGE, "height"), ("height", -1, "height"), ("steps", 10**12, "steps"),
        ("steps", 0, "steps"), ("cfg", HUGE, "cfg"), ("cfg", 1e300, "cfg"), ("clip_skip", 99, "clip_skip"),
        ("seeds", [HUGE], "seeds"), ("seeds", [-1], "seeds"), ("seeds", list(range(2000)), "seeds"),
        ("weights", [1e30], "weights"), ("weights", [HUGE], "weights"), ("prompts", ["a" * 100_000], "prompts"),
        ("prompts", ["a\0"], "prompts"), ("negative", "n" * 100_000, "negative"), ("epochs", [HUGE], "epochs"),
        ("run", "x" * 300, "x" * 300), ("run", "a\0", "run"), ("x" * 5000, 1, "x" * 60),
    ],
)  # fmt: skip
def test_a_grid_without_bounds_is_refused(caller: Caller, images: Path, entry: str, value: Any, where: str) -> None:
    run = caller.workbench.runs.create(TrainConfig(name="mira", data_dir=str(images)))
    lora = caller.workbench.host.paths.loras / "mira.safetensors"
    lora.parent.mkdir(exist_ok=True)
    lora.touch()
    run.add_epoch({"epoch": 1, "step": 1, "running_loss": 1.0, "lora_path": str(lora)})
    wanted = {"run": run.id, "prompts": ["mira"], entry: value}
    answer = caller.post("grid", **wanted)
    assert answer.status_code == 400 and answer.json()["error"]["where"] == where, answer.text
    assert not caller.workbench.queue.jobs()


def test_all_combinations_are_counted_before_any_is_made(caller: Caller, images: Path) -> None:
    files = tuple(Candidate(str(number), images) for number in range(900))
    spec = GridSpec(files, tuple(range(900)), tuple(map(str, range(900))))
    with pytest.raises(UserError, match="729,000,000 images"):
        spec.check()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", HUGE), ("rank", HUGE), ("unet_lr", HUGE), ("resolution", 10**9), ("seed", HUGE), ("name", "x" * 300),
        ("name", "é" * 100), ("name", "NUL"), ("name", "com1.x"), ("name", "a\0"), ("trigger", "x" * 100_000),
        ("data_dir", "a\0b"), ("data_dir", "x" * 300), ("data_dir", "/".join(["y" * 200] * 30)),
        ("sample_prompts", "p" * 1_000_000),
    ],
)  # fmt: skip
def test_settings_without_bounds_are_refused_by_name(caller: Caller, images: Path, name: str, value: Any) -> None:
    answer = caller.post("start", settings=small(images, **{name: value}))
    assert answer.status_code == 400 and answer.json()["error"]["where"] == name, answer.text
    assert not caller.workbench.runs.list()


@pytest.mark.parametrize(
    ("body", "where"),
    [({"formula": "a:1," * 9000 + "a:1"}, "formula"), ({"formula": "a:1", "rank": HUGE}, "rank"),
     ({"formula": "a:1", "rank": -1}, "rank"), ({"formula": "a:1", "save": "x" * 300}, "name"),
     ({"formula": "a:1", "save": "aux"}, "name"), ({"formula": "a:1\0"}, "formula")],
)  # fmt: skip
def test_a_merge_without_bounds_is_refused(caller: Caller, body: dict[str, Any], where: str) -> None:
    answer = caller.post("merge", **body)
    assert answer.status_code == 400 and answer.json()["error"]["where"] == where, answer.text
    assert not caller.workbench.queue.jobs()


@pytest.mark.parametrize("job", ["9" * 30, "9" * 5000, "-1", "x", "%00"])
def test_a_job_that_cannot_be(caller: Caller, job: str) -> None:
    assert 400 <= caller.get(f"jobs/{job}").status_code < 500
    assert 400 <= caller.get(f"runs/{job}").status_code < 500
