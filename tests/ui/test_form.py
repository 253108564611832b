from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import gradio as gr
import pytest

from lib_lora.access import Access, guarded, looks, under
from lib_lora.errors import UserError
from lib_lora.training.config import TrainConfig, settings
from lib_lora.ui import form
from lib_lora.ui.form import SettingsForm


@pytest.fixture
def built() -> SettingsForm:
    made = SettingsForm()
    with gr.Blocks():
        for name in form.BASIC:
            made.basic(name, TrainConfig())
        made.more(TrainConfig())
    return made


def test_every_setting_has_a_field_and_comes_back(built: SettingsForm) -> None:
    assert set(built.fields) == set(settings()) - set(form.FROM_HOST)
    config = TrainConfig(name="mira", data_dir="x", epochs=3, unet_lr=1e-4, flip=True, sample_prompts="a\nb")
    assert built.config(built.values(config)) == config


def test_labels_and_ids_are_unique(built: SettingsForm) -> None:
    labels = [field.label for field in built.inputs]
    assert len(set(labels)) == len(labels)
    assert len({field.elem_id for field in built.inputs}) == len(labels)


def test_numbers_from_the_page_get_the_settings_type(built: SettingsForm) -> None:
    values = dict(zip(built.names, built.values(TrainConfig()), strict=True)) | {
        "rank": 4.0,
        "alpha": 4,
        "name": " mira ",
    }
    config = built.config(list(values.values()))
    assert (config.rank, config.alpha, config.name) == (4, 4.0, "mira")
    assert type(config.rank) is int
    assert type(config.alpha) is float


def test_an_empty_number_is_named(built: SettingsForm) -> None:
    values = dict(zip(built.names, built.values(TrainConfig()), strict=True)) | {"rank": None}
    with pytest.raises(UserError, match="Rank is empty") as error:
        built.config(list(values.values()))
    assert error.value.where == "rank"


def test_what_is_to_be_whole_is_not_cut(built: SettingsForm) -> None:
    values = dict(zip(built.names, built.values(TrainConfig()), strict=True)) | {"epochs": 2.5}
    with pytest.raises(UserError, match=r"Epochs must be a whole number, not 2\.5") as error:
        built.config(list(values.values()))
    assert (error.value.where, error.value.fix) == ("epochs", "Use 2 or 3")


@pytest.mark.parametrize("name", ["unet_lr", "epochs", "seed"])
def test_a_number_beyond_all_bounds_is_refused_as_any_other_that_is_too_large(
    built: SettingsForm, name: str, tmp_path: Path
) -> None:
    """1e20 was told to be 1e15 at most, and that was refused then."""

    def told(value: float) -> tuple[str, str | None]:
        (error,) = built.faults([value if each == name else old for each, old in zip(built.names, usable, strict=True)])
        return error.where, error.fix

    usable = built.values(TrainConfig(name="x", data_dir=str(tmp_path)))
    assert told(1e14) == told(1e20)


def test_changes_are_counted_and_marked() -> None:
    base = TrainConfig()
    differs = form.changed(base, asdict(base) | {"rank": 4, "name": "mira"})
    assert differs == {"rank": base.rank}
    assert "#lw_train_rank" in form.marks(differs)
    assert "1 changed" in form.marks(differs) and "#lw_train_rank { overflow: visible !important; }" in form.marks(
        differs
    )


def test_a_mistake_is_shown_at_its_field() -> None:
    shown = form.fault(UserError('Not "this" </style>', where="rank", fix="Use 8"))
    assert shown.count("</style>") == 1
    assert "#lw_train_rank::after" in shown
    assert "height: auto !important" in shown and "white-space: normal" in shown  # it was cut in half
    assert form.fault(UserError("Elsewhere", where="C:/x.png")) == ""


def test_settings_are_found_by_kohyas_name() -> None:
    group = form.group_title(settings()["min_snr_gamma"].metadata["group"])
    assert f"{group} › Min-SNR gamma" in form.search("min_snr_gamma", {})
    assert 'data-lw-goto="lw_train_min_snr_gamma"' in form.search("min_snr_gamma", {})
    assert "Rank" in form.search("network_dim", {})
    assert 'guide/truth" target="_blank">claims tested</a>: min-snr<' in form.search("min_snr_gamma", {})
    assert "claims tested" not in form.search("clip_skip", {})
    assert "No setting" in form.search("qwertz", {})
    assert form.search("  ", {}) == ""


