"""Two pages with one set: each is told of the other, and one can go on alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from lib_lora.access import Access, Refused, guarded, looks, under
from lib_lora.dataset.collection.hold import AFTER
from lib_lora.dataset.tags.edits import Add
from lib_lora.errors import UserError
from lib_lora.ui.dataset.hold_panel import HoldPanel
from lib_lora.ui.dataset.pages import PageKey
from lib_lora.ui.dataset_tab import DatasetTab
from lib_lora.ui.files import Pictures


@pytest.fixture
def tab(session) -> DatasetTab:
    return DatasetTab(session.workbench, Pictures(session.workbench.host.paths))


@pytest.fixture
def one(tmp_path: Path) -> Path:
    root = tmp_path / "one"
    root.mkdir()
    Image.new("RGB", (16, 16)).save(root / "1.png")
    (root / "1.txt").write_text("fox", encoding="utf-8")
    return root


def at(tab: DatasetTab, key: PageKey, work):
    """``work(session)`` as a handler of the page of that key."""
    return tab.pages.at(looks(lambda: work(tab.session)))(key)


def later(tab: DatasetTab, *keys: PageKey) -> None:
    """The pages were opened a while ago."""
    for key in keys:
        at(tab, key, lambda s: setattr(s.hold, "began", s.hold.began - 2 * AFTER))


def shown(tab: DatasetTab, key: PageKey) -> tuple[str, bool]:
    notice, offer = at(tab, key, lambda s: tab.hold.live())
    return notice, offer["visible"]


def add(session, tag: str) -> None:
    session.opened().refresh()
    session.propose(session.opened().plan_tags(Add((tag,)), f"Add {tag}"))
    session.apply()


def test_a_page_takes_over_and_the_other_is_refused_until_it_opens_the_folder_again(tab, one):
    a, b = PageKey(), PageKey()
    at(tab, a, lambda s: s.open([one]))
    at(tab, b, lambda s: s.open([one]))
    assert shown(tab, a) == shown(tab, b) == ("", False)  # whether both are there is not known yet
    later(tab, a, b)
    for key in (a, b):
        notice, offered = shown(tab, key)
        assert "another page of this program, since" in notice and offered
    at(tab, a, lambda s: add(s, "a"))
    at(tab, b, lambda s: add(s, "b"))  # in turn
    caption, base = at(tab, a, lambda s: tab.caption.shown())
    assert "Taken over" in at(tab, b, lambda s: tab.hold.do_take())
    assert shown(tab, b) == ("", False)
    notice, offered = shown(tab, a)
    assert "taken over by another page" in notice and "Open the folder again" in notice and not offered
    for work in (lambda s: add(s, "c"), lambda s: s.undo(), lambda s: tab.caption.keep("typed", base)):
        with pytest.raises(UserError, match="taken over by another page"):
            at(tab, a, work)
    assert (one / "1.txt").read_text(encoding="utf-8") == "fox, a, b"
    at(tab, a, lambda s: tab.open(str(one), f"{caption}, typed", base))  # what was typed is not lost
    assert (one / "1.txt").read_text(encoding="utf-8") == "fox, a, b, typed"
    at(tab, b, lambda s: add(s, "d"))
    assert at(tab, a, lambda s: s.undo()) == "Add d"


def test_a_page_that_was_reloaded_is_no_other_page(tab, one):
    old, new = PageKey(), PageKey()
    at(tab, old, lambda s: s.open([one]))
    later(tab, old)
    assert at(tab, new, lambda s: s.hold.term) == at(tab, old, lambda s: s.hold.term)
    assert shown(tab, new) == ("", False)
    at(tab, new, lambda s: add(s, "x"))
    at(tab, old, lambda s: tab.hold.do_take())
    third = PageKey()
    at(tab, third, lambda s: add(s, "y"))  # goes on as the page that took over
    with pytest.raises(UserError, match="taken over"):
        at(tab, new, lambda s: add(s, "z"))


def test_a_job_that_is_alive_is_named_and_goes_on(tab, one, monkeypatch):
    monkeypatch.setattr("lib_lora.ui.dataset.session.PATIENCE", 0.1)
    a, b = PageKey(), PageKey()
    at(tab, a, lambda s: s.open([one]))
    work = at(tab, a, lambda s: s.opened().applying(s.opened().plan_tags(Add(("x",)), "Add x"), s.hold))
    next(work)
    said = at(tab, b, lambda s: tab.hold.do_take())
    assert "Add x" in said and "goes on to its end" in said
    list(work)
    assert (one / "1.txt").read_text(encoding="utf-8") == "fox, x"
    at(tab, b, lambda s: add(s, "y"))
    assert "is changed from this page only" in at(tab, b, lambda s: tab.hold.do_take())


def test_who_may_only_look_takes_nothing_over(session, one):
    panel = HoldPanel(session, SimpleNamespace())
    session.open([one])
    term = session.hold.term
    with under(Access(read_only=True)):
        take = guarded(panel.do_take)
    with pytest.raises(Refused):
        take()
    assert session.hold.succeeded() is None and session.hold.term == term


def test_nothing_is_offered_before_a_set_is_open_and_another_set_lets_go(session, one, tmp_path):
    panel = HoldPanel(session, SimpleNamespace())
    assert panel.live()[0] == "" and not panel.live()[1]["visible"]
    session.open([one])
    record = session.hold.folder / "opened.json"
    assert "pid" in record.read_text(encoding="utf-8")
    (tmp_path / "two").mkdir()
    session.open([tmp_path / "two"])
    assert "pid" not in record.read_text(encoding="utf-8")
