"""Optimizers by the dotted names of their classes: they go on after a stop to the bit, and nothing else is ever run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib_lora import access
from lib_lora.errors import UserError
from lib_lora.packages import OPTIMIZERS
from lib_lora.training import optimizer_classes
from lib_lora.training.averaging import Switched
from lib_lora.training.config import TrainConfig
from lib_lora.training.config_file import config_from_toml, config_to_toml
from lib_lora.training.importers.export import export_kohya
from lib_lora.training.importers.kohya import translate
from lib_lora.training.optimizers import needed_package, recipe_of
from tests.training.test_optimizers import assert_resumes
from tests.training.toy import Toy

BASE = TrainConfig(name="x", data_dir="y", unet_lr=1e-3, te_lr=1e-3, schedule="constant", weight_decay=0.01)
NESTING = '''
import torch

class Nesting(torch.optim.SGD):
    """Keeps the last two gradients in a list within a table, as some optimizers do."""

    def __init__(self, params, slow=0.5, **kwargs):
        super().__init__(params, **kwargs)
        for group in self.param_groups:
            group["slow"] = slow

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                last = self.state[p].setdefault("last", {"grads": []})["grads"]
                last.append(p.grad.clone())
                del last[:-2]
                p.sub_(sum(last), alpha=group["lr"] * group["slow"])

class NoOptimizer:
    pass
'''


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """A folder where packages are installed, with one in it."""
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "lw_nesting.py").write_text(NESTING, encoding="utf-8")
    monkeypatch.setattr(optimizer_classes, "_folders", lambda: [folder, Path(torch.__file__).parents[1]])
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "lw_nesting", raising=False)
    yield folder
    sys.modules.pop("lw_nesting", None)


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize(
    "name",
    [
        "torch.optim.RAdam",
        "torch.optim.NAdam",
        "torch.optim.Rprop",
        "pytorch_optimizer.CAME",
        "prodigyplus.ProdigyPlusScheduleFree",
    ],
)
def test_resume_is_bit_exact(name, ema, tmp_path):
    assert_resumes(replace(BASE, optimizer=name, ema_decay=ema).check(), tmp_path)


def test_what_lies_within_lists_and_tables_is_resumed_too(installed, tmp_path):
    config = replace(BASE, optimizer="lw_nesting.Nesting", optimizer_args="slow=0.25 momentum=0.5").check()
    assert Toy(config).optimizer.param_groups[0]["momentum"] == 0.5  # of the base, through **kwargs
    assert_resumes(config, tmp_path)


def test_settings_reach_the_class_and_what_it_does_not_know_does_not():
    group = Toy(replace(BASE, optimizer="torch.optim.RAdam", optimizer_args="eps=1e-7")).optimizer.param_groups[0]
    assert (group["betas"], group["weight_decay"], group["eps"]) == ((0.9, 0.99), 0.01, 1e-7)
    assert Toy(replace(BASE, optimizer="pytorch_optimizer.CAME")).optimizer.param_groups[0]["betas"] == (
        0.9,
        0.99,
        0.9999,
    )
    assert "betas" not in Toy(replace(BASE, optimizer="torch.optim.Rprop")).optimizer.param_groups[0]
    assert recipe_of("pytorch_optimizer.Prodigy").finds_rate and not recipe_of("torch.optim.RAdam").finds_rate
    assert isinstance(Toy(replace(BASE, optimizer="pytorch_optimizer.ScheduleFreeAdamW")).optimizer, Switched)
    assert needed_package("pytorch_optimizer.CAME") is OPTIMIZERS and needed_package("torch.optim.RAdam") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torch.optim.Radam", r"torch\.optim has no class Radam.*torch\.optim\.RAdam"),
        ("torch.optimum.RAdam", r"torch\.optimum cannot be imported \(ModuleNotFoundError"),
        ("no_such_package.Best", r"no_such_package\.Best needs the package no_such_package, which is not installed"),
        ("torch.nn.Linear", r"torch\.nn\.Linear is no optimizer"),
        ("torch.optim.Optimizer", "is no optimizer"),
        ("torch.optim.LBFGS", "needs a closure"),
        ("subprocess.Popen", "not installed"),
        ("lw_nesting.NoOptimizer", "is no optimizer"),
        ("torch.optim.__dict__", "does not know"),
        ("RAdam", "does not know 'RAdam'.*AdamW8bit"),
    ],
)
def test_what_cannot_be_used_is_refused_by_check(installed, name, said):
    with pytest.raises(UserError, match=said) as caught:
        replace(BASE, optimizer=name).check()
    assert caught.value.where == "optimizer"


@pytest.mark.parametrize("name", ["torch.optim.AdamW", "AdamW", "Prodigy", "torch.optim.RAdam"])
def test_arguments_that_the_optimizer_lacks_are_found_by_check(name):
    with pytest.raises(UserError, match=f"{name} has no argument 'warmup_init'.*It knows .*eps") as caught:
        replace(BASE, optimizer=name, optimizer_args="warmup_init=True").check()
    assert caught.value.where == "optimizer_args"
    with pytest.raises(UserError, match="refuses its settings"):
        replace(BASE, optimizer="torch.optim.RAdam", optimizer_args="eps=-1.0").check()


def test_no_file_of_another_folder_is_run(installed, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    evil = f"import torch\nopen({str(ran)!r}, 'w').close()\nclass Evil(torch.optim.SGD): pass\nNesting = Evil\n"
    data = tmp_path / "data"
    data.mkdir()
    for name in ("lw_evil", "lw_nesting"):  # the second hides an installed package
        (data / f"{name}.py").write_text(evil, encoding="utf-8")
    monkeypatch.chdir(data)
    monkeypatch.syspath_prepend("")
    with pytest.raises(UserError, match="needs the package lw_evil, which is not installed"):
        replace(BASE, optimizer="lw_evil.Evil").check()
    with pytest.raises(UserError, match="hides the installed package lw_nesting"):
        replace(BASE, optimizer="lw_nesting.Nesting").check()
    assert not ran.exists()


def test_who_may_not_train_imports_nothing(installed):
    check = access.looks(lambda: replace(BASE, optimizer="lw_nesting.Nesting").check())
    with access.under(access.Access(read_only=True)), pytest.raises(access.Refused):
        access.guarded(check)()
    assert "lw_nesting" not in sys.modules
    with access.under(access.Access(hide_paths=True)):
        access.guarded(check)()


def test_the_settings_file_and_kohyas():
    config = replace(BASE, optimizer="torch.optim.RAdam", optimizer_args="decoupled_weight_decay=True")
    assert config_from_toml(config_to_toml(config)) == config
    text = export_kohya(config).text
    assert 'optimizer_type = "torch.optim.RAdam"' in text and "decoupled_weight_decay=True" in text
    away = replace(BASE, optimizer="no_such_package.Best", optimizer_args="decouple=True")
    assert '"decouple=True"' in export_kohya(away).text and "Optimizer" not in " ".join(export_kohya(away).left_out)


@pytest.mark.parametrize(
    ("said", "ours"),
    [("torch.optim.RAdam", "torch.optim.RAdam"), ("RAdam", "torch.optim.RAdam"), ("prodigyopt.Prodigy", "Prodigy"),
     ("prodigyplus.ProdigyPlusScheduleFree", "prodigyplus.ProdigyPlusScheduleFree"),
     ("pytorch_optimizer.CAME", "CAME")],
)  # fmt: skip
def test_kohyas_names(said, ours):
    found = translate({"optimizer_type": said, "optimizer_args": ["eps=1e-07", "decouple=True"]})
    assert found.values["optimizer"] == ours and "eps=1e-07" in found.values["optimizer_args"]
    assert ("weight_decouple=True" in found.values["optimizer_args"]) == (ours in ("Prodigy", "CAME"))
