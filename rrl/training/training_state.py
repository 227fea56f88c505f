"""The whole state of an unfinished training, saved now and then, so that a killed job loses minutes at most.

A job that ends before its first save writes nothing. The same job, started again, goes on from the last save and
makes the same bytes.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from rrl.bars import write_line
from rrl.job import Job
from rrl.store.files import is_full, sha256_of_file
from rrl.store.work import claim, folder_of
from rrl.training.processes import ALONE, Processes

SECONDS = 300.0  # between two saves
PARTIAL = "state.partial"

Group = tuple[list[Tensor], float, list[Tensor | None]]  # parameters, their weight decay, their velocities


@dataclass
class Position:
    """Where a training is: in epoch `epoch`, counted from 0, after `step` steps; and sums over these steps."""

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    right: float = 0.0
    seen: float = 0

    def next_epoch(self) -> None:
        vars(self).update(asdict(Position(self.epoch + 1)))


@runtime_checkable
class Stateful(Protocol):
    """What is called after each epoch, where it remembers something."""

    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Unsaved:
    """A training that is not saved."""

    processes = ALONE

    def begin(self, at: Position, network: nn.Module, groups: list[Group], after_epoch: Callable[[int], None]) -> None:
        """Called before the first step. Sets all of these to the saved state, if there is one."""

    def safe_point(self, settle: Callable[[], None] = lambda: None) -> None:
        """Called, by all processes, wherever what `begin` was given is a state to go on from, once `settle` was
        called. Saves it if it is time to."""

    def say(self, line: str) -> None:
        """A line of the log."""
        if self.processes.first:
            write_line(line)

    def end(self) -> None:
        """Called after the last epoch."""


class Saved(Unsaved):
    """A training that is saved in the job's folder below `work/`, every SECONDS, and on SIGTERM or Ctrl-C.

    Of several processes the first saves; when any of them is told to end, all do.
    A context: the folder is removed when the block ends well, so the block must end behind the job's last act.
    """

    def __init__(self, job: Job, processes: Processes = ALONE):
        digests = [card.digest for card in job.inputs]
        self.key = sha256(" ".join([job.key, *digests]).encode()).hexdigest()[:16]
        self.root, self.artifact = job.root, job.artifact
        self.folder = folder_of(self.root, self.artifact, self.key)
        self.processes = processes
        self.lines: list[str] = []
        self.claimed = self.running = False
        self.told: signal.Signals | None = None
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        if self.processes.first and self.folder.exists():
            self._claim()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self.stack.__exit__(kind, error, trace)

    def _claim(self) -> None:
        self.stack.enter_context(claim(self.root, self.artifact, self.key))
        self.claimed = True

    def begin(self, at: Position, network: nn.Module, groups: list[Group], after_epoch: Callable[[int], None]) -> None:
        self.at, self.network, self.groups = at, network, groups
        self.after_epoch = after_epoch if isinstance(after_epoch, Stateful) else None
        state = self._read()
        if state is not None:
            self._restore(state)
            self.lines = state["lines"]  # a job that is started again has a new log
            for line in self.lines:
                super().say(line)
            super().say(f"goes on at epoch {at.epoch + 1}, step {at.step}, from {self.folder}")
        self.saved = time.monotonic()
        self.running = True
        self.previous = {number: signal.signal(number, self._tell) for number in (signal.SIGTERM, signal.SIGINT)}

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self.told = signal.Signals(number)  # and no more: a step may be half done
        if self.told == signal.SIGINT:  # whoever presses Ctrl-C again does not want to wait for it
            signal.signal(number, self.previous[self.told])

    def safe_point(self, settle: Callable[[], None] = lambda: None) -> None:
        if not self.running:
            return
        number = max(self.processes.gather(self.told or 0))
        due = self.processes.first and time.monotonic() - self.saved >= SECONDS
        if not number and not self.processes.any(due):
            return
        settle()
        if self.processes.first:
            outcome = self._save()
            if number:
                name = signal.Signals(number).name
                write_line(f"{name}: {outcome}; the same command goes on from the last save")
        self.processes.wait()
        if number:
            raise SystemExit(128 + number)  # as shells have it

    def _save(self) -> str:
        """What came of it."""
        try:
            self._write()
            outcome = f"saved at epoch {self.at.epoch + 1}, step {self.at.step}, in {self.folder}"
        except Exception as error:  # a full disk costs the save, not the training
            if not (isinstance(error, OSError) or is_full(error)):
                raise
            (self.folder / PARTIAL).unlink(missing_ok=True)
            cause = error if isinstance(error, OSError) else error.__context__ or error  # torch hides the OSError
            outcome = f"{self.folder}: could not save ({cause})"
            write_line(outcome)
        self.saved = time.monotonic()
        return outcome

    def say(self, line: str) -> None:
        super().say(line)
        self.lines.append(line)

    def end(self) -> None:
        """Long trainings are followed by long evaluations: the last state of one is kept until the job is done."""
        if self.claimed:
            self.saved = -SECONDS
        self.safe_point()
        self._stop()

    def _stop(self) -> None:
        if self.running:
            for number, handler in self.previous.items():
                signal.signal(number, handler)
        self.running = False

    def _write(self) -> None:
        """The file's name is its digest, so it has a name only when it is complete."""
        if not self.claimed:
            self._claim()
        state = {
            "key": self.key,
            "at": asdict(self.at),
            "network": {name: tensor.detach().cpu() for name, tensor in _tensors(self.network)},
            "velocities": [
                None if velocity is None else velocity.cpu()
                for *_, velocities in self.groups
                for velocity in velocities
            ],
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            "lines": self.lines,
            "after_epoch": None if self.after_epoch is None else self.after_epoch.state(),
        }
        partial = self.folder / PARTIAL
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        path = self.folder / f"{sha256_of_file(partial)}.pt"
        os.replace(partial, path)
        for older in self.folder.glob("*.pt"):
            if older != path:
                older.unlink()

    def _read(self) -> dict[str, Any] | None:
        """The last state that was saved whole by this very job."""
        latest, state = self._find() if self.claimed else (None, None)
        path = self.processes.from_first(latest)
        return state if self.processes.first or path is None else _load(path)

    def _find(self) -> tuple[Path | None, dict[str, Any] | None]:
        """Its path, and what is in it."""
        paths = sorted(self.folder.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in paths:
            fault = "damaged"
            if sha256_of_file(path) == path.stem:
                state = _load(path)
                if state["key"] == self.key:
                    return path, state
                fault = "of another job"
            print(f"{path}: {fault}, not used", file=sys.stderr)
        if paths:
            print("training starts anew", file=sys.stderr)
        return None, None

    @torch.no_grad()
    def _restore(self, state: dict[str, Any]) -> None:
        vars(self.at).update(state["at"])
        for name, tensor in _tensors(self.network):
            tensor.copy_(state["network"][name])
        saved = iter(state["velocities"])
        for parameters, _, velocities in self.groups:
            for place, parameter in enumerate(parameters):
                velocity = next(saved)
                velocities[place] = None if velocity is None else torch.empty_like(parameter).copy_(velocity)
        torch.set_rng_state(state["random"])
        if state["cuda_random"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda_random"])
        if self.after_epoch is not None:
            self.after_epoch.restore(state["after_epoch"])


def _load(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _tensors(network: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Parameters and buffers, those that no state_dict has included."""
    yield from network.named_parameters()
    yield from network.named_buffers()
