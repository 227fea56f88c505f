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
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.clones import copy_clone, snakemake

ROOT = "results/tiny"
PAGE = 4096
SECONDS = 60  # that a job may take
OUTPUTS = ("--output", "--csv", "--svg", "--logits", "--keep")


@dataclass(frozen=True)
class Command:
    """The command of a job: stage, flags, the files that it makes."""

    stage: str
    words: tuple[str, ...]

    def made(self) -> set[Path]:
        files = {Path(path) for flag in OUTPUTS for path in self.of(flag)}
        return files - {Path(".")}

    def of(self, flag: str) -> list[str]:
        if flag not in self.words:
            return []
        after = self.words[self.words.index(flag) + 1 :]
        return list(after[: next((at for at, word in enumerate(after) if word.startswith("--")), len(after))])


def commands(clone: Path) -> list[Command]:
    """Of all jobs."""
    options = ("--dry-run", "--forceall", "--printshellcmds")
    output = snakemake(clone, options=options, quiet=False)
    lines = sorted(set(re.findall(r"-m (rrl\.stages\.\w+ .*) 2> \S+$", output, re.MULTILINE)))
    words = [shlex.split(line) for line in lines]
    return [Command(stage.removeprefix("rrl."), tuple(rest)) for stage, *rest in words]


def readers(every: list[Command]) -> dict[Path, list[Command]]:
    """File -> jobs that read its content. Features are read through a representation, logits with their record."""
    found: dict[Path, list[Command]] = {}

    def add(path: Path, command: Command) -> None:
        found.setdefault(path, []).append(command)

    behind = {Path(command.of("--output")[0]): command for command in every}
    for command in every:
        cards = [Path(word) for word in command.words if Path(word) in behind and Path(word) not in command.made()]
        for card in cards:
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
                for member in behind[card].of("--features"):
                    for split in splits:
                        add(Path(member).with_suffix("") / split.name, command)
            if command.stage in ("ensemble", "merge") and kind in ("records", "finetuned"):
                logits = behind[card].of("--logits") or []
                for path in logits:
                    add(Path(path), command)
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


def run(command: Command, log: Path) -> int | None:
    """Exit status of the job in a process of its own; None if it took too long, negative if a signal ended it."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            sys.stderr = open(log, "w", buffering=1)  # noqa: SIM115  until this process ends
            os.dup2(sys.stderr.fileno(), 2)
            signal.alarm(SECONDS)
            sys.argv = [command.stage, *command.words]
            from rrl.command import run as run_stage

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


def trial(path: Path, command: Command, log: Path, chance: random.Random) -> tuple[str, str]:
    """In a clone, the working directory: `refused`, `harmless`, or a fault; and what was done. All is put back."""
    before = {made: made.read_bytes() for made in [path, *command.made()] if made.exists()}
    runs = {made.with_suffix(".run.json") for made in command.made()}
    before |= {made: made.read_bytes() for made in runs if made.exists()}
    what = f"{path}: {damage(path, chance)}; rrl.stages.{command.stage}"
    for made in command.made():
        made.unlink(missing_ok=True)
    status = run(command, log)
    said = log.read_text(errors="replace")
    same = all(made.exists() and made.read_bytes() == before[made] for made in command.made())
    for made, content in before.items():
        made.write_bytes(content)
    if status == 0 and same:
        return "harmless", what
    line = said.strip().splitlines()[-1] if said.strip() else ""
    if status == 1 and line.startswith(f"Error: {path}: ") and f"to rebuild it: rm -f {path}, then run the" in line:
        return "refused", what
    return f"exit status {status}, {'the same' if same else 'other'} results: {said[-1500:]}", what


def trials(clone: Path, flips: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Kind of file, outcome, and what was done; as many of each kind."""
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
