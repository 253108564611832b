"""What can be in a paper-doll picture: palettes, attributes, random specs and their booru tags."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field, replace

Color = tuple[int, int, int]

HAIR: dict[str, Color] = {
    "black": (46, 42, 58),
    "brown": (126, 78, 46),
    "blonde": (250, 214, 92),
    "red": (206, 42, 42),
    "green": (64, 176, 84),
    "blue": (54, 102, 226),
    "aqua": (98, 218, 230),
    "purple": (142, 68, 196),
    "pink": (250, 142, 192),
    "white": (238, 238, 246),
}
CLOTH: dict[str, Color] = {
    "red": (214, 46, 52),
    "blue": (50, 92, 208),
    "green": (52, 152, 78),
    "yellow": (248, 212, 56),
    "pink": (248, 150, 196),
    "purple": (140, 74, 188),
    "black": (50, 48, 60),
    "white": (244, 244, 250),
}
EYES: dict[str, Color] = {"blue": (50, 110, 230), "green": (40, 170, 70), "red": (220, 40, 50), "brown": (140, 84, 40)}
SKIN: dict[str, Color] = {"fair": (255, 224, 200), "tan": (232, 184, 142), "dark": (154, 102, 74)}
PLAIN: dict[str, Color] = {
    "white": (255, 255, 255),
    "grey": (168, 170, 178),
    "blue": (150, 196, 246),
    "pink": (252, 204, 220),
    "green": (184, 226, 174),
    "yellow": (250, 238, 168),
}
SCENES = ("outdoors", "night", "beach", "indoors")
HAIRSTYLES = ("short hair", "long hair", "twintails", "bob cut", "spiky hair")
OUTFITS = ("dress", "shirt and skirt", "shirt and pants", "sweater and shorts", "kimono")
HATS = ("none", "baseball cap", "witch hat", "crown", "hair bow", "cat ears")
COLORED_HATS = ("baseball cap", "witch hat", "hair bow")
POSES = ("arms down", "arms up", "waving")
VIEWS = ("close-up", "upper body", "full body")
ANGLES = ("front", "from behind")
STYLES = ("anime", "flat color", "pastel colors", "sketch")
UNSEEN_STYLES = ("neon",)  # never in the base model's world: a subject for style LoRAs
MOUTHS = ("smile", "open mouth", "frown")


@dataclass(frozen=True)
class Character:
    """One doll. ``top`` colours the dress, shirt, sweater or kimono, ``bottom`` the skirt, pants, shorts or sash."""

    gender: str = "girl"
    hair: str = "brown"
    hairstyle: str = "long hair"
    eyes: str = "blue"
    skin: str = "fair"
    outfit: str = "dress"
    top: str = "red"
    bottom: str = "blue"
    hat: str = "none"
    hat_color: str = "red"
    mouth: str = "smile"
    pose: str = "arms down"


@dataclass(frozen=True)
class Spec:
    """One picture. ``background`` is a plain colour's name or a scene; ``size`` is (width, height) in pixels."""

    characters: tuple[Character, ...] = field(default_factory=lambda: (Character(),))
    view: str = "full body"
    angle: str = "front"
    style: str = "anime"
    background: str = "white"
    size: tuple[int, int] = (128, 128)
    flip: bool = False
    seed: int = 0

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> Spec:
        """What :meth:`to_dict` gave."""
        people = tuple(Character(**c) for c in data["characters"])
        return cls(**{**data, "characters": people, "size": tuple(data["size"])})


# The subject of the tour. No picture of the base model's world shows aqua hair with a red witch hat or a yellow top.
MIRA = Character(
    hair="aqua",
    hairstyle="twintails",
    eyes="red",
    outfit="dress",
    top="yellow",
    bottom="black",
    hat="witch hat",
    hat_color="red",
)


def is_held_out(c: Character) -> bool:
    """True for characters too like the tour's subject; the base model is never shown them."""
    return c.hair == "aqua" and (c.top == "yellow" or c.hat == "witch hat")


