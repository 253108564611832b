"""Two pages at once: each has its own picture, marks and filter; they share the set, and never mix captions up."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from lib_lora.access import Access, guarded, looks, needs_of, under
from lib_lora.dataset.tags.edits import Add
from lib_lora.dataset.tags.index import TagFilter
from lib_lora.errors import UserError
from lib_lora.ui.compat import SKIP
from lib_lora.ui.dataset import caption_panel
from lib_lora.ui.dataset.caption_panel import CaptionPanel
from lib_lora.ui.dataset.gallery import Gallery
from lib_lora.ui.dataset.pages import PageKey, Pages, _page
from lib_lora.ui.dataset.views import Album
from lib_lora.ui.files import Pictures


@pytest.fixture
def pages(session) -> Pages:
    return Pages(session.workbench)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    root = tmp_path / "three"
    root.mkdir()
    for name in ("1", "2", "3"):
        Image.new("RGB", (16, 16)).save(root / f"{name}.png")
        (root / f"{name}.txt").write_text(f"tag {name}", encoding="utf-8")
    return root


@pytest.fixture
def panel(pages) -> CaptionPanel:
    return CaptionPanel(pages, Album(pages, Pictures(pages.workbench.host.paths)))


def at(pages: Pages, key: PageKey, work):
    """``work(session)`` as a handler of the page of that key."""
    return pages.at(looks(lambda: work(pages.here())))(key)


def texts(folder: Path) -> list[str]:
    return [(folder / f"{name}.txt").read_text(encoding="utf-8") for name in "123"]


def test_what_is_typed_goes_to_the_picture_it_was_typed_for(pages, panel, three):
    """A picture got the caption of another, when a second page had selected that in between."""
    a, b = PageKey(), PageKey()
    at(pages, a, lambda s: s.open([three]))
    caption, base = at(pages, a, lambda s: panel.shown())
    at(pages, b, lambda s: panel.select(s.key(s.opened().pictures[2])))
    assert at(pages, b, lambda s: panel.shown()[0]) == "tag 3"
    assert at(pages, a, lambda s: s.current.name) == "1.png"
    assert "Saved 1.png" in at(pages, a, lambda s: panel.keep(caption + ", hat", base))
    assert texts(three) == ["tag 1, hat", "tag 2", "tag 3"]


def test_nobody_writes_over_what_another_page_has_saved(pages, panel, three):
    a, b = PageKey(), PageKey()
    at(pages, a, lambda s: s.open([three]))
    shown = {key: at(pages, key, lambda s: panel.shown()) for key in (a, b)}
    at(pages, a, lambda s: panel.keep("by a", shown[a][1]))
    assert at(pages, b, lambda s: panel.keep(*shown[b])) == ""  # nothing was typed there
    with pytest.raises(UserError, match="changed elsewhere"):
        at(pages, b, lambda s: panel.keep("by b", shown[b][1]))
    assert texts(three)[0] == at(pages, b, lambda s: panel.shown()[0]) == "by a"


def test_what_was_typed_is_not_kept_for_ever(pages, panel, three, monkeypatch):
    monkeypatch.setattr(caption_panel, "TYPED", 6)
    a = PageKey()
    at(pages, a, lambda s: s.open([three]))
    first = at(pages, a, lambda s: panel.shown())[1]
    for number in range(9):  # on what was saved before, of which this page was not told
        at(pages, a, lambda s, n=number: panel.keep(f"tag {n}, hat", first, "author"))
    assert texts(three)[0] == "tag 8, hat" and at(pages, a, lambda s: len(s.typed)) == 6


def test_pages_share_the_set_and_nothing_else(pages, three, tmp_path):
    a, b = PageKey(), PageKey()
    at(pages, a, lambda s: s.open([three]))
    assert at(pages, b, lambda s: s.editor) is at(pages, a, lambda s: s.editor)
    at(pages, b, lambda s: setattr(s, "filter", TagFilter(("tag 2",))))
    assert at(pages, a, lambda s: len(s.shown())) == 3 and at(pages, b, lambda s: len(s.shown())) == 1
    before = at(pages, b, lambda s: s.version)
    at(pages, a, lambda s: s.propose(s.opened().plan_tags(Add(("x",)), "Add")))
    assert at(pages, b, lambda s: s.version) == before and at(pages, b, lambda s: s.pending) is None
    at(pages, a, lambda s: s.apply())
    assert at(pages, b, lambda s: s.version) != before
    (tmp_path / "other").mkdir()
    at(pages, b, lambda s: s.open([tmp_path / "other"]))
    assert at(pages, a, lambda s: len(s.opened().pictures)) == 3


def test_a_handler_keeps_its_marks_and_its_paths(pages):
    @looks(paths=("csv",))
    def handler(csv: str) -> str:
        return csv

    wrapped = pages.at(handler)
    assert needs_of(wrapped).paths == ("csv",) and wrapped(PageKey(), "x") == "x"
    key = PageKey()
    assert copy.deepcopy(key).text != key.text


def test_a_reloaded_page_begins_as_the_one_before_whatever_asks_for_all_pages(pages, three):
    """What keeps the newest job in view asks outside of any page; after it a reloaded page had lost its set."""
    assert pages.here().editor is None
    at(pages, PageKey(), lambda s: s.open([three]))
    assert pages.here().editor is None
    assert len(at(pages, PageKey(), lambda s: s.opened().pictures)) == 3


def test_captions_that_were_left_are_saved_and_a_page_goes_on_typing_before_it_knows(pages, panel, three):
    """A page that was reloaded in between had its own text refused as somebody else's."""
    a, b = PageKey(), PageKey()
    at(pages, a, lambda s: s.open([three]))
    bases = at(pages, a, lambda s: [s.base(picture) for picture in s.opened().pictures])

    def left(author: str, *captions: tuple[str, str]) -> str:
        told = [{"text": text, "base": base} for text, base in captions]
        return json.dumps({"author": author, "number": 7, "captions": told})

    said, kept = at(pages, a, lambda s: panel.save_left(left("a", ("one", bases[0]), ("two", bases[1]))))
    assert "Saved 1.png" in said and "Saved 2.png" in said and "&quot;number&quot;: 7" in kept
    assert "Saved 1.png" in at(pages, b, lambda s: panel.save_left(left("a", ("one, hat", bases[0]))))[0]
    said, kept = at(pages, b, lambda s: panel.save_left(left("b", ("by b", bases[0]))))
    assert "changed elsewhere" in said and "by b" in said and bases[0] not in kept  # what was typed can be copied
    assert texts(three) == ["one, hat", "two", "tag 3"]
    assert at(pages, a, lambda s: panel.save_left("")) == [SKIP, SKIP]


