"""The claims: what the guide says, the two ways that are compared, and what is expected of the measures.

A way is a merge formula, a training, or a choice among a run's epochs. STYLE was trained on the style that the
miniature has never seen, BASE on its own pictures; trainings are those of :mod:`bench.truth.trainings`.
"""

from __future__ import annotations

from dataclasses import dataclass

CHARACTER, OF_STYLE = "character", "style"  # subjects of trainings
EPOCH = "epoch"  # of runs that are there
LIKE, FREE = "like", "free"  # hair, hat and outfit are the character's; the background is the one asked for
LEARNED, LEAKED = "learned", "leaked"  # share of the base's loss that is gone; others get the character's hair
STYLE, KEPT = "style", "kept"  # measures: drawn in the new style; hair, hat, outfit and background as asked
MORE, LESS, ALIKE = "more", "less", "alike"
GP1 = [1.0, 0.6, 0.9, 0.9, 0.9, 0.6, 0.5, 0.4, 0.4, 0.6, 0.8, 1.0, 1.1, 1.1, 1.1, 1.1, 1.1]
GP2 = [0.3, *[0.1] * 11, *[0.2] * 5]
FOUND = "unet_lr=1 te_lr=1 optimizer_args=d0=0.001"  # the rate is; from a start that 24 steps can leave
SUBTRACTED = "STYLE:1:GP1,BASE:-1:GP2"


@dataclass(frozen=True)
class Claim:
    """``expected``: measure -> what the guide says of ``other`` compared with ``usual``."""

    name: str
    says: str
    usual: str
    other: str
    expected: dict[str, str]


def _moved(vector: list[float], first: int, last: int, by: float) -> str:
    """Positions counted from 1, as the guide does."""
    return ",".join(f"{w + by * (first <= i <= last):g}" for i, w in enumerate(vector, start=1))


def _style(name: str, says: str, gp1: str, gp2: str, expected: dict[str, str]) -> Claim:
    return Claim(name, says, SUBTRACTED, f"STYLE:1:{gp1},BASE:-1:{gp2}", expected)


_ALL = (
    Claim("subtract", "Subtracting the base style by GP1 and GP2 keeps the style and gives back the content",
          "STYLE:1", SUBTRACTED, {STYLE: ALIKE, KEPT: MORE}),
    _style("strong", "GP1_STRONG and GP2_STRONG are for a style that is too weak",
           "GP1_STRONG", "GP2_STRONG", {STYLE: MORE}),
    _style("weak-style-1", "Style too weak: raise position 1 of GP2", "GP1", _moved(GP2, 1, 1, 0.1), {STYLE: MORE}),
    _style("weak-style-2", "Not enough: raise positions 13 to 17 of GP1 and GP2",
           _moved(GP1, 13, 17, 0.1), _moved(GP2, 13, 17, 0.1), {STYLE: MORE}),
    _style("chaotic", "The whole image is chaotic: lower positions 3 to 5 of GP1",
           _moved(GP1, 3, 5, -0.1), "GP2", {KEPT: MORE}),
    Claim("weight", "A good LoRA works at 1.0; about 0.8 is acceptable",
          "STYLE:1", "STYLE:0.8", {STYLE: ALIKE, KEPT: ALIKE}),
)  # fmt: skip


def _trained(name: str, says: str, other: str, expected: dict[str, str], usual: str = CHARACTER) -> Claim:
    return Claim(name, says, usual, other, expected)


