from __future__ import annotations

import pytest

from lib_lora.dataset.tags.vocabulary import read_vocabulary
from lib_lora.errors import UserError

PLAIN = '1girl,0,6008644,"1girls,sole_female"\nlong_hair,0,4350743,"/lh,longhair"\nhair_bow,0,500000,\n^_^,0,90,\n'
TAGGER = "tag_id,name,category,count\n1,mira_(world),4,12\n2,long_skirt,0,900\n"


@pytest.fixture
def vocabulary(tmp_path):
    def read(text):
        path = tmp_path / "tags.csv"
        path.write_text(text, encoding="utf-8")
        return read_vocabulary(path)

    return read


def test_words_and_aliases_lead_to_tags(vocabulary):
    tags = vocabulary(PLAIN)
    assert [known.tag for known in tags.complete("hair")] == ["long hair", "hair bow"]
    assert [known.tag for known in tags.complete("longh")] == ["long hair"]
    assert [(known.tag, known.count) for known in tags.complete("sole f")] == [("1girl", 6008644)]
    assert [known.tag for known in tags.complete("^")] == ["^_^"]
    assert tags.complete("xyz") == [] and tags.complete(" ") == []
    assert len(tags.complete("h", limit=1)) == 1


def test_the_list_of_a_tagger_will_do(vocabulary):
    tags = vocabulary(TAGGER)
    assert [known.tag for known in tags.complete("world")] == ["mira (world)"]
    assert tags.size == 2


def test_what_is_no_list_is_named(vocabulary, tmp_path):
    with pytest.raises(UserError, match="no tag"):
        vocabulary("name,count\n")
    (tmp_path / "latin.csv").write_bytes("schön,0,1".encode("latin-1"))
    for name in ("latin.csv", "missing.csv"):
        with pytest.raises(UserError, match="cannot be read"):
            read_vocabulary(tmp_path / name)
