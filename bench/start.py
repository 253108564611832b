"""From the click on "Start" to the first optimizer step, inside a web UI of A1111's kind with its model loaded.

The web UI is the double that the tests use: its queue, its loader and ldm's own classes. The model has the miniature's
shape and random weights; latents are cached from an earlier run.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from lib_lora.dataset.cache import LatentCache
from lib_lora.demo.architecture import MINIATURE, random_checkpoint
from lib_lora.demo.tour.datasets import character_caption, character_specs, write_dataset
from lib_lora.models.base import Host
from lib_lora.training.config import TrainConfig
from lib_lora.training.meter import Meter
from lib_lora.workbench import Workbench

DOUBLE = Path(__file__).parents[1] / "tests" / "hosts" / "doubles" / "a1111"
IMAGES, PIXELS = 10, 128
WAIT = 600.0


def run() -> dict[str, float]:
    """Measure with the threads torch has now.

    Returns:
        ``seconds``: click to the end of the first optimizer step, less what latents and text took, which are
        ``latent_seconds`` and ``text_seconds``; ``cpu_seconds`` is this process's share of all of it, for a machine
        that has other work. ``checkpoint_bytes_read``: 0 if the run could do without the file,
        which is not there meanwhile, else its size. ``weight_copies``: weights that are in memory a second time.

    Raises:
        RuntimeError: a run failed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = random_checkpoint(folder / "models" / "model.safetensors", seed=0, shape=MINIATURE)
        host = started_web_ui(checkpoint, folder / "webui")
        bench, pictures = Workbench(host), write_pictures(folder / "pictures")
        finish(bench, settings(pictures, "first"))  # caches latents, and imports what is imported late
        size = checkpoint.stat().st_size
        checkpoint.unlink()
        return {**measure(bench, settings(pictures, "second"), size), "threads": torch.get_num_threads()}


def started_web_ui(checkpoint: Path, folder: Path) -> Host:
    """The host of a web UI that has loaded ``checkpoint``."""
    sys.path.insert(0, str(DOUBLE))
    import starting

    host = starting.start(checkpoint, folder)
    host.load(checkpoint.name)
    return host


def write_pictures(folder: Path) -> Path:
    """Paper dolls with captions."""
    specs = character_specs(IMAGES)
    folder.mkdir()
    write_dataset(folder, specs, [character_caption(spec) for spec in specs])
    return folder


def settings(pictures: Path, name: str) -> TrainConfig:
    """One epoch; the text encoder is trained too."""
    return TrainConfig(
        name=name, data_dir=str(pictures), epochs=1, batch_size=2, resolution=PIXELS, fixed_loss_images=0,
        sample_every_n_epochs=0,
    )  # fmt: skip


def finish(bench: Workbench, config: TrainConfig) -> None:
    """Train to the end."""
    view = bench.queue.wait(bench.start_training(config), WAIT)
    if view.state != "done":
        raise RuntimeError(view.traceback or view.state)


def measure(bench: Workbench, config: TrainConfig, checkpoint_bytes: int) -> dict[str, float]:
    """Train, and tell what was before and in the first step."""
    from modules import shared

    from lib_lora.hosts.a1111.model import A1111Model

    steps, latents, text, found = [], [], [], {}

    def look(_: Meter) -> None:
        found["cpu_seconds"] = time.process_time() - cpu
        found["weight_copies"] = copied_weights(shared.sd_model)

    with (
        timed(LatentCache, "prepare", latents),
        timed(A1111Model, "encode_text", text),
        timed(Meter, "add", steps, look),
    ):
        click, cpu = time.perf_counter(), time.process_time()
        try:
            finish(bench, config)
            bytes_read = 0
        except RuntimeError as error:
            if "No such file" not in str(error):
                raise
            return {"checkpoint_bytes_read": checkpoint_bytes}
    first = steps[0][1]
    spent = {name: sum(end - start for start, end in spans if end <= first) for name, spans in
             (("latent_seconds", latents), ("text_seconds", text))}  # fmt: skip
    seconds = first - click - sum(spent.values())
    return {"seconds": seconds, **spent, **found, "checkpoint_bytes_read": bytes_read}


@contextmanager
def timed(
    owner: type, name: str, spans: list[tuple[float, float]], after: Callable[[Any], object] | None = None
) -> Iterator[None]:
    """Append start and end of every call of ``owner.name``, then call ``after`` with the object once."""
    original = getattr(owner, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = original(self, *args, **kwargs)
        if isinstance(result, Iterator):
            return _timed_generator(result, spans)
        spans.append((start, time.perf_counter()))
        if after is not None and len(spans) == 1:
            after(self)
        return result

    with patch.object(owner, name, call):
        yield


def _timed_generator(generator: Any, spans: list[tuple[float, float]]) -> Iterator[Any]:
    start = time.perf_counter()
    try:
        return (yield from generator)
    finally:
        spans.append((start, time.perf_counter()))


def copied_weights(model: torch.nn.Module) -> int:
    """How many of a model's weights lie elsewhere in memory too; constant ones, which say nothing, are left out."""
    weights = [p.detach() for p in model.parameters() if p.numel() > 1 and p.min() != p.max()]
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    others: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
    for tensor in _tensors(gc.get_objects()):
        if tensor.untyped_storage().data_ptr() not in own:
            others[tuple(tensor.shape)].append(tensor.detach())
    return sum(any(_same(weight, other) for other in others[tuple(weight.shape)]) for weight in weights)


def _tensors(objects: Iterable[object]) -> Iterator[Tensor]:
    for thing in objects:
        if type(thing) not in (Tensor, nn.Parameter):  # others may have no memory of their own, such as a compiler's
            continue
        if thing.device.type != "meta" and thing.layout == torch.strided:
            yield thing


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(torch.equal(a, b.to(a.device, a.dtype)))
