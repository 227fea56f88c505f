"""Damage the artifacts of a finished tiny experiment at random, and run what reads them next.

    python -m tests.helpers.flips --flips 200 --seed 1

Each damage is of one file: a bit is flipped, the file is cut short, or a page of it becomes zeros. Then a job that
reads the file runs, with the command that the workflow gives it. Either it refuses the file, in a line that names it
and the command that rebuilds it; or what it makes is, byte for byte, what it made before.
"""

import argparse
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rrl.arithmetic import PORTABLE, variables
from tests.helpers.clones import copy_clone, snakemake
from tests.helpers.jobs import Printed, printed

ROOT = "results/tiny"
PAGE = 4096
SECONDS = 60  # that a job may take


def commands(clone: Path) -> list[Printed]:
    """The jobs of the tiny experiment."""
    options = ("--dry-run", "--forceall", "--printshellcmds")
    return printed(snakemake(clone, options=options, quiet=False))


def readers(every: list[Printed]) -> dict[Path, list[Printed]]:
    """File -> jobs that read its content. Features are read through a representation, logits with their record."""
    found: dict[Path, list[Printed]] = {}

    def add(path: Path, command: Printed) -> None:
        found.setdefault(path, []).append(command)

    makers = {path: command for command in every for path in command.made}
    for command in every:
        for card in map(Path, command.values("--inputs")):
            add(card, command)
            kind = card.relative_to(ROOT).parts[0]
            splits = [card.with_suffix("") / f"{split}.h5" for split in ("train", "val", "test")]
            if kind == "targets":
                add(card.with_suffix(".csv"), command)
            if kind == "networks" and command.stage in ("extract", "finetune"):
                add(card.with_suffix(".safetensors"), command)
            if kind == "representations":
                for split in splits:
                    add(split, command)
                for member in makers[card].values("--inputs"):
                    for split in splits:
                        add(Path(member).with_suffix("") / split.name, command)
            if command.stage in ("ensemble", "merge") and kind in ("records", "finetuned"):
                for path in makers[card].made:
                    if path.suffix == ".h5":
                        add(path, command)
    return found


def damage(path: Path, chance: random.Random) -> str:
    """What was done to the file."""
    content = bytearray(path.read_bytes())
    kind = chance.choice(["flip", "cut", "zeros"])
    at = chance.randrange(len(content))
    if kind == "flip":
        content[at] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del content[at:]
    else:
        start = at // PAGE * PAGE
        content[start : start + PAGE] = bytes(len(content[start : start + PAGE]))
    path.write_bytes(content)
    return f"{kind} at byte {at} of {path.stat().st_size if kind != 'cut' else len(content)}"


def import_stages() -> None:
    """What jobs import, once for all processes that `run` starts."""
    for name in (
        "torch",
        "h5py",
        "pandas",
        "matplotlib.figure",
        "rrl.stages.extract",
        "rrl.stages.finetune",
        "rrl.stages.table",
    ):
        importlib.import_module(name)


def run(command: Printed, log: Path) -> int | None:
    """Exit status of the job in a process of its own; None if it took too long, negative if a signal ended it."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            sys.stderr = open(log, "w", buffering=1)  # noqa: SIM115  until this process ends
            os.dup2(sys.stderr.fileno(), 2)
            signal.alarm(SECONDS)
            sys.argv = [command.stage, *command.words]
            from rrl.job import run as run_stage

            run_stage(importlib.import_module(f"rrl.stages.{command.stage}").main)
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 70
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trial(path: Path, command: Printed, log: Path, chance: random.Random) -> tuple[str, str]:
    """In a clone, the working directory: `refused`, `harmless`, or a fault; and what was done. All is put back."""
    before = {file: file.read_bytes() for file in [path, *command.made]}
    what = f"{path}: {damage(path, chance)}; rrl.stages.{command.stage}"
    for file in command.made:
        file.unlink()
    status = run(command, log)
    said = log.read_text(errors="replace")
    results = [file for file in command.made if not file.name.endswith(".run.json")]  # which has times
    same = all(file.exists() and file.read_bytes() == before[file] for file in results)
    for file, content in before.items():
        file.write_bytes(content)
    if status == 0 and same:
        return "harmless", what
    line = said.strip().splitlines()[-1] if said.strip() else ""
    if status == 1 and line.startswith(f"Error: {path}: ") and f"to rebuild it: rm -f {path}, then run the" in line:
        return "refused", what
    return f"exit status {status}, {'the same' if same else 'other'} results: {said[-1500:]}", what


def trials(clone: Path, flips: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Kind of file, outcome, and what was done; as many of each kind."""
    os.environ |= variables(PORTABLE)  # before torch is loaded
    import_stages()
    os.chdir(clone)
    chance = random.Random(seed)
    of = readers(commands(clone))
    kinds: dict[str, list[Path]] = {}
    for path in sorted(of):
        kinds.setdefault(f"{path.relative_to(ROOT).parts[0]}{path.suffix}", []).append(path)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(flips):
            kind = sorted(kinds)[number % len(kinds)]
            path = chance.choice(kinds[kind])
            outcome, what = trial(path, chance.choice(of[path]), Path(folder, "log"), chance)
            yield kind, outcome, what


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--clone", type=Path, help="in which tiny was run; copied, not touched")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "clone")
        if arguments.clone is None:
            folder.mkdir()
            copy_clone(folder)
            snakemake(folder)
        else:
            subprocess.run(["cp", "-a", arguments.clone, folder], check=True)
        counts: Counter[tuple[str, str]] = Counter()
        faults = 0
        for kind, outcome, what in trials(folder, arguments.flips, arguments.seed):
            good = outcome in ("refused", "harmless")
            counts[kind, outcome if good else "fault"] += 1
            if not good:
                faults += 1
                print(f"{what}: {outcome}", file=sys.stderr)
        os.chdir("/")
        for kind in sorted({kind for kind, _ in counts}):
            numbers = ", ".join(f"{counts[kind, word]} {word}" for word in ("refused", "harmless", "fault"))
            print(f"{kind}: {numbers}")
        shutil.rmtree(folder)
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
