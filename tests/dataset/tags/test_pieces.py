from __future__ import annotations

import pytest

from lib_lora.dataset.tags.pieces import is_sentence, split_pieces


@pytest.mark.parametrize(
    ("caption", "pieces"),
    [
        ("1girl, rating: general,artist: wlop ,, red hat,", ["1girl", "rating: general", "artist: wlop", "red hat"]),
        (
            "1,000 yen, 12,345,678 stars, 2,300, score_9,100_gecs",
            ["1,000 yen", "12,345,678 stars", "2,300", "score_9", "100_gecs"],
        ),
        ("1girl, mira ||| red hat", ["1girl", "mira", "red hat"]),
        ("tom &amp; jerry, R&B", ["tom &amp; jerry", "R&B"]),
        ("1girl long_hair ^_^", ["1girl long_hair ^_^"]),
        (" \r\n\r\n x , y\nz, of the second line", ["x", "y"]),
        ("a photo of sks_dog sitting on the beach", ["a photo of sks_dog sitting on the beach"]),
        ("A girl stands in the rain.\nShe holds a red umbrella.", ["A girl stands in the rain."]),
        (
            "1girl, solo, A girl stands in the rain, with a hat. She is wet, cold and tired., smile",
            ["1girl", "solo", "A girl stands in the rain, with a hat.", "She is wet, cold and tired.", "smile"],
        ),
        ("Smiling, she holds a cup.", ["Smiling, she holds a cup."]),
        ("Hatsune Miku, Blue Hair, She holds a cup.", ["Hatsune Miku", "Blue Hair", "She holds a cup."]),
        ("In Paris, France, a girl pays $1,000 at 5 p.m.", ["In Paris, France, a girl pays $1,000 at 5 p.m."]),
        ("a woman in a red dress, next to a car, with a dog", ["a woman in a red dress, next to a car, with a dog"]),
        ("a woman in a red dress, 1girl, solo, smile", ["a woman in a red dress", "1girl", "solo", "smile"]),
        ("mr. fox, st. louis, a.i. voice, :3, ..., !?", ["mr. fox", "st. louis", "a.i. voice", ":3", "...", "!?"]),
        ("少女が雨の中に立つ。彼女は傘を持つ。", ["少女が雨の中に立つ。", "彼女は傘を持つ。"]),
        ("", []),
    ],
)
def test_tags_end_at_commas_and_sentences_stay_whole(caption, pieces):
    assert split_pieces(caption) == pieces


def test_prose_is_told_from_tags():
    prose = (
        "A girl stands in the rain.",
        "a photo of a dog on a beach",
        "Ein Mädchen steht im Regen.",
        "少女が雨の中に立つ。",
    )
    tags = (
        "1girl",
        "hand on own hip",
        "mr. fox",
        "the legend of zelda: breath of the wild",
        "black and white",
        "!?",
        "",
        "Hatsune Miku",
        "looking at viewer",
        "1boy",
        "a certain magical index",
    )
    assert all(map(is_sentence, prose)) and not any(map(is_sentence, tags))
