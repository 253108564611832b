from __future__ import annotations

from lib_lora.tools.picks import Pick, Picks, read_picks, write_picks


def test_stars_come_and_go_and_are_remembered(tmp_path):
    assert read_picks(tmp_path) == Picks()
    one, two = Pick("e4", 0.8), Pick("mira", 1.0, "GP1")
    picks = Picks(chosen=two).starred(one).starred(two)
    write_picks(tmp_path, picks)
    assert read_picks(tmp_path) == Picks((one, two), two)
    assert picks.starred(one) == Picks((two,), two)


def test_a_pick_says_what_it_is():
    assert str(Pick("e12", 0.8)) == "epoch 12 at 0.8"
    assert str(Pick("echo", 1.0, "GP1")) == "echo at 1 with blocks GP1"
    assert (Pick("e12", 1.0).epoch, Pick("echo", 1.0).epoch, Pick("12", 1.0).epoch) == (12, None, None)
