"""Jobs of single stages, outside of a workflow."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrl.arithmetic import NATIVE
from rrl.config.settings import dump
from rrl.job import Card, Job, read_card
from rrl.jobs import STAGES
from rrl.jobs.stage import Computing
from tests.helpers.clones import CLONE

PLACES: dict[str, Any] = {"data_root": CLONE / "data", "file": "", "gpus": 1, "keep": ""}


def words(
    stage: str, settings: dict[str, Any], inputs: Sequence[Card], output: Path, threads: int = 1, **places: Any
) -> list[str]:
    """The command line of a job.

    settings : fields of the stage's class, as objects; arithmetic is native if it is not among them.
    places : other than PLACES, of those that the stage needs.
    """
    kind = STAGES[stage]
    made = kind(**(({"arithmetic": NATIVE} if issubclass(kind, Computing) else {}) | settings))
    key = Job(stage, made, tuple(inputs), output).key
    command = ["--settings", dump(made), "--inputs", *(str(card.path) for card in inputs), "--key", key]
    command += ["--output", str(output), "--threads", str(threads)]
    return command + [f"--{name.replace('_', '-')}={(PLACES | places)[name]}" for name in kind.needs]


def run(stage: str, settings: dict[str, Any], inputs: Sequence[Card], output: Path, **others: Any) -> Card:
    """Run a job in this process; its card."""
    importlib.import_module(f"rrl.stages.{stage}").main(words(stage, settings, inputs, output, **others))
    return read_card(output)
