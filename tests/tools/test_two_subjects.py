from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.editor import DatasetEditor
from lib_lora.dataset.pictures.composite_captions import PLACES, with_sides
from lib_lora.dataset.pictures.composites import CompositeOptions
from lib_lora.dataset.scan import scan
from lib_lora.tools.two_subjects import (
    APART,
    in_small,
    joint_config,
    places_configs,
    plan_joint,
    plan_stages,
    stage_configs,
)
from lib_lora.training.data import dataset_config
from lib_lora.training.presets import MINIATURE, preset

SUBJECTS = ("mira", "rin")


def opened(tmp_path):
    root = tmp_path / "set"
    for subject, width in zip(SUBJECTS, (32, 48), strict=True):
        folder = root / f"2_{subject}"
        folder.mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (width, 64), (number * 20, width, 90)).save(folder / f"{subject}{number}.png")
            (folder / f"{subject}{number}.txt").write_text(f"{subject}, smile", encoding="utf-8")
    editor = DatasetEditor([root], tmp_path / "cache")
    return root, editor, {s: [p for p in editor.pictures if s in p.tags] for s in SUBJECTS}


def folders(root):
    found = scan(DatasetConfig((Concept(root),), resolution=64, bucket_step=16))
    return {concept.path.name: sum(i.concept == concept for i in found.items) for concept in found.concepts}


def test_one_run_over_singles_and_composites(tmp_path):
    root, editor, subjects = opened(tmp_path)
    editor.apply(plan_joint(subjects, root, CompositeOptions(share=0.25)))
    assert folders(root) == {"1_composites": 4, "2_mira": 6, "2_rin": 6}
    config = joint_config("duo", root, epochs=2)
    assert (config.name, config.data_dir, config.epochs, config.algorithm) == ("duo", str(root), 2, "loha")


def test_places_first_is_two_runs_over_the_same_pictures(tmp_path):
    root, editor, subjects = opened(tmp_path)
    editor.apply(plan_joint(subjects, root, CompositeOptions(share=0.5, template=with_sides(2))))
    captions = [path.read_text(encoding="utf-8") for path in (root / "1_composites").glob("*.txt")]
    asked = {("mira left", "rin right"), ("rin left", "mira right")}
    assert len(captions) == 12 and {tuple(text.split(", ")[:2]) for text in captions} == asked
    runs = places_configs("duo", root, epochs=3)
    assert (runs.first.name, runs.second.name, runs.second.start_from) == ("duo-places", "duo", "duo-places")
    assert runs.first.data_dir == runs.second.data_dir == str(root)
    assert (runs.first.min_timestep, runs.second.min_timestep) == (800, 500)
    for run in (runs.first, runs.second):
        assert run.no_upscale  # a figure is as large alone as among others
    assert (runs.first.algorithm, runs.first.rank) == (runs.second.algorithm, runs.second.rank)


def test_on_the_miniature_every_picture_keeps_its_size(tmp_path):
    """Composites were shrunk to 128 px, and buckets of 64 px would cut off what is 96 px wide."""
    for name, size in (("1_mira", (96, 128)), ("1_composites", (288, 128))):
        (tmp_path / name).mkdir()
        Image.new("RGB", size).save(tmp_path / name / "a.png")
    runs = places_configs("trio", tmp_path)
    for config, part in ((runs.first, 1.0), (runs.second, 0.7)):
        small = in_small(config, preset(MINIATURE).values, tmp_path / "1_composites")
        found = scan(dataset_config(small)).items
        assert sorted(item.bucket for item in found) == [(96, 128), (288, 128)]
        assert (small.unet_lr, small.te_lr) == pytest.approx((6e-3, part * 6e-3))
        assert (small.min_timestep, small.keep_tokens, small.rank) == (config.min_timestep, 3, 16)


def test_composites_made_again_take_the_place_of_the_first(tmp_path):
    """They were planned over them, and refused when they were to be made."""
    root, editor, subjects = opened(tmp_path)
    for way, share in ((plan_joint, 0.25), (plan_joint, 0.5), (plan_stages, 0.25), (plan_stages, 0.5)):
        editor.apply(way(subjects, root, CompositeOptions(share=share)))
    made = {path.name: sum(p.suffix == ".png" for p in path.iterdir()) for path in root.rglob("1_composites")}
    assert folders(root)["1_composites"] == folders(root / APART)["1_composites"] == 12, made
    aside = sorted(path.parent.name for path in (root / ".originals").rglob("composite-00001.txt"))
    assert len(aside) == 2
    assert plan_joint(subjects, root, CompositeOptions()).notes == ("12 pictures that were made before are set aside",)
    for _ in range(4):
        editor.undo()
    assert folders(root) == {"2_mira": 6, "2_rin": 6}


def test_three_subjects_have_a_middle():
    assert with_sides(3).startswith("CharLeft left, CharMiddle middle, CharRight right, People, TagsLeft")


@pytest.mark.parametrize("people", PLACES)
def test_shuffling_leaves_the_names_in_the_order_of_the_places(people):
    """The third one was shuffled among the other tags."""
    filled = with_sides(people).replace("Char", "name ").replace("Tags", "tags of ")
    named = filled.split(", ")[:people]
    for config in vars(places_configs("trio", Path("set"), shuffle=True)).values():
        captions = dataset_config(config).pipeline()
        orders = {captions(filled, random.Random(seed)) for seed in range(20)}
        assert len(orders) > 1 and all(text.split(", ")[:people] == named for text in orders)


def test_two_stages_keep_their_pictures_apart(tmp_path):
    root, editor, subjects = opened(tmp_path)
    change = plan_stages(subjects, root, CompositeOptions(share=0.25), regularisation=0.5)
    assert change.counts == {"pictures made": 4, "single pictures copied": 4}
    editor.apply(change)
    assert folders(root) == {"2_mira": 6, "2_rin": 6}
    assert folders(root / APART) == {"1_composites": 4, "1_singles": 4}
    captions = [path.read_text(encoding="utf-8") for path in (root / APART / "1_singles").glob("*.txt")]
    assert sorted(captions) == ["mira, smile"] * 2 + ["rin, smile"] * 2
    stages = stage_configs("duo", root, epochs=3)
    assert (stages.first.name, stages.second.start_from) == ("duo-singles", "duo-singles")
    assert stages.second.data_dir == str(root / APART)
    assert (stages.first.resolution, stages.second.resolution) == (640, 768)
    editor.undo()
    assert not (root / APART).exists()
