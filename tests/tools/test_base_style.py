from __future__ import annotations

from dataclasses import replace

import pytest

from lib_lora.dataset.scan import scan
from lib_lora.errors import UserError
from lib_lora.tools.base_style import framed, training_config, unframed
from lib_lora.tools.made.drawing import generate_dataset
from lib_lora.tools.made.spec import PictureSpec, read_spec
from lib_lora.training.config import TrainConfig
from lib_lora.training.data import dataset_config


@pytest.fixture
def spec(small):
    return PictureSpec(("1girl, smile", "1boy, hat"), count=5, settings=small, seed=10)


def test_pictures_become_a_dataset_with_their_prompts(tiny_host, spec, tmp_path):
    folder = tmp_path / "base"
    made = list(generate_dataset(tiny_host, spec, folder))
    assert [m.done for m in made] == [1, 2, 3, 4, 5]
    like = TrainConfig(name="STYLE", data_dir="elsewhere", trigger="styled", resolution=64, bucket_step=8, rank=4)
    config = training_config("BASE", folder, like).check()
    assert (config.name, config.rank, config.trigger) == ("BASE", 4, "")
    found = scan(dataset_config(config))
    assert not found.problems
    assert sorted(item.caption for item in found.items) == ["1boy, hat"] * 2 + ["1girl, smile"] * 3
    assert "Seed: 14" in made[4].image.info["parameters"]


def test_a_second_start_makes_only_what_is_missing(tiny_host, spec, tmp_path):
    first = [m.path for m in generate_dataset(tiny_host, spec, tmp_path)]
    times = {path: path.stat().st_mtime_ns for path in first}
    first[1].unlink()
    again = {m.path: m.kept for m in generate_dataset(tiny_host, spec, tmp_path)}
    assert again == {path: path != first[1] for path in first}
    assert all(path.stat().st_mtime_ns == times[path] for path in first if path != first[1])


def test_other_settings_and_strange_folders_are_refused(tiny_host, spec, tmp_path):
    folder = tmp_path / "base"
    list(generate_dataset(tiny_host, replace(spec, count=1), folder))
    with pytest.raises(UserError) as error:
        next(generate_dataset(tiny_host, spec, folder))
    assert error.value.where == str(folder)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".0123456789ab.part").touch()  # all that is left of a process that died in its first write
    assert next(generate_dataset(tiny_host, replace(spec, count=1), tmp_path / "killed")).done == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.png").touch()
    with pytest.raises(UserError):
        next(generate_dataset(tiny_host, spec, tmp_path / "mine"))


@pytest.mark.parametrize("framings", [["full_body", "face_focus"], ["sitting"], []])
def test_prompts_are_subjects_in_framings(framings):
    prompts = framed(["1girl, solo", "1boy"], framings)
    assert len(prompts) == 2 * max(1, len(framings))
    subjects, found = unframed(prompts)
    assert subjects == ["1girl, solo", "1boy"] and sorted(found) == sorted(framings)
    assert set(framed(subjects, found)) == set(prompts)


def test_the_record_says_what_the_pictures_are_made_with(tiny_host, spec, tmp_path):
    assert read_spec(tmp_path) is None
    next(generate_dataset(tiny_host, spec, tmp_path))
    assert read_spec(tmp_path) == ("tiny", spec)


@pytest.mark.parametrize("change", [{"prompts": ()}, {"prompts": (" ",)}, {"count": 0}])
def test_empty_specs_are_named(spec, change):
    with pytest.raises(UserError) as error:
        replace(spec, **change).requests()
    assert error.value.where in change