_TRAININGS = (
    _trained("rank-16", "More rank than 8 holds more of a character", "character rank=16 alpha=16", {LEARNED: MORE}),
    _trained("rank-32", "More rank than 8 holds more of a character", "character rank=32 alpha=32", {LEARNED: MORE}),
    _trained("rank-2", "A small rank is enough for a character", "character rank=2 alpha=2", {LIKE: ALIKE}),
    _trained("alpha-half", "Alpha of half the rank learns as well, more gently", "character alpha=4", {LIKE: ALIKE}),
    _trained("text-fifth", "A text encoder rate of a fifth keeps the rest free", "character te_lr=0.0012",
             {LIKE: ALIKE, FREE: MORE}, "character te_lr=0.006"),
    _trained("text-off", "Without the text encoder a character is learned less well", "character te_lr=0",
             {LIKE: LESS}),
    _trained("min-snr", "Min-SNR 5 learns faster than an unweighted loss",
             "character debiased_estimation=off min_timestep=0 min_snr_gamma=5", {LIKE: MORE},
             "character debiased_estimation=off min_timestep=0"),  # from timestep 250 on it weighs nothing
    _trained("debiased", "Debiased estimation learns faster than an unweighted loss", "character", {LIKE: MORE},
             "character debiased_estimation=off"),
    _trained("min-timestep", "Leaving out the lowest 250 timesteps learns faster", "character", {LIKE: MORE},
             "character min_timestep=0"),
    _trained("noise-offset", "A noise offset of 0.1 is for styles of very dark or bright pictures",
             "style noise_offset=0.1", {STYLE: MORE}, OF_STYLE),
    _trained("ip-noise", "Input perturbation of 0.1 makes what is learned more general",
             "character ip_noise_gamma=0.1", {LEARNED: MORE}),
    _trained("prodigy", "Prodigy finds a rate that is as good as a tuned one",
             f"character optimizer=Prodigy {FOUND}", {LEARNED: ALIKE}),
    _trained("prodigy-plus", "Prodigy-Plus-Schedule-Free needs neither rate nor schedule",
             f"character optimizer=prodigyplus.ProdigyPlusScheduleFree {FOUND}", {LEARNED: ALIKE}),
    _trained("t-lora", "T-LoRA keeps a small set from being learned by heart", "character tlora_rank=2",
             {LEARNED: MORE}),
    _trained("nearest-noise", "The nearest of 4 noises is learned faster", "character nearest_noise=4",
             {LEARNED: MORE}),
    _trained("dora", "DoRA learns more than LoRA of the same rank", "character dora=on", {LEARNED: MORE}),
    _trained("loha", "LoHa learns more than LoRA of equal size", "character algorithm=loha rank=4 alpha=4",
             {LEARNED: MORE}),
    _trained("lokr", "LoKr learns as much as LoRA of equal size", "character algorithm=lokr rank=8 alpha=8",
             {LEARNED: ALIKE}),
    _trained("conv", "Convolutions too (LoCon) hold a style better", "style conv_rank=4 conv_alpha=4", {STYLE: MORE},
             OF_STYLE),
    _trained("shuffle", "Shuffled tags keep the rest free", "character", {FREE: MORE}, "character shuffle=off"),
    _trained("caption-dropout", "Caption dropout of 0.1 makes a style stronger", "style caption_dropout=0.1",
             {STYLE: MORE}, OF_STYLE),
    _trained("flip", "Flipping does no harm to a symmetric character", "character flip=on", {LIKE: ALIKE}),
    _trained("repeats", "Repeats and epochs are the same if their product is", "character repeats=1 epochs=6",
             {LEARNED: ALIKE}),
    _trained("regularisation", "Regularisation images keep others as they were", "character reg_dir=others",
             {LEAKED: LESS}),
    _trained("tags-kept", "Leaving the character's own tags out binds them to the trigger", "character",
             {LIKE: MORE}, "character captions=all"),
    _trained("no-captions", "A style needs captions", "style captions=none", {STYLE: LESS}, OF_STYLE),
    _trained("color-aug", "Colour augmentation costs a character its colours", "character color_aug=on", {LIKE: LESS}),
    _trained("glora", "GLoRA holds a style better than LoRA of equal size", "style algorithm=glora rank=4 alpha=4",
             {STYLE: MORE}, OF_STYLE),
    _trained("block-rates", "Rates per block do what block weights do after a training", "style block_lr=GP1",
             {STYLE: ALIKE, KEPT: ALIKE}, "style drawn=GP1"),
    _trained("faces", "Four pictures of the whole to one of the face are better than one to one", "character faces=3",
             {LIKE: MORE}, "character faces=8"),
    _trained("seen", "Pictures × repeats far below 1000 leave a character unlearned", "character repeats=6",
             {LIKE: MORE, LEARNED: MORE}),
    _trained("over-fit", "Four pictures seen 96 times are over-fit: the loss on others and their look are worse",
             "character pictures=4 repeats=32", {LEARNED: LESS, LIKE: LESS}, "character pictures=4 repeats=8"),
)  # fmt: skip
_EPOCHS = (
    Claim("best-epoch", "The epoch of the lowest fixed-noise loss is as good as the one that looks best",
          "epoch best", "epoch lowest", {LIKE: ALIKE}),
    Claim("last-epoch", "The last epoch is not the best: take the one of the lowest loss",
          "epoch last", "epoch lowest", {LIKE: MORE}),
)  # fmt: skip
CLAIMS = {claim.name: claim for claim in (*_ALL, *_TRAININGS, *_EPOCHS)}