def random_character(r: random.Random) -> Character:
    """A character with every attribute drawn at random."""
    while True:
        gender = "girl" if r.random() < 0.62 else "boy"
        girl = gender == "girl"
        c = Character(
            gender=gender,
            hair=r.choice(list(HAIR)),
            hairstyle=r.choice(
                HAIRSTYLES if girl else ("short hair", "short hair", "spiky hair", "spiky hair", "long hair")
            ),
            eyes=r.choice(list(EYES)),
            skin=r.choices(list(SKIN), (7, 1.5, 1.5))[0],
            outfit=r.choice(OUTFITS if girl else OUTFITS[2:]),
            top=r.choice(list(CLOTH)),
            bottom=r.choice(list(CLOTH)),
            hat=r.choices(HATS, (4, 1.2, 1.2, 1.2, 1.2, 1.2))[0],
            hat_color=r.choice(list(CLOTH)),
            mouth=r.choice(MOUTHS),
            pose=r.choices(POSES, (5, 2, 2))[0],
        )
        if c.top == c.bottom:
            continue
        if not is_held_out(c):
            return c


def random_spec(r: random.Random, people: int | None = None) -> Spec:
    """A random picture of the base model's world; one in ten shows two characters, half of those wide."""
    if people is None:
        people = 2 if r.random() < 0.1 else 1
    two = people == 2
    plain = r.random() < 0.6
    return Spec(
        characters=tuple(random_character(r) for _ in range(people)),
        view="full body" if two else r.choices(VIEWS, (1.6, 2.2, 2.2))[0],
        angle="front" if two or r.random() < 0.9 else "from behind",
        style=r.choices(STYLES, (7, 1.1, 1.0, 1.0))[0],
        background=r.choice(list(PLAIN)) if plain else r.choice(SCENES),
        size=(192, 128) if two and r.random() < 0.5 else (128, 128),
        flip=r.random() < 0.5,
        seed=r.randrange(1 << 30),
    )


def jittered(spec: Spec, r: random.Random) -> Spec:
    """The same characters in another picture: new view, pose, mouth and background (for a LoRA's training set)."""
    people = tuple(replace(c, pose=r.choice(POSES), mouth=r.choice(MOUTHS)) for c in spec.characters)
    fresh = random_spec(r, people=len(people))
    return replace(fresh, characters=people, style=spec.style, angle="front")


def character_tags(c: Character, view: str, angle: str) -> list[str]:
    """Only what can be seen is tagged, as booru taggers do."""
    tags = [f"{c.hair} hair", c.hairstyle]
    if angle == "front":
        tags += [f"{c.eyes} eyes", c.mouth]
    if c.skin != "fair":
        tags.append("dark skin" if c.skin == "dark" else "tan")
    if view != "close-up":
        upper, _, lower = c.outfit.partition(" and ")
        tags.append(f"{c.top} {upper}")
        if view == "full body" and lower:
            tags.append(f"{c.bottom} {lower}")
        if c.pose != "arms down":
            tags.append(c.pose)
    if c.hat != "none":
        tags.append(f"{c.hat_color} {c.hat}" if c.hat in COLORED_HATS else c.hat)
    return tags


def tags(spec: Spec) -> list[str]:
    """Booru-style tags: count first, then each character's, then view, angle, style and background."""
    people = [c.gender for c in spec.characters]
    out = [f"{n}{g}{'s' if n > 1 else ''}" for g in ("girl", "boy") if (n := people.count(g))]
    if len(people) == 1:
        out.append("solo")
    for c in spec.characters:
        out += [t for t in character_tags(c, spec.view, spec.angle) if t not in out]
    out.append(spec.view)
    if spec.angle != "front":
        out.append(spec.angle)
    if spec.style != "anime":
        out.append(spec.style)
    if spec.background in PLAIN:
        out += ["simple background", f"{spec.background} background"]
    else:
        out.append(spec.background)
    return out


def all_tags() -> list[str]:
    """Every tag the world can produce, sorted; the miniature's text model learns the words of these."""
    r = random.Random(5)
    return sorted({t for _ in range(8000) for t in tags(random_spec(r))} | set(UNSEEN_STYLES))
