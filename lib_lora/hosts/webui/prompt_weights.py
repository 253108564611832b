"""LoRA tags with a schedule or block weights, applied to the user's own images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modules import scripts, shared

from lib_lora.adapters.blocks import BlockWeights, load_presets
from lib_lora.adapters.file import read_lora
from lib_lora.adapters.network import Network
from lib_lora.adapters.selection import part_of
from lib_lora.hosts.webui.lora_extension import file_named
from lib_lora.hosts.webui.model import WebUIModel
from lib_lora.hosts.webui.settings import tags_wanted
from lib_lora.tools.lora_files import Folders, find_lora
from lib_lora.tools.prompt_loras import PromptLora, split_prompt

OTHERS = ("loractl", "lora_block_weight")  # script files of extensions that read the same tags; they go first
PRESETS_FILE = "block_presets.txt"
CACHES = ("cached_c", "cached_uc", "cached_hr_c", "cached_hr_uc")  # of encoded prompts, not all in every web UI


class PromptWeights:
    """What the always-visible script does for one generation after another; nothing while no tag asks for it.

    Args:
        loras, data: folders of LoRA files, and of our own.
        model_of: the web UI's ``sd_model`` as a model, for adapters that only generate; a UserError where they cannot.
    """

    def __init__(self, loras: Folders, data: Path, model_of: Callable[[Any], WebUIModel]):
        self.loras = loras
        self.presets = data / PRESETS_FILE
        self._model_of = model_of
        self._attached: list[Network] = []
        self._handle: Any = None

    def begin_batch(self, p: Any, extra: str = "") -> None:
        """Take our tags out of the batch's prompts and attach what they name.

        Args:
            p: the web UI's ``processing`` object; ``p.prompts`` are those of the batch, whose first one counts.
            extra: further tags, such as the accordion's.

        Raises:
            UserError: a tag or its LoRA cannot be used; the image is then made without the tags.
        """
        if self._attached:
            _forget_encoded(p)  # an earlier batch's, with networks that this one may not name
        self.end()
        if self.left_to_others():
            return
        texts = [extra, *p.prompts]
        if not any("<lora:" in text for text in texts):
            return
        found = [split_prompt(text) for text in texts]
        tags = [*found[0][1], *found[1][1]]
        if not tags:
            return
        p.prompts[:] = [rest for rest, _ in found[1:]]
        for name in ("all_hr_prompts", "hr_prompts"):
            if texts_of_pass := getattr(p, name, None):
                setattr(p, name, [split_prompt(text)[0] for text in texts_of_pass])
        _forget_encoded(p)
        self._attach(p, tags)

    def left_to_others(self) -> bool:
        """Whether an extension that reads the same tags is installed, or the user does not want us to."""
        return not tags_wanted() or any(Path(data.path).stem in OTHERS for data in scripts.scripts_data)

    def end(self) -> None:
        """Leave no trace in the model; does nothing when nothing is attached."""
        while self._attached:
            self._attached.pop().detach()
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _attach(self, p: Any, tags: Sequence[PromptLora]) -> None:
        """All of ``tags`` or, after any exception, none of them and nothing of ours in the model."""
        try:
            model = self._model_of(p.sd_model)
            scheduled = self._attached_to(model, tags)

            def before_step(*_: Any) -> None:
                step, steps = progress(p)
                for tag, network in scheduled:
                    network.multiplier = tag.unet_weight(step, steps)

            self._handle = model.unet.register_forward_pre_hook(before_step)
            close = p.close

            def close_and_end() -> None:  # the web UI closes ``p`` whatever happens
                self.end()
                close()

            p.close = close_and_end
        except BaseException:  # out of memory half-way, a host of another version, Ctrl-C
            self.end()
            raise

    def _attached_to(self, model: WebUIModel, tags: Sequence[PromptLora]) -> list[tuple[PromptLora, Network]]:
        """Attach what ``tags`` name; those whose weight follows the steps."""
        layers = model.layers()
        scheduled: list[tuple[PromptLora, Network]] = []
        for tag in tags:
            for part, network in self._networks(tag):
                network.attach(layers)
                self._attached.append(network)
                model.place(network)
                if part == "unet":
                    scheduled.append((tag, network))
        return scheduled

    def _networks(self, tag: PromptLora) -> Iterator[tuple[str, Network]]:
        """The file's text encoder part and U-Net part, each with its weight."""
        file = read_lora(file_named(tag.name) or find_lora(tag.name, self.loras))
        weights = None
        if tag.blocks is not None:
            weights = BlockWeights.parse(tag.blocks, load_presets(self.presets), file.family)
        for part in ("te", "unet"):
            modules = {key: tensors for key, tensors in file.modules.items() if part_of(key) == part}
            if not modules:
                continue
            network = Network.from_modules(modules, file.name, file.families)
            for adapter in network.adapters.values():
                adapter.float()
            network.set_block_weights(weights)
            network.multiplier = tag.te_weight() if part == "te" else tag.unet_weight(0, 1)
            yield part, network


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
