"""Training on the command line: start, continue, stop by a signal, and list the runs."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from lib_lora.models.base import Host

    from .jobs.queue import JobQueue
    from .jobs.train_job import TrainJob
    from .jobs.views import TrainView
    from .training.config import TrainConfig
    from .training.parallel import Parallel
    from .workbench import Workbench

EXIT_INTERRUPTED = 130
PATIENCE = 10.0  # seconds after the second signal, for the step that is being made

MakeHost = Callable[[argparse.Namespace, str | None], "Host"]


def add_train_commands(
    commands: Any, model: argparse.ArgumentParser, data: argparse.ArgumentParser, host: MakeHost
) -> None:
    """``train`` and ``runs``, as commands of the program.

    Args:
        model, data: options of the commands that need a model, and of those that need the data folder only.
        host: makes the host of the options, with a checkpoint of that name loaded.
    """
    command = commands.add_parser("train", parents=[model], help="train by a settings file, or continue a run")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("config", type=Path, nargs="?", metavar="run.toml", help="settings")
    what.add_argument("--resume", metavar="RUN", help="id of a run that was stopped or cut off; see runs")
    command.set_defaults(run=train, host=host)
    command = commands.add_parser("runs", parents=[data], help="list the runs, newest first")
    command.set_defaults(run=runs)


def train(args: argparse.Namespace) -> int:
    """One run from start to end, or from where it was; with others, where a launcher has started several processes."""
    from .jobs.views import DONE
    from .training.config_file import read_config
    from .training.parallel import joined
    from .training.run_store import RunStore
    from .workbench import Workbench

    with Signals() as signals:
        config = read_config(args.config) if args.config else RunStore(args.data / "runs").open(args.resume).config()
        with joined() as parallel:
            if parallel.world > 1:
                return _train_together(args, config, parallel)
        workbench = Workbench(args.host(args, config.model))
        job = workbench.continued(args.resume) if args.resume else _new(workbench, config, parallel)
        print(f"run {job.run.id}", flush=True)
        view = follow(workbench, workbench.queue.submit(job), signals)
        workbench.queue.leave(PATIENCE)
    run = view.run
    if view.error:
        print(f"saved states stay; go on with: train --resume {run}", flush=True)
        raise UserError(view.error["what"], where=view.error["where"] or None, fix=view.error["fix"] or None)
    if view.state == DONE:
        print(f"saved {view.plain()}\nrun {run}; compare its epochs: grid --training {run} --prompt …")
        return 0
    print(f"stopped; go on with: train --resume {run}")
    return EXIT_INTERRUPTED


def _new(workbench: Workbench, config: TrainConfig, parallel: Parallel) -> TrainJob:
    """A new training; one that was begun with the same settings is to be continued instead."""
    begun = workbench.unfinished(config)
    if begun is not None:
        fix = f"Continue it with: train --resume {begun.id}. To start anew, choose another name"
        raise UserError("This training was begun already", where=begun.id, fix=fix)
    return workbench.new_training(config, parallel)


def _train_together(args: argparse.Namespace, config: TrainConfig, parallel: Parallel) -> int:
    from .jobs.together import choose_job, train_together
    from .workbench import Workbench

    workbench = Workbench(args.host(args, config.model))

    def choose() -> TrainJob:
        if args.resume:
            return workbench.continued(args.resume, parallel=parallel)
        return _new(workbench, config, parallel)

    job = choose_job(parallel, choose, workbench.runs)
    run = job.run
    if parallel.leads:
        print(f"run {run.id}", flush=True)
    try:
        train_together(workbench.host, job, lambda line: print(line, flush=True))
    finally:
        if parallel.leads and run.status != "finished":
            print(f"go on with: train --resume {run.id}", flush=True)
    if parallel.leads:
        print(f"saved {run.result()['path']}\nrun {run.id}")
    return 0


def runs(args: argparse.Namespace) -> int:
    """List the runs, newest first: id, how it ended, steps, name."""
    from .training.run_store import RunStore

    found = RunStore(args.data / "runs").with_config()
    for run, config in found:
        print(f"{run.id}  {run.status:<10}  {run.steps:>7} steps  {config.name}")
    if not found:
        print(f"no run yet in {args.data / 'runs'}")
    return 0


class Signals:
    """Ctrl-C, and what asks a process to end (SIGTERM, a closed console), for the length of a ``with`` block.

    Each interrupts as Ctrl-C does, until :meth:`count` is called; from then on they are only counted.
    """

    def __init__(self) -> None:
        self.presses = 0
        self._counting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # only there signals can be handled
            names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # some are not everywhere
            for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup: to go on is what the user wants
                    self._before[number] = signal.signal(number, self._pressed)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def count(self) -> None:
        """From now on count them in ``presses`` instead."""
        self._counting = True

    def _pressed(self, _number: int, _frame: object) -> None:
        self.presses += 1
        if not self._counting:
            raise KeyboardInterrupt


def until_told_to_end(queue: JobQueue, signals: Signals) -> None:
    """Wait for the first signal, then for the job that runs, which saves its state; the second one leaves at once."""
    signals.count()
    while not signals.presses:
        time.sleep(0.2)
    if not queue.end():
        return
    print("ends once the running job has saved its state; once more leaves at once", flush=True)
    last = float("inf")
    while queue.current() is not None:
        queue.leave(0.2)
        if signals.presses > 1 and last == float("inf"):
            queue.cancel()
            last = time.monotonic() + PATIENCE
        if time.monotonic() > last:
            os._exit(EXIT_INTERRUPTED)  # as below
    queue.leave(PATIENCE)


def follow(workbench: Workbench, job_id: int, signals: Signals) -> TrainView:
    """Print a job's progress until it has ended.

    The first signal stops it after its step, with its state saved; the second one leaves at once, to the state that was
    saved last.
    """
    shown, heard, last = "", 0, float("inf")
    from .jobs import views

    signals.count()
    while True:
        view = workbench.queue.wait(job_id, timeout=0.2)
        assert isinstance(view, views.TrainView)
        if signals.presses > heard:
            heard = signals.presses
            if heard == 1:
                print("stops after this step and saves its state; once more leaves at once", flush=True)
                workbench.queue.stop(job_id)
            else:
                workbench.queue.cancel(job_id)
                last = min(last, time.monotonic() + PATIENCE)
        if time.monotonic() > last:
            print(f"left in the middle of a step; go on with: train --resume {view.run}", flush=True)
            os._exit(EXIT_INTERRUPTED)  # files are whole at any moment; the thread that trains would only crash
        line = f"{view.done}/{view.total}  {view.note}"
        if line != shown and view.total:
            left = "" if view.remaining is None else f"  {view.remaining:.0f} s left"
            print(f"{line}{left}", flush=True)
            shown = line
        if view.ended:
            return view
