"""Every text of the page, and every message in the source, is there in the other languages, with the same holes."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from lib_lora.ui.app import build_page
from lib_lora.ui.files import Pictures
from lib_lora.ui.words import FOLDER, NAMES
from lib_lora.workbench import Workbench
from tests.ui.bare_host import bare_host
from tests.ui.texts import page_texts, source_texts

MARK = "LoRA Workbench: language"  # lora_workbench_words.js knows our files by it
# Names, and what one types: the same in all languages.
SAME = re.compile(
    r"[a-z0-9_.]+|[A-Z0-9_]+|[A-Z]\d+|\{\w+\}|Ada\w+|AdamW\w*|AdEMA\w+|DAdapt\w+|Lion\w*|\w*AdamW8bit|ScheduleFree\w+|Euler.*"
    r"|Prodigy\w*|Lanczos|Lo(RA|Con)( (\d|{}))?|DoRA|Tucker|U-Net|clip skip|logit-normal"
    r"|LoRA Workbench.*|Illustrious|ComfyUI|Flux\.[12]\w*( Klein)?|Forge Neo|Krea 2|Z-Image|NAI 1\.5|English"
    r"|pip install {}|1girl, \*hair|smile, grin|1girl, solo, upper.*|CharLeft/.*|rank = 4, 8.*"
    r"|Cache-Control|subsets.*|[^A-Za-z]*[a-z]?:[a-z]+=.*|ALL0\.5"
)
SHORT = 6  # letters beside the holes; what has fewer fits nearly everything, and stays English


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("host")
    host = bare_host(folder)
    shown = page_texts(build_page(Workbench(host), Pictures(host.paths), standalone=True))
    return {re.sub(re.escape(str(folder)) + r"[\w/]*", "{}", text) for text in shown} | source_texts()


def is_to_translate(text: str) -> bool:
    return not SAME.fullmatch(text) and ("{}" not in text or len(re.findall("[A-Za-z]", text)) >= SHORT)


@pytest.mark.parametrize("language", NAMES)
def test_no_text_is_missing_or_left_over(language: str, texts: set[str]) -> None:
    words = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    assert words.pop(MARK)
    assert len(texts) > 1400
    missing, gone = sorted(filter(is_to_translate, texts - set(words))), sorted(set(words) - texts)
    assert not missing, "not translated:\n" + "\n".join(missing)
    assert not gone, "not in the program any more:\n" + "\n".join(gone)


@pytest.mark.parametrize("language", NAMES)
def test_no_text_stands_twice(language: str) -> None:
    def unique(pairs: list[tuple[str, str]]) -> dict[str, str]:
        twice = [text for text, times in Counter(text for text, _ in pairs).items() if times > 1]
        assert not twice
        return dict(pairs)

    json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"), object_pairs_hook=unique)


@pytest.mark.parametrize("language", NAMES)
def test_a_translation_has_the_holes_of_its_text_and_is_another(language: str) -> None:
    words = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    for text, other in words.items():
        assert text.count("{}") == other.count("{}") and other.strip(), text
    same = [text for text, other in words.items() if text == other]
    assert len(same) < len(words) / 50, same
