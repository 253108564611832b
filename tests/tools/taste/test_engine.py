from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib_lora.adapters.block_presets import BUILT_IN_PRESETS, load_presets
from lib_lora.adapters.blocks import BLOCKS_17, BlockWeights
from lib_lora.errors import UserError
from lib_lora.models.base import GenerationRequest
from lib_lora.models.families import families, family
from lib_lora.small_files import Damaged
from lib_lora.tools.taste.preference import EQUAL, FIRST, SECOND, Answer, Taste
from lib_lora.tools.taste.recipe import Recipe
from lib_lora.tools.taste.session import TasteSession
from lib_lora.tools.taste.space import SUBTRACTED, WHOLE, Dimension, Tuned, block_groups

SD1 = family("sd1")
PRESETS = load_presets(BUILT_IN_PRESETS)
RECIPE = Recipe("STYLE", prompts=("a", "b"), seeds=(1, 2, 3))
OPTIMUM = np.array([0.8, 0.3, 0.6])


def asked(session: TasteSession, answers: int, utility, r=None, flipped: float = 0.0) -> TasteSession:
    for _ in range(answers):
        question = session.current()
        gain = utility(np.array(question.first)) - utility(np.array(question.second))
        better = EQUAL if abs(gain) < 0.01 else FIRST if gain > 0 else SECOND
        if r is not None and r.random() < flipped:
            better = -better
        session = session.answer(better).asked_ahead()
    return session


def utility(point: np.ndarray) -> float:
    return float(np.exp(-4 * np.square(point - OPTIMUM).sum()))


def test_values_follow_answers() -> None:
    answers = [Answer((0.2,), (0.8,), SECOND), Answer((0.5,), (0.2,), FIRST), Answer((0.8,), (0.9,), EQUAL)]
    taste = Taste([*answers, Answer((0.8,), (0.5,), FIRST)], 1)
    mean, covariance = taste.values(np.array([[0.2], [0.5], [0.8]]))
    assert mean[0] < mean[1] < mean[2]
    assert (np.linalg.eigvalsh(covariance) > -1e-9).all() and (np.diag(covariance) < 1).all()
    assert taste.chance(np.array([0.8]), np.array([0.2])) > 0.8
    assert taste.chance(np.array([0.8]), np.array([0.8])) == 0.5
    gain, spread = taste.lead(np.array([[0.2], [0.8]]), np.array([[0.5]]))
    assert gain[0] == pytest.approx(mean[0] - mean[1]) and gain[1] == pytest.approx(mean[2] - mean[1])
    wanted = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert spread[0] == pytest.approx(wanted)


def test_without_answers_nothing_is_known() -> None:
    taste = Taste([], 2)
    mean, covariance = taste.values(np.array([[0.1, 0.2], [0.5, 0.5], [0.8, 0.9]]))
    assert mean[1] == 0 > mean[2] and mean[0] == pytest.approx(mean[2]) and np.diag(covariance) == pytest.approx(1)
    assert TasteSession(RECIPE, 2).best().chance == 0.5


@pytest.mark.parametrize("better", [FIRST, SECOND, EQUAL])
def test_the_slope_is_that_of_the_likelihood(better: int) -> None:
    taste = Taste([Answer((0.1,), (0.9,), better)], 1)
    for at in (-2.0, -0.1, 0.0, 0.3, 3.0):
        below, above = (taste.likelihood(np.array([at + d]))[0] for d in (-1e-5, 1e-5))
        assert taste.likelihood(np.array([at]))[1][0] == pytest.approx((above - below) / 2e-5, abs=1e-6)


def test_one_slip_does_not_turn_the_tables() -> None:
    answers = [Answer((0.9,), (0.1,), FIRST)] * 6
    one, other = np.array([0.9]), np.array([0.1])
    sure = Taste(answers, 1).chance(one, other)
    slipped = Taste([*answers, Answer((0.9,), (0.1,), SECOND)], 1).chance(one, other)
    assert 0.8 < slipped < sure


def test_two_dozen_answers_find_what_one_likes() -> None:
    reached = []
    for seed in range(5):
        session = asked(TasteSession(RECIPE, 3, seed=seed).asked_ahead(), 24, utility, np.random.default_rng(seed), 0.1)
        reached.append(utility(np.array(session.best().point)))
    assert np.median(reached) > 0.9 and min(reached) > utility(np.full(3, 0.5))


def test_a_session_goes_on_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "taste" / "session.json"
    assert TasteSession.load(path) is None
    session = asked(TasteSession(RECIPE, 3).asked_ahead(), 5, utility)
    session.save(path)
    again = TasteSession.load(path)
    assert again == session and again.best() == session.best()
    assert asked(again, 3, utility) == asked(session, 3, utility)
    assert len(session.questions) == session.answered + 2  # the one that is looked at, and one ahead


