"""The training loop: a generator that yields events and owns no thread, lock or page.

Everything random is a function of (seed, step), and the learning rate is a function of the step; so weights, optimizer
moments and the step number are the whole state of a run, and a resumed run is bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence

import torch
from torch import nn

from lib_lora.errors import UserError
from lib_lora.models.base import HostPaths, LoadedModel
from lib_lora.models.memory import OUT_OF_MEMORY
from lib_lora.training import events, keeper
from lib_lora.training.backups import back_up
from lib_lora.training.memory import out_of_memory
from lib_lora.training.meter import Diverged
from lib_lora.training.optim import set_learning_rate
from lib_lora.training.parallel import ALONE, Parallel
from lib_lora.training.requests import BACKUP, SAMPLE, SAVE, SAVE_AND_STOP, STOPS, Requests
from lib_lora.training.run import Onlooker, Run
from lib_lora.training.session import Session, prepare
from lib_lora.training.weight_norms import limit_weight_norms


def train(session: Session, requests: Requests) -> Iterator[events.Event]:
    """Make steps until the run's end or until ``requests`` stop it; the network is attached meanwhile."""
    config, data, network, optimizer = session.config, session.data, session.network, session.optimizer
    if config.sample_first and session.step == 0:
        yield events.SampleDue(0, 0)
    while session.step < data.total:
        started = time.perf_counter()
        lr = set_learning_rate(optimizer, config, session.step, data.total, data.steps_per_epoch)
        trained = [p for p in network.parameters() if p.requires_grad]
        losses = []
        for place in _one_by_one(session.parallel.parts(config.batch_parts), trained):
            losses.append(torch.zeros((), device=session.model.device))
            micro_steps = data.micro_steps(session.step)
            for micro in micro_steps:
                batch, drawn = session.batch(micro, place)
                if not len(batch):
                    continue
                # around the backward pass too: checkpointing runs the layers again
                with session.dropping(micro, place, drawn), session.denoiser.learning():
                    loss = session.loss(batch, drawn) / len(micro_steps)
                    if loss.requires_grad:
                        torch.autograd.backward(loss * session.scaler.scale)
                losses[-1] += loss.detach()
        total = sum(losses[1:], losses[0])
        session.parallel.add_up_gradients(trained, total)
        session.scaler.unscale([p.grad for p in trained if p.grad is not None])
        norm = nn.utils.clip_grad_norm_(trained, config.max_grad_norm or float("inf"))
        if session.scaler.accepts(norm):
            optimizer.step()
        else:
            norm = torch.zeros_like(norm)
        optimizer.zero_grad(set_to_none=True)
        if config.scale_weight_norms:
            limit_weight_norms(network, config.scale_weight_norms)
        session.step += 1
        session.averaging.update(session.step)
        session.meter.add(session.step, lr, total, norm)
        if session.meter.due:
            keeper.read_meter(session)
        seconds = time.perf_counter() - started
        yield events.StepDone(session.step, data.total, session.epoch, session.meter.last, lr, seconds)
        if (yield from after_step(session, requests)):
            return
    path = keeper.write_final(session)
    session.run.set_result("finished", session.step, path)
    yield events.Finished(path, session.step)


def after_step(session: Session, requests: Requests) -> Generator[events.Event, None, bool]:
    """What is to be done after a step: its epoch's end, its state, what was asked for. True when a stop was."""
    config, step, last = session.config, session.step, session.step == session.data.total
    samples = _every(config.sample_every_n_steps, step)
    if _every(config.save_every_n_steps, step) and not last:
        keeper.read_meter(session)
        yield events.Saved(keeper.write_lora(session, session.checkpoints.step_path(step)), step)
    if last or step % session.data.steps_per_epoch == 0:
        done, every = keeper.end_epoch(session), config.sample_every_n_epochs
        if done is not None:
            yield done
            samples |= _every(every, done.epoch)
    elif step % config.state_every_n_steps == 0:
        keeper.save_state(session)
    asked = requests.close() if last else requests.take()
    stopped = bool(asked & STOPS) and not last
    if asked & {SAVE, SAVE_AND_STOP} and not last:  # the last step has the run's own file
        keeper.read_meter(session)
        yield events.Saved(keeper.write_lora(session, session.checkpoints.step_path(step)), step)
    if asked - {SAMPLE} and not last:
        keeper.save_state(session)
    if BACKUP in asked:
        yield events.BackedUp(back_up(session.run), step)
    if samples or SAMPLE in asked:
        if stopped:
            yield events.Warned(f"The sample images of step {step} were not drawn: training was stopped")
        else:
            yield events.SampleDue(session.epoch, step)
    if stopped:
        session.run.set_result("stopped", step, session.last_saved)
        yield events.Stopped(step)
    return stopped


def _every(count: int, number: int) -> bool:
    """Whether something that comes every ``count`` (0: never) is due at ``number``."""
    return count > 0 and number % count == 0


def _one_by_one(places: Sequence[Parallel], trained: Sequence[nn.Parameter]) -> Iterator[Parallel]:
    """The parts of a batch; the gradients of each are made apart and then added, as where each has its own process.

    So it changes nothing, not even by rounding, whether one process has two parts or two processes have one each.
    """
    for place in places:
        before = [p.grad for p in trained]
        for parameter in trained:
            parameter.grad = None
        yield place
        for parameter, grad in zip(trained, before, strict=True):
            if grad is not None:
                parameter.grad = grad if parameter.grad is None else grad.add_(parameter.grad)


class Trainer:
    """One run of training, from its first or its last saved step to the end.

    Args:
        run, model, paths, parallel: as of :func:`prepare`.
        requests: what others ask for meanwhile.
    """

    def __init__(
        self,
        run: Run,
        model: LoadedModel,
        paths: HostPaths,
        requests: Requests | None = None,
        parallel: Parallel = ALONE,
    ):
        self.run_folder = run if parallel.leads else Onlooker(run.folder, run.record)
        self.model = model
        self.requests = requests or Requests()
        self.session: Session | None = None  # while the network is on the model
        self._preparation = prepare(self.run_folder, model, paths, parallel)

    def run(self) -> Generator[events.Event, None, None]:
        """Train, yielding one event per step and more around them; closing the generator leaves the model clean."""
        session = yield from self._preparation
        config, items = session.config, session.data.batches.items
        problem: UserError | None = None
        try:
            with session.attached():
                self.session = session
                yield from (events.Warned(note) for note in session.notes)
                yield from train(session, self.requests)
            return
        except Diverged as error:
            problem = error
        except OUT_OF_MEMORY:
            pass  # said below, when the step's tensors are gone
        finally:
            self.requests.close()
            self.session, step, saved = None, session.step, session.last_saved
            del session
        problem = problem or out_of_memory(self.model, config, items, step + 1)
        self.run_folder.set_result("failed", step, saved, str(problem))
        yield events.Failed(problem, step, saved)
