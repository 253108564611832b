"""Prompts for pictures that are to be trained on: typed, or from the captions or the tags of a set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from heapq import nlargest

from lib_lora.bounds import LIST
from lib_lora.errors import UserError
from lib_lora.randomness import rng

NESTED = 32  # parentheses within parentheses; those around that many are letters
SHARED = 0.5  # tags of more of the pictures are in every prompt: who it is, not what happens
# Of a tag, as in "saber (fate)": behind a word, to the tag's end; private letters stand for it meanwhile
_OWN = re.compile(r"(?<=[\w'!.])([ _]|\\)\(([^()\[\]:,]*)\)(?=\s*(?:$|[,)\]:]))")
_ROUND = re.compile(r"\(([^()]*?)(?::\s*[+-]?[\d.]+\s*)?\)")
_SQUARE = re.compile(r"\[([^\[\]]*)\]")
_ESCAPED = str.maketrans("()[]\\", "\ue000\ue001\ue002\ue003\ue004")
_LETTERS = str.maketrans("\ue000\ue001\ue002\ue003\ue004", "()[]\\")


def as_caption(typed: str) -> str:
    """What a prompt asks for, in words alone: ``(smile:1.2), [hat], saber \\(fate\\)`` is ``smile, hat, saber (fate)``.

    Parentheses at the end of a tag's name are letters, escaped or not.

    Raises:
        UserError: a LoRA is named in it.
    """
    if re.search(r"<\w+:", typed):
        fix = "Give LoRAs in their own field, such as MIRA:0.8"
        raise UserError("A caption cannot name a LoRA", where="prompts", fix=fix)
    text = re.sub(r"\\([()\[\]\\])", lambda found: found[1].translate(_ESCAPED), typed)
    text = _OWN.sub(lambda found: f"{found[1]}({found[2]})".translate(_ESCAPED), text)
    for _ in range(NESTED):
        before, text = text, _SQUARE.sub(r"\1", _ROUND.sub(r"\1", text))
        if text == before:
            break
    parts = (part.strip() for part in text.translate(_LETTERS).split(","))
    return ", ".join(filter(None, parts))


def from_captions(captions: Sequence[str], count: int, seed: int) -> tuple[str, ...]:
    """At most ``count`` captions that differ, and no more than a drawing takes, in an order that depends on ``seed``.

    Raises:
        UserError: there is none.
    """
    found = list(dict.fromkeys(filter(None, map(str.strip, captions))))
    if not found:
        fix = "Write captions first, or type prompts"
        raise UserError("None of these pictures has a caption", where="prompts", fix=fix)
    rng(seed, "made-captions", 0).shuffle(found)
    return tuple(found[: min(count, LIST)])


def from_tags(pictures: Sequence[Sequence[str]], count: int, seed: int) -> tuple[str, ...]:
    """``count`` new combinations of the tags of ``pictures``, and no more than a drawing takes.

    What most pictures have is in all; of the other tags as many as a picture has, drawn as often as they occur: those
    of the largest u^(1/times), u uniform (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006).

    Raises:
        UserError: there are no tags.
    """
    tagged = [tuple(dict.fromkeys(tags)) for tags in pictures if tags]
    if not tagged:
        raise UserError("None of these pictures has tags", where="prompts", fix="Tag them first, or type prompts")
    times = Counter(tag for tags in tagged for tag in tags)
    shared = [tag for tag, n in times.items() if n > SHARED * len(tagged)]
    others = {tag: n for tag, n in times.items() if tag not in shared}
    random = rng(seed, "made-tags", 0)
    prompts = []
    for _ in range(min(count, LIST)):
        wanted = sum(tag in others for tag in random.choice(tagged))
        drawn = nlargest(wanted, ((random.random() ** (1 / n), tag) for tag, n in others.items()))
        prompts.append(", ".join([*shared, *(tag for _, tag in drawn)]))
    return tuple(prompts)
