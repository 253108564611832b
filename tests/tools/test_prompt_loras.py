"""Tags with a schedule: what is read, what is left to the web UI, and curves that stay between their points."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lora.tools.prompt_loras import Bound, Curve, curve, split_prompt, unread_tags

weights = st.floats(-4, 4).map(lambda x: round(x, 3))
shares = st.floats(0, 1).map(lambda x: round(x, 3))
points = st.dictionaries(shares, weights, min_size=1, max_size=5)


def written(points: dict[float, float]) -> str:
    return ",".join(f"{weight}@{place}" for place, weight in points.items())


@pytest.mark.parametrize(
    "tag", ["<lora:mira:0.8>", "<lora:mira>", "<lora:a b:te=1:unet=.5>", "<lora:x:-1:1>", "<lora:x:>"]
)
def test_plain_tags_are_the_web_uis(tag: str) -> None:
    assert split_prompt(f"a {tag} b") == (f"a {tag} b", [])


def test_tags_with_a_schedule_are_taken_out() -> None:
    rest, (one, two) = split_prompt(
        "1girl <lora:mira:0.8@0,0.5@0.3,0@1>, <lora:hat:1>red <lora:x:te=0.5:unet=1:lbw=OUTS>"
    )
    assert rest == "1girl , <lora:hat:1>red "
    assert (one.name, one.unet) == ("mira", Curve(((0, 0.8), (0.3, 0.5), (1, 0))))
    assert (two.te_weight(), two.unet_weight(0, 9), two.blocks) == (0.5, 1, "OUTS")


def test_a_weight_alone_is_for_both_parts() -> None:
    _, (tag,) = split_prompt("<lora:x:0.7:lbw=1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1>")
    assert (tag.te_weight(), tag.unet_weight(3, 9)) == (0.7, 0.7)
    assert tag.blocks.count(",") == 16


def test_start_and_stop_are_shares_or_steps() -> None:
    _, (tag,) = split_prompt("<lora:x:1:start=0.5:stop=8>")
    assert (tag.start, tag.stop) == (Bound(0.5, False), Bound(8, True))
    assert [tag.unet_weight(step, 11) for step in range(11)] == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]


def test_positions_above_one_count_steps() -> None:
    found = curve("0@0,1@10")
    assert found.in_steps and found.at(5, 100) == 0.5 and found.at(50, 100) == 1


@pytest.mark.parametrize(
    "tag", ["<lora:x:0.8@>", "<lora:x:0,1@1>", "<lora:x:y@z>", "<lora:x:1:start=-1>", "<lora:x:1@0@2>",
            "<lora:x:1:step=a-b>", "<lora:x:1:hr=soon>",
            "<lora:x:nan@0>", "<lora:x:1@0:foo=2>", "<lora:x:1:start=soon>", "<lora:x:1@-1>"]
)  # fmt: skip
def test_what_cannot_be_read_stays_and_is_quoted(tag: str) -> None:
    prompt = f"1girl {tag}"
    assert split_prompt(prompt) == (prompt, [])
    (problem,) = unread_tags(prompt)
    assert problem.where == tag and "lbw=OUTS" in problem.fix


@pytest.mark.parametrize("tag", ["<lora:x:[0.8@0.2,1@0.9]>", "<lora:x:te=[1@0]:unet=0.5>", "<lora:x:1:[0]:lbw=OUTS>"])
def test_another_notation_is_none_of_our_business(tag: str) -> None:
    assert split_prompt(f"a {tag} b") == (f"a {tag} b", []) and unread_tags(tag) == []


def test_the_hires_pass_may_have_weights_of_its_own() -> None:
    _, (tag,) = split_prompt("<loractl:x:0@0,1@1:hr=1@0,0@1>")
    assert [tag.unet_weight(step, 3) for step in range(3)] == [0, 0.5, 1]
    assert [tag.unet_weight(step, 3, hires=True) for step in range(3)] == [1, 0.5, 0]
    _, (tag,) = split_prompt("<lora:x:te=0.2:unet=0.4:hrunet=0.9>")
    assert (tag.unet_weight(0, 2, hires=True), tag.hires_te, tag.needs) == (0.9, None, frozenset({"hires"}))
    assert split_prompt("<lora:x:0.5:hr=1:stop=0.5>")[1][0].unet_weight(1, 2, hires=True) == 0


def test_tags_of_the_other_names() -> None:
    rest, (one, two) = split_prompt("<lyco:a:1:1:lbw=OUTS> <loractl:b:0@0,1@1> <lyco:c:1> <hypernet:d:1>")
    assert rest == "  <lyco:c:1> <hypernet:d:1>" and (one.name, one.blocks, two.name) == ("a", "OUTS", "b")


def test_a_tag_says_what_its_reader_has_to_know() -> None:
    prompt = "<lora:a:1@0><lora:b:1:lbw=OUTS><lora:c:1:start=3><lora:d:te=1:unet=1@0:lbw=1:stop=2>"
    assert [sorted(tag.needs) for tag in split_prompt(prompt)[1]] == [
        ["schedule"], ["blocks"], ["bounds"], ["blocks", "bounds", "schedule"]
    ]  # fmt: skip
    assert [tag.name for tag in split_prompt(prompt, ours=lambda tag: "blocks" in tag.needs)[1]] == ["b", "d"]


@given(points, st.integers(1, 60), st.data())
def test_a_curve_passes_its_points_and_stays_between_them(points: dict[float, float], steps: int, data) -> None:
    found = curve(written(points))
    step = data.draw(st.integers(0, steps - 1))
    value = found.at(step, steps)
    assert min(points.values()) - 1e-9 <= value <= max(points.values()) + 1e-9
    share = step / (steps - 1) if steps > 1 else 0.0
    if share in points:
        assert value == pytest.approx(points[share], abs=1e-9)


@given(points)
def test_the_order_of_points_does_not_matter(points: dict[float, float]) -> None:
    assert curve(written(points)) == curve(written(dict(reversed(points.items()))))


@given(st.text(alphabet="<>:=@,. lorabw019-", max_size=60))
def test_any_prompt_is_read_or_what_cannot_be_is_named(prompt: str) -> None:
    rest, tags = split_prompt(prompt)
    assert tags or rest == prompt
    assert all(problem.where in rest for problem in unread_tags(prompt))


@pytest.mark.parametrize(
    ("tag", "te", "blocks"),
    [
        ("<lora:x:0.8:1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,0>", 0.8, ",".join("1" * 16) + ",0"),
        ("<lora:x:1:OUTD>", 1.0, "OUTD"),
        ("<lora:x:0.5:1:OUTD>", 0.5, "OUTD"),
        ("<lora:x:1:lbw=1,X,x,0:x=0.5>", 1.0, "1,X,x,0"),
        ("<lora:x:1:lbw=ALL:lbwe=ATTNDEEPOFF>", 1.0, "ALL"),
        ("<lora:lele_20230624234110:0.8:OUTS>", 0.8, "OUTS"),
    ],
)
def test_block_weights_whole_notation(tag: str, te: float, blocks: str) -> None:
    _, (found,) = split_prompt(tag)
    assert (found.te_weight(), found.blocks) == (te, blocks)


@pytest.mark.parametrize("tag", ["1:lbw=OUTS:lbwe=MINE", "1:OUTS:MINE", "1:1:OUTS:lbwe=MINE", "1:lbwe=MINE"])
def test_elements_by_name(tag: str) -> None:
    _, (found,) = split_prompt(f"<lora:x:{tag}>")
    assert (found.elements, found.needs) == ("MINE", {"blocks"})
    assert found.blocks == ("OUTS" if "OUTS" in tag else None)


def test_a_small_weight_is_no_block() -> None:
    assert split_prompt("<lora:x:1e-1> <lora:y:5E-1:1>")[1] == []
    _, (tag,) = split_prompt("<lora:x:1e-1:lbw = OUTS :stop= 5>")
    assert (tag.te_weight(), tag.blocks, tag.stop) == (0.1, "OUTS", Bound(5, True))


def test_a_rank_behind_the_weights_is_the_files() -> None:
    _, (found,) = split_prompt("<lora:x:0@0,1@1:1:256>")
    assert found.unet_weight(0, 2) == 1 and found.te_weight() == 0


def test_loractls_whole_notation() -> None:
    assert curve("1@0;0@1") == curve("1~0,0~1") == curve("1@0,0") == Curve(((0.0, 1.0), (1.0, 0.0)))
    jump = curve("0.2@0.5,1@0.5")
    assert [jump.at(step, 11) for step in (0, 4, 5, 10)] == [0.2, 0.2, 1, 1]
    _, (found,) = split_prompt("<lora:x:1:step=5-15>")
    assert (found.start, found.stop) == (Bound(5, True), Bound(15, True))