def test_all_faults_are_told_at_once_and_by_the_fields_labels(built: SettingsForm, tmp_path: Path) -> None:
    values = dict(zip(built.names, built.values(TrainConfig()), strict=True)) | {"epochs": 2.5, "resolution": 500}
    found = built.faults(list(values.values()))
    assert {form.field_of(error) for error in found} == {"epochs", "name", "data_dir", "resolution"}
    assert "data_dir" not in {form.in_words(error).where for error in found}
    assert built.faults(built.values(TrainConfig(name="mira", data_dir=str(tmp_path)))) == []
    gone = TrainConfig(name="", data_dir=str(tmp_path / "gone"), mask_dir=str(tmp_path / "masks"))
    assert {form.field_of(error) for error in built.faults(built.values(gone))} == {"name", "data_dir", "mask_dir"}


def test_a_pictures_path_in_the_place_of_a_folder_is_told_as_such(built: SettingsForm, tmp_path: Path) -> None:
    picture = tmp_path / "1.png"
    picture.touch()
    given = TrainConfig(name="mira", data_dir=str(picture), mask_dir=str(picture), reg_dir=str(tmp_path / "gone"))
    told = {form.field_of(error): (error.what, error.fix) for error in built.faults(built.values(given))}
    file = ("This is a file, not a folder", f"Use the folder it is in: {tmp_path}")
    assert told == {"data_dir": file, "mask_dir": file, "reg_dir": ("There is no such folder", "Check the path")}
    with under(Access(hide_paths=True, roots=(tmp_path / "host",))):  # who may not look there is told of no file
        outside = guarded(looks(lambda: built.faults(built.values(given))))
    assert {error.what for error in outside()} == {"There is no such folder"}


def test_settings_without_an_effect_are_hidden_and_the_search_says_when_they_have_one(built: SettingsForm) -> None:
    def hidden(prediction: str = "epsilon", **given: object) -> dict[str, str]:
        built._prediction = lambda: prediction
        values = dict(zip(built.names, built.values(TrainConfig()), strict=True)) | given
        return built.hidden(list(values.values()))

    plain = hidden()
    assert {"lokr_factor", "constraint", "flow_shift", "power", "mask_dir", "conv_alpha"} <= set(plain)
    assert not {"rank", "alpha", "dora", "tucker", "min_snr_gamma", "epochs", "min_lr"} & set(plain)
    assert {"lokr_factor", "lokr_full", "lokr_both"}.isdisjoint(hidden(algorithm="lokr"))
    assert {"alpha", "tucker", "dora", "nested_ranks"} <= set(hidden(algorithm="boft"))
    assert "constraint" not in hidden(algorithm="boft") and "rank" not in hidden(algorithm="boft")
    assert {"tlora_rank", "nearest_noise"} <= set(plain)  # until a measurement shows that they help
    assert {"tlora_rank", "nearest_noise"}.isdisjoint(hidden(tlora_rank=2, nearest_noise=4))
    flow = hidden("flow")
    assert "flow_shift" not in flow and {"min_snr_gamma", "noise_offset", "zero_terminal_snr"} <= set(flow)
    assert {"flow_shift", "min_snr_gamma"}.isdisjoint(hidden(""))  # no model: nothing is known
    assert "epochs" in hidden(max_steps=100.0)
    assert {"lokr_factor", "min_snr_gamma"}.isdisjoint(hidden("flow", lokr_factor=4, min_snr_gamma=1.0))
    assert "#lw_train_lokr_factor" in form.hiding(plain) and form.hiding({}) == ""
    found = form.search("lokr factor", plain)
    assert "Only with the algorithm lokr" in found and 'data-lw-goto="lw_train_lokr_factor"' not in found


def test_an_optimizer_that_is_not_in_the_list_can_be_typed() -> None:
    with gr.Blocks():
        assert form.component("optimizer", "AdamW").allow_custom_value
        assert not form.component("schedule", "cosine").allow_custom_value
