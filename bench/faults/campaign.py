"""Faults at each operation of a piece of work, one by one and in pairs, then the next start and a verdict."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from bench.faults.disk import DENIED, FULL, KILL, SHORT, WRITES, Disk, Killed
from lib_lora import file_sets, files
from lib_lora.part_files import part_name

Files = dict[str, bytes]
Judge = Callable[[Files, Files, Files], "list[str]"]


@dataclass(frozen=True)
class Campaign:
    """A piece of work under faults.

    Args:
        name: as it is printed.
        prepare: makes the files of an empty folder.
        act: does the work in it.
        start: the next start of the program: what was cut off is put right; ``act`` or an equivalent may be repeated.
        judge: (files before, after the work undisturbed, now) -> what is wrong, each beginning with one of `WRONG`.
        files: the files that the verdict is about, by relative path; by default all.
        share: part of all faults that is tried.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    start: Callable[[Path], None]
    judge: Judge
    ignored: tuple[str, ...] = ()
    share: float = 1.0


TRIES = 4  # to find a pair of faults
LOST, HALF, LEFT = WRONG = ("lost", "half", "leftover")


@dataclass
class Tally:
    """What came of the faults."""

    faults: int = 0
    pairs: int = 0
    recovered: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    stories: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.faults += other.faults
        self.pairs += other.pairs
        self.recovered += other.recovered
        self.wrong.update(other.wrong)
        self.stories += other.stories


def run_campaign(campaign: Campaign, work: Path, pairs: int, seed: int = 0, most: int | None = None) -> Tally:
    """Try ``campaign`` in copies of one prepared folder below ``work``.

    Args:
        pairs: how many second faults, at a random operation of the start after a first kill.
        most: at most so many single faults, drawn by ``seed``.
    """
    rng = random.Random(seed)
    template, place, before, after, seen = prepared(campaign, work)
    singles = list(_faults(seen))
    wanted = len(singles) if most is None else min(most, len(singles))
    tally = Tally()
    for at, kind in sorted(rng.sample(singles, min(wanted, int(len(singles) * campaign.share) or 1))):
        with Fresh(template, place):
            _disturbed(campaign.act, Disk(place, at, kind))
            campaign.start(place)
            now = files_of(place, campaign.ignored)
            verdict(tally, campaign, before, after, now, f"{kind} at {at} ({seen[at - 1]})")
    for _ in range(TRIES * pairs):  # some kills leave nothing to put right
        if tally.pairs < pairs:
            _pair(tally, campaign, template, place, before, after, len(seen), rng)
    shutil.rmtree(work, ignore_errors=True)
    return tally


def prepared(campaign: Campaign, work: Path) -> tuple[Path, Path, Files, Files, list[str]]:
    """Below ``work``: the prepared folder and where its copies are used; the files before and after the work
    undisturbed, and its operations."""
    template, place = work / "template", work / "place"
    shutil.rmtree(work, ignore_errors=True)
    place.mkdir(parents=True)
    campaign.prepare(place)  # where it will be used: journals hold whole paths
    place.rename(template)
    with Fresh(template, place):
        before = files_of(place, campaign.ignored)
        disk = Disk(place)
        with disk.mounted():
            campaign.act(place)
        campaign.start(place)
        return template, place, before, files_of(place, campaign.ignored), disk.seen


def _pair(
    tally: Tally, campaign: Campaign, template: Path, place: Path, before: Files, after: Files, count: int,
    rng: random.Random,
) -> None:  # fmt: skip
    """A kill, then a fault while the next start puts things right, then a start without faults."""
    first = rng.randint(1, count)
    with Fresh(template, place):
        _disturbed(campaign.act, Disk(place, first, KILL))
        shutil.copytree(place, place.with_name("killed"), dirs_exist_ok=True)
        counted = Disk(place)
        _disturbed(campaign.start, counted)
    if not counted.seen:
        shutil.rmtree(place.with_name("killed"))
        return
    second, kind = rng.randint(1, len(counted.seen)), rng.choice((KILL, KILL, FULL, DENIED))
    with Fresh(place.with_name("killed"), place):
        _disturbed(campaign.start, Disk(place, second, kind))
        campaign.start(place)
        tally.pairs += 1
        story = f"kill at {first}, then {kind} at {second} of the start ({counted.seen[second - 1]})"
        verdict(tally, campaign, before, after, files_of(place, campaign.ignored), story)
    shutil.rmtree(place.with_name("killed"))


def _faults(seen: list[str]) -> Iterator[tuple[int, str]]:
    for number, name in enumerate(seen, start=1):
        yield number, KILL
        yield number, DENIED
        if name in WRITES:
            yield number, FULL
        if name == "write":
            yield number, SHORT


def _disturbed(work: Callable[[Path], None], disk: Disk) -> None:
    """What it says is tested elsewhere; here the files count. Its temporary files are those of a dead process."""
    names = patch.multiple(files, part_name=_dead_name), patch.multiple(file_sets, part_name=_dead_name)
    with names[0], names[1], disk.mounted(), suppress(Killed, Exception):
        work(disk.root)


def _dead_name() -> str:
    return re.sub(r"-[0-9a-f]{8}-", "-00000000-", part_name())


def verdict(tally: Tally, campaign: Campaign, before: Files, after: Files, now: Files, story: str) -> None:
    """Count one fault, and what is wrong after it."""
    tally.faults += 1
    wrong = campaign.judge(before, after, now)
    tally.recovered += not wrong
    tally.wrong.update(kind for kind in WRONG if any(found.startswith(kind) for found in wrong))
    if wrong:
        tally.stories.append(f"{campaign.name}: {story}: {'; '.join(wrong[:3])}")


class Fresh:
    """A copy of a folder, for one try."""

    def __init__(self, template: Path, place: Path):
        self.template, self.place = template, place

    def __enter__(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.template, self.place)

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.place, ignore_errors=True)


def files_of(folder: Path, ignored: tuple[str, ...] = ()) -> Files:
    """Every file below ``folder``, hidden ones too, but those below the ignored names."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    wanted = {name: path for name, path in found.items() if not set(ignored) & set(Path(name).parts)}
    return {name: path.read_bytes() for name, path in sorted(wanted.items())}


def all_or_nothing(before: Files, after: Files, now: Files) -> list[str]:
    """Exactly as before, or exactly as after the work."""
    if now in (before, after):
        return []
    wrong = [f"{LOST}: {name}" for name in before if name not in now and name in after]
    known = {*before.values(), *after.values()}
    odd = [name for name in now if name not in before and name not in after]
    wrong += [f"{LEFT}: {name}" for name in odd]
    wrong += [f"{HALF}: {name} has other bytes" for name in now if name not in odd and now[name] not in known]
    return wrong or [f"{HALF}: some files are as before and others as after"]