def test_undo_asks_the_same_again() -> None:
    session = asked(TasteSession(RECIPE, 3).asked_ahead(), 3, utility)
    before = session.answer(SECOND)
    assert before.undo() == session and before.undo().current() == session.current()
    with pytest.raises(UserError, match="Nothing was answered"):
        TasteSession(RECIPE, 3).asked_ahead().undo()
    with pytest.raises(UserError, match="nothing to answer"):
        TasteSession(RECIPE, 3).answer(FIRST)


def _broken(value: dict) -> list[dict]:
    question = {"first": [0.5], "second": [0.7], "better": None}
    answered = question | {"better": 1}
    return [
        value | {"questions": [question, answered]},
        value | {"questions": [question | {"better": True}]},
        value | {"questions": [question | {"second": [7]}]},
        value | {"questions": [question | {"first": [0.1, 0.2], "second": [0.2, 0.1]}]},
        value | {"recipe": value["recipe"] | {"prompts": []}},
        value | {"dimensions": 0},
        {},
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_damaged_file_is_named(tmp_path: Path, number: int) -> None:
    TasteSession(RECIPE, 1).save(path := tmp_path / "session.json")
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(_broken(value)[number]), encoding="utf-8")
    with pytest.raises(Damaged, match="damaged"):
        TasteSession.load(path)


def test_prompts_and_seeds_are_taken_in_turn() -> None:
    turns = [[(r.prompt, r.seed) for r in RECIPE.requests(turn)] for turn in range(6)]
    assert sorted({picture for turn in turns for picture in turn}) == [(p, s) for p in "ab" for s in (1, 2, 3)]
    several = [[(r.prompt, r.seed) for r in replace(RECIPE, pictures=2).requests(turn)] for turn in range(3)]
    assert all([prompt for prompt, _ in turn] == ["a", "b"] for turn in several)
    assert sorted(picture for turn in several for picture in turn) == [(p, s) for p in "ab" for s in (1, 2, 3)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompts": ()}, "need a prompt"),
        ({"prompts": ("a", " ")}, "need a prompt"),
        ({"seeds": ()}, "too few"),
        ({"seeds": (1, 1), "pictures": 3}, "too few"),
        ({"pictures": 0}, "cannot be"),
        ({"seeds": (-1,)}, "cannot be"),
        ({"weight": float("nan")}, "cannot be"),
        ({"settings": GenerationRequest("", steps=0)}, "cannot be"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(RECIPE, **wrong)


# -- what is tuned ---------------------------------------------------------------------------------------------------


def tuned(**options) -> Tuned:
    weights = BlockWeights.parse("GP1", PRESETS, SD1)
    return Tuned("STYLE", 0.9, weights, BLOCKS_17, **options)


def test_a_dimension_starts_in_its_middle() -> None:
    weight = Dimension("weight", 0.4, 1.0, 2.0)
    assert [weight.value(place) for place in (0, 0.25, 0.5, 1)] == pytest.approx([0.4, 0.7, 1.0, 2.0])
    epoch = Dimension("epoch", 2, 6, 8, choices=(2, 4, 6, 8))
    assert [epoch.value(place) for place in (0, 0.3, 0.5, 0.8, 1)] == [2, 4, 6, 8, 8]


def test_neighbouring_blocks_move_together() -> None:
    groups = tuned().groups
    assert groups[0] == ("BASE",) and tuple(b for group in groups for b in group) == BLOCKS_17 and len(groups) == 5
    for one in families().values():
        for layout in one.blocks.layouts:
            found = block_groups(layout, one.blocks.text, one.blocks.names)
            assert sorted(b for group in found for b in group) == sorted(layout) and len(found) <= 9


def test_the_middle_is_where_one_started() -> None:
    style = tuned(base="BASE", base_blocks=BlockWeights.parse("GP2", PRESETS, SD1))
    names = [d.name for d in style.dimensions()]
    assert names[-2:] == [WHOLE, SUBTRACTED]
    point = [0.5] * len(names)
    (name, weight, blocks), (other, subtracted, _) = style.terms(tuple(point))
    assert (name, weight, blocks) == ("STYLE", 0.9, style.blocks) and (other, subtracted) == ("BASE", -1.0)
    point[1], point[-1] = 1.0, 0.0
    (_, _, blocks), (_, subtracted, _) = style.terms(tuple(point))
    assert blocks["IN01"] == 1.2 and blocks["IN00"] == style.blocks["IN00"] and blocks["M00"] == style.blocks["M00"]
    assert subtracted == 0
    assert style.formula(tuple(point))[1].blocks.startswith("0.3,")


def test_locked_blocks_and_blocks_at_zero_stay() -> None:
    weights = BlockWeights.parse("OUTALL", PRESETS, SD1)
    style = Tuned("STYLE", 1.0, weights, BLOCKS_17, locked=frozenset({"BASE"}), whole=False)
    assert [d.name for d in style.dimensions()] == ["OUT03–OUT07", "OUT08–OUT11"]
    (_, weight, blocks), = style.terms((0.0, 1.0))  # fmt: skip
    assert weight == 1.0 and blocks["BASE"] == 1.0 and blocks["IN04"] == 0
    assert blocks["OUT05"] == 0 and blocks["OUT11"] == 2.0