def test_the_set_of_before_a_restart_is_offered_again(pages, three, tmp_path):
    """The strip above the tabs knew it, and the tab was empty."""
    at(pages, PageKey(), lambda s: s.open([three]))
    after = Pages(pages.workbench)
    gallery = Gallery(after, Album(after, Pictures(pages.workbench.host.paths)))
    a, b = PageKey(), PageKey()
    assert after.opened() == (three, None)
    for page in (a, b):
        assert "Open three again" in at(after, page, lambda s: gallery.pictures_view())
    at(after, a, lambda s: gallery.do_open("\n".join(map(str, gallery.before()))))
    assert after.opened() == (three, 3)
    assert "Open three again" not in at(after, a, lambda s: gallery.pictures_view())
    other = tmp_path / "other"
    other.mkdir()
    at(after, a, lambda s: s.open([other]))
    assert at(after, b, lambda s: gallery.before()) == (three,)  # what its button says, whatever others opened since
    shutil.rmtree(other)
    gone = Pages(pages.workbench)
    assert gone.opened() is None and "again" not in at(gone, a, lambda s: Gallery(gone, None).pictures_view())


def test_the_set_of_before_a_restart_is_not_named_to_who_may_not_see_it(pages, three):
    at(pages, PageKey(), lambda s: s.open([three]))
    after = Pages(pages.workbench)
    gallery = Gallery(after, Album(after, Pictures(pages.workbench.host.paths)))
    with under(Access(hide_paths=True)):
        shown = guarded(after.at(looks(lambda: gallery.pictures_view())))
    assert "again" not in shown(PageKey())


def test_the_strip_names_the_set_of_its_own_page(pages, three, tmp_path):
    """Of two pages with different sets, the strip of both named the one that had last asked for news."""
    other = tmp_path / "other"
    other.mkdir()
    a, b = PageKey(), PageKey()
    at(pages, a, lambda s: s.open([three]))
    at(pages, b, lambda s: s.open([other]))
    for key, folder, count in ((a, three, 3), (b, other, 0), (a, three, 3)):
        with _page(key, looks=True):  # as a page does every second
            pages.here()
            assert pages.opened() == (folder, count)
    assert pages.opened() == (other, 0)  # where somebody last did something, whoever asked for news since
    assert at(pages, PageKey(), lambda s: s.opened().folders) == (other,)
