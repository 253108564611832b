from __future__ import annotations

import json

import pytest

from lib_lora.dataset.collection.booru import read_post, read_text


def test_danbooru():
    post = read_post(
        json.dumps(
            {
                "id": 7,
                "parent_id": None,
                "has_children": True,
                "tag_string": "1girl mira_(world) long_hair ^_^",
                "tag_string_character": "mira_(world)",
                "tag_string_general": "1girl long_hair ^_^",
            }
        )
    )
    assert post.tags == ("1girl", "mira (world)", "long hair", "^_^")
    assert post.types["mira (world)"] == "character" and post.types["long hair"] == "general"
    assert post.family == "7"


def test_gelbooru_and_gallery_dl():
    assert read_post('{"tags": "1girl don&#039;t_look", "parent_id": 12}').tags == ("1girl", "don't look")
    assert read_post('{"tags": "a b", "parent_id": 12}').family == "12"
    assert read_post('{"tags": "a b", "parent_id": 0}').family == ""
    listed = read_post('{"tags": ["1girl", "red_hair"], "tags_artist": ["some_one"]}')
    assert listed.tags == ("1girl", "red hair", "some one") and listed.types == {"some one": "artist"}
    e621 = read_post('{"tags": {"general": ["solo"], "character": ["mira"]}}')
    assert set(e621.tags) == {"solo", "mira"} and e621.types["mira"] == "character"


@pytest.mark.parametrize("text", ["", "[]", "3", '"text"', "{"])
def test_what_is_no_post_is_said(text):
    with pytest.raises(ValueError):
        read_post(text)


def test_unexpected_values_are_no_tags():
    assert read_post('{"tags": 3, "tag_string_artist": null}').tags == ()


def test_grabber_names_types_in_the_text():
    post = read_text("character:mira, general:red hair, :3, re:zero")
    assert post.tags == ("mira", "red hair", ":3", "re:zero")
    assert post.types == {"mira": "character", "red hair": "general"}
