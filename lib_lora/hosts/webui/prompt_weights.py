"""LoRA tags with a schedule or block weights, applied to the user's own images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from modules import scripts, shared

from lib_lora.adapters.file import LoraFile, read_lora
from lib_lora.adapters.network import Network
from lib_lora.errors import UserError
from lib_lora.hosts.webui.lora_extension import file_named
from lib_lora.hosts.webui.model import WebUIModel
from lib_lora.hosts.webui.settings import tags_wanted
from lib_lora.lora_files import Folders, find_lora
from lib_lora.places import Places
from lib_lora.tools.prompt_loras import BLOCKS, BOUNDS, HIRES, SCHEDULE, TAG, PromptLora, split_prompt, unread_tags
from lib_lora.tools.prompt_networks import networks_of, random_weights

READERS = {  # script files of extensions that read such tags, with what they know; those tags are theirs
    "loractl": {SCHEDULE, HIRES},
    "lora_block_weight": {BLOCKS, BOUNDS},
}
CACHES = ("cached_c", "cached_uc", "cached_hr_c", "cached_hr_uc")  # of encoded prompts, not all in every web UI


class PromptWeights:
    """What the always-visible script does for one generation after another; nothing while no tag asks for it.

    Args:
        loras, data: folders of LoRA files, and of our own.
        model_of: the web UI's ``sd_model`` as a model, for adapters that only generate; a UserError where they cannot.
    """

    def __init__(self, loras: Folders, data: Path, model_of: Callable[[Any], WebUIModel]):
        self.loras = loras
        self.presets = Places(data).block_presets
        self._model_of = model_of
        self._attached: list[Network] = []
        self._handle: Any = None

    def begin_batch(self, p: Any, extra: str = "") -> list[str]:
        """Take our tags out of the batch's prompts and attach what they name.

        Tags that another extension reads stay, and so do those in a notation that is not ours.

        Args:
            p: the web UI's ``processing`` object; ``p.prompts`` are those of the batch, whose first one counts.
            extra: further tags, the accordion's, which nobody else sees.

        Returns:
            What the user should know, a sentence each: tags that nobody can read, and layers that act nowhere.

        Raises:
            UserError: ``extra``, a LoRA or its block weights cannot be used; the image is then made without the tags.
        """
        if self._attached:
            _forget_encoded(p)  # an earlier batch's, with networks that this one may not name
        self.end()
        if not self.are_wanted() or not any(TAG.search(text) for text in (extra, *p.prompts)):
            return []
        own = split_prompt(extra)[1]
        if extra and not own:
            raise UserError("These weights cannot be read", where=extra, fix="Write for example 0.8@0,0.5@0.3,0@1")
        readers = _readers()
        mine = partial(split_prompt, ours=lambda tag: not any(tag.needs <= knows for knows in readers))
        found = [mine(text) for text in p.prompts]
        tags = [*own, *found[0][1]]
        remarks: list[str] = []
        if tags:
            p.prompts[:] = [rest for rest, _ in found]
            for name in ("all_hr_prompts", "hr_prompts"):
                if texts_of_pass := getattr(p, name, None):
                    setattr(p, name, [mine(text)[0] for text in texts_of_pass])
            _forget_encoded(p)
            remarks = self._attach(p, tags)
        unread = [] if readers else [str(problem) for problem in unread_tags(p.prompts[0])]
        return remarks + unread

    def are_wanted(self) -> bool:
        """Whether the user has left the setting on."""
        return tags_wanted()

    def end(self) -> None:
        """Leave no trace in the model; does nothing when nothing is attached."""
        while self._attached:
            self._attached.pop().detach()
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _attach(self, p: Any, tags: Sequence[PromptLora]) -> list[str]:
        """All of ``tags`` or, after any exception, none of them and nothing of ours in the model.

        Returns:
            Remarks on their files, each once.
        """
        try:
            model = self._model_of(p.sd_model)
            files = [read_lora(file_named(tag.name) or find_lora(tag.name, self.loras)) for tag in tags]
            seed = _seed(p)
            scheduled = self._attached_to(model, list(zip(tags, files, strict=True)), seed)

            def before_step(*_: Any) -> None:
                step, steps = progress(p)
                hires = bool(getattr(p, "is_hr_pass", False))
                for tag, network in scheduled:
                    network.multiplier = tag.unet_weight(step, steps, hires)

            self._handle = model.unet.register_forward_pre_hook(before_step)
            p.lora_workbench_names = [tag.name for tag in tags]  # for the infotext, see lora_extension.add_hashes
            close = p.close

            def close_and_end() -> None:  # the web UI closes ``p`` whatever happens
                self.end()
                close()

            p.close = close_and_end
            remarks = [remark for file in files for remark in file.remarks]
            pairs = zip(tags, files, strict=True)
            drawn = [random_weights(tag, self.presets, file.family, seed) for tag, file in pairs]
            return list(dict.fromkeys([*remarks, *filter(None, drawn), *_not_honoured(tags)]))
        except BaseException:  # out of memory half-way, a host of another version, Ctrl-C
            self.end()
            raise

    def _attached_to(
        self, model: WebUIModel, tags: Sequence[tuple[PromptLora, LoraFile]], seed: int
    ) -> list[tuple[PromptLora, Network]]:
        """Attach the files of ``tags``; those whose weight follows the steps."""
        layers = model.layers()
        scheduled: list[tuple[PromptLora, Network]] = []
        for tag, file in tags:
            for part, network in networks_of(tag, file, self.presets, seed):
                network.attach(layers)
                self._attached.append(network)
                model.place(network)
                if part == "unet":
                    scheduled.append((tag, network))
        return scheduled


def _readers() -> list[set[str]]:
    """What each installed extension knows that reads such tags."""
    stems = {Path(data.path).stem for data in scripts.scripts_data}
    return [knows for stem, knows in READERS.items() if stem in stems]


def _not_honoured(tags: Sequence[PromptLora]) -> list[str]:
    """Tags that ask for what we cannot do: the web UI encodes the prompts of both passes before the first one."""
    differing = [tag.name for tag in tags if tag.hires_te and tag.hires_te.at(0, 1) != tag.te_weight()]
    what = "in the hires pass its text encoder keeps the weight of the first"
    return [f"{name}: {what}; hrunet is applied" for name in differing]


def _seed(p: Any) -> int:
    """Of the batch's first image."""
    seeds = getattr(p, "seeds", None) or getattr(p, "all_seeds", None) or [getattr(p, "seed", 0)]
    return int(seeds[0])


def _forget_encoded(p: Any) -> None:
    """Have the prompts encoded again: what the web UI has kept does not know our networks."""
    for name in CACHES:
        if cache := getattr(p, name, None):
            setattr(p, name, [None] * len(cache))


def progress(p: Any) -> tuple[int, int]:
    """The present step and the number of steps.

    The sampler's own counter is exact; the web UI's progress bar lags a step behind in some samplers.
    """
    denoiser = getattr(getattr(p, "sampler", None), "model_wrap_cfg", None)
    steps = getattr(denoiser, "total_steps", None)
    if steps:
        return denoiser.step, steps
    return shared.state.sampling_step, p.steps
