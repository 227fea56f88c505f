"""Single jobs: started outside of a workflow, and as Snakemake prints them."""

import importlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrl.arithmetic import NATIVE
from rrl.config.settings import dump
from rrl.job import Card, Job, read_card
from rrl.jobs import STAGES
from rrl.jobs.stage import Computing
from tests.helpers.clones import CLONE

# What shells, Snakemake's patterns and format strings would act on.
HOSTILE = 'It\'s "$(touch pwned)" `touch pwned` $HOME \\n \\\\ {wildcards} {{x}} %s ~ * ? ! & | ; <x> # é ß 漢字 🎲 \u00a0 -- @x'
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


INFO = r"(?: .*\n)*"
PRINTED = re.compile(
    rf"^(?:local)?rule (\w+):\n{INFO}    output: (.*)\n{INFO}Shell command: .*? -m rrl\.stages\.(\w+) (.*) 2> \S+$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Printed:
    """A job: its rule, the files that it makes, its stage, and the command line of that."""

    rule: str
    made: tuple[Path, ...]
    stage: str
    words: tuple[str, ...]

    def values(self, flag: str) -> list[str]:
        after = self.words[self.words.index(flag) + 1 :]
        return list(after[: next((at for at, word in enumerate(after) if word.startswith("--")), len(after))])


def printed(output: str) -> list[Printed]:
    """The jobs in the output of Snakemake with --printshellcmds, each once."""
    jobs = [
        Printed(rule, tuple(Path(file.split()[0]) for file in made.split(", ")), stage, tuple(shlex.split(words)))
        for rule, made, stage, words in PRINTED.findall(output)
    ]
    return list(dict.fromkeys(jobs))
