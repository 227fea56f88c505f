"""Run an experiment: Snakemake on one config, started so that it goes on after a run that was killed."""

import os
import shlex
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from rrl.errors import UserError

CLONE = Path(__file__).resolve().parents[2]
SNAKEFILE = CLONE / "Snakefile"
# Snakemake looks for jobs to start every so often, once more often for each job that it started: the default, a second,
# costs half a minute in the demo. --quiet comes last: it takes all words after it that are no options.
LOCAL = ("--scheduler", "greedy", "--max-jobs-per-timespan", "1000/3s", "--quiet", "host", "rules")


def command_for(name: str, config: Path) -> str:
    """A command of rrl on a config, to be pasted into a shell."""
    return shlex.join(["rrl", name, str(config)])


def options(
    config: Path, words: Sequence[str] = (), cores: int | None = None, dry_run: bool = False, profile: str | None = None
) -> list[str]:
    """Options of Snakemake. words: targets, then further options, which take precedence."""
    targets = list(takewhile(lambda word: not word.startswith("-"), words))
    chosen = [*targets, "--snakefile", str(SNAKEFILE), "--configfile", str(config)]
    if cores or not profile:
        chosen += ["--cores", str(cores or "all")]
    chosen += ["--profile", profile] if profile else LOCAL
    return [*chosen, *["--dry-run"] * dry_run, *words[len(targets) :]]


def run(snakemake: Sequence[str]) -> int:
    """Run Snakemake in this folder with these options, after a check of the config. Returns the exit status."""
    if not SNAKEFILE.exists():
        raise UserError(f"{SNAKEFILE}: missing; rrl run needs a clone of the project")
    sys.path.insert(0, str(CLONE))
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    from workflow import resume

    return resume.main(list(snakemake))
