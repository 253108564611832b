"""Sets that are larger than anybody's in one direction: pictures, letters of a caption, different tags.

Bounds are processor seconds of this process, several times what was measured, and a fraction of what work in proportion
to the square would take.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from lib_lora.dataset.batches import Plan
from lib_lora.dataset.caption import CaptionPipeline
from lib_lora.dataset.check import check
from lib_lora.dataset.config import Concept, DatasetConfig
from lib_lora.dataset.scan import scan
from lib_lora.dataset.tags.edits import Add
from lib_lora.dataset.tags.index import TagFilter
from lib_lora.ui.dataset.caption_panel import count_tokens
from lib_lora.ui.dataset.gallery import Gallery
from lib_lora.ui.dataset.session import Session
from lib_lora.ui.dataset.tags_panel import TagsPanel
from lib_lora.ui.dataset.views import Album
from lib_lora.ui.files import Pictures
from tests.pace import within
from tests.ui.dataset.conftest import session as _session

session = _session
PICTURES, LETTERS, TAGS = 20_000, 100_000, 5_000


def linked(folder: Path, source: Path, count: int, captions: list[str]) -> None:
    """``count`` pictures, each a link to ``source``, with these captions in turn."""
    folder.mkdir(parents=True)
    texts = [folder.parent / f"caption{number}" for number in range(len(captions))]
    for path, caption in zip(texts, captions, strict=True):
        path.write_text(caption, encoding="utf-8")
    for number in range(count):
        os.link(source, folder / f"{number:05}.png")
        os.link(texts[number % len(texts)], folder / f"{number:05}.txt")


def test_twenty_thousand_pictures(session: Session, add_image, tmp_path: Path) -> None:
    """Opened, filtered, shown page by page, and made into the first batches."""
    captions = [f"mira, tag {number}, tag {number % 7}" for number in range(20)]
    linked(tmp_path / "set" / "1_mira", add_image("one.png"), PICTURES, captions)
    with within(15):
        editor = session.open([tmp_path / "set"])
    assert len(editor.pictures) == PICTURES
    gallery = Gallery(session, Album(session, Pictures(session.workbench.host.paths)))
    with within(2):
        assert len(editor.select(TagFilter(("tag 3",), none_of=("tag 10",)))) == 3 * PICTURES // 20 - PICTURES // 20
        pages = [gallery.pictures_view()]
        gallery.turn("99999")
        pages.append(gallery.pictures_view())
    assert all(page.count("lw-thumb") > 0 and len(page) < 500_000 for page in pages)
    with within(15):
        config = DatasetConfig((Concept(tmp_path / "set"),), resolution=64, bucket_step=16, batch_size=4)
        found = scan(config)
        assert check(found, config, epochs=1).images == len(found.items) == PICTURES
        plan = Plan(found, config, seed=0)
        assert [len(plan.draws(step)) for step in (0, PICTURES // 8, PICTURES // 4 - 1)] == [4, 4, 4]


def test_a_caption_of_a_hundred_thousand_letters(session: Session, add_image, tmp_path: Path) -> None:
    r = random.Random(0)
    long = ", ".join(f"tag {r.randrange(10**6)} word" for _ in range(LETTERS // 17))
    kinds = {"tags": long, "one word": "a" * LETTERS, "commas": "," * LETTERS, "braces": "{a|" * (LETTERS // 3)}
    for number, caption in enumerate(kinds.values()):
        add_image(f"set/1_x/{number}.png", caption=caption)
    with within(20):
        editor = session.open([tmp_path / "set"])
        change = editor.plan_tags(Add(("mira",), first=True), "Add")
        assert change.counts["captions written"] == len(kinds)
        page = TagsPanel(session, Album(session, Pictures(session.workbench.host.paths))).table_view()
        assert len(page) < 1_000_000
        for caption in kinds.values():
            pipeline = CaptionPipeline(trigger="mira", shuffle=True, keep_tokens=1, wildcards=True)
            assert pipeline(caption, random.Random(1)).startswith("mira")
        config = DatasetConfig((Concept(tmp_path / "set"),), resolution=64, bucket_step=16, trigger="mira")
        assert check(scan(config), config, epochs=1, count_tokens=count_tokens).images == len(kinds)


def test_five_thousand_different_tags(session: Session, add_image, tmp_path: Path) -> None:
    each = 25
    captions = [", ".join(f"tag {n * each + k}" for k in range(each)) for n in range(TAGS // each)]
    linked(tmp_path / "set" / "1_mira", add_image("one.png"), len(captions), captions)
    with within(10):
        editor = session.open([tmp_path / "set"])
        panel = TagsPanel(session, Album(session, Pictures(session.workbench.host.paths)))
        whole, narrowed = panel.table_view(), panel.narrow("tag 4321")
        assert "more</p>" in whole and len(whole) < 500_000, "what is not searched for is counted, not shown"
        assert narrowed.count("lw-tag") == 1
        assert editor.tags.complete("tag 43", 12)
        assert len(editor.tags.frequencies()) == TAGS
    with within(10):
        change = editor.plan_tags(Add(("mira",), first=True), "Add")
    assert change.counts["tags added"] == len(captions)
