"""What Snakemake takes before the first job, and where there is nothing to do.

    python -m benchmarks.workflow --folder /tmp

dry run : of all tables of the paper, from nothing. growth : the same with twice and four times as many supervised
networks, which are trained instead of downloaded; the ratio is that of jobs to that of seconds. no-op of
tiny : of workflow/config/tiny.yaml once it has run. no-op of the paper : as if all were there: true cards beside empty
files, and records that `snakemake --touch` makes of them. Seconds are those of whole processes, the least of the
rounds; beside them the seconds of a core, which other work on the machine changes less.
"""

import argparse
import copy
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.ratios import line
from rrl.config.load import load_config
from rrl.job import Card, Job, read_card
from rrl.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
DRY_RUN, NO_OP = 15.0, 10.0  # seconds
TRAINED = {
    "erm": "resnet50",
    "wide2": "resnet50w2",
    "wide4": "resnet50w4",
    "joint2": "2xresnet50",
    "joint4": "4xresnet50",
}
NOTHING = "Nothing to be done"


def snakemake(folder: Path, config: Path, *options: str) -> str:
    """Runs in `folder`; what it says."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / ".cache")}
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", str(config)]
    result = subprocess.run([*command, *options], cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(result.stdout[-2000:] + result.stderr[-2000:])
    return result.stdout + result.stderr


@dataclass(frozen=True)
class Run:
    """The fastest of some: seconds by the clock and of a core, and what it says."""

    seconds: float
    core: float
    output: str

    @property
    def jobs(self) -> int:
        found = re.search(r"^total +(\d+)$", self.output, re.MULTILINE)
        assert found, self.output[-2000:]
        return int(found[1])

    def told(self, limit: float) -> str:
        return f"{self.seconds:.1f} s of {limit:.0f} (core {self.core:.1f} s)"


def timed(rounds: int, folder: Path, config: Path, *options: str) -> Run:
    runs = []
    for _ in range(rounds):
        start, before = time.perf_counter(), os.times()
        output = snakemake(folder, config, *options)
        seconds, after = time.perf_counter() - start, os.times()
        core = after.children_user + after.children_system - before.children_user - before.children_system
        runs.append(Run(seconds, core, output))
    return min(runs, key=lambda run: run.seconds)


def place(folder: Path, name: str, content: dict[str, Any]) -> tuple[Path, Path]:
    """A folder to run in, with its config."""
    there = folder / name
    there.mkdir()
    (there / "data").symlink_to(ROOT / "data")
    config = there / f"{name}.yaml"
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    return there, config


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def plan_of(content: dict[str, Any], config: Path) -> Plan:
    return Plan(load_config(copy.deepcopy(content), [config]), read(ROOT / "workflow/pins.yaml"))


def with_seeds(content: dict[str, Any], times: int) -> dict[str, Any]:
    """The paper, its supervised networks trained here with so many times as many seeds; all of them are shown."""
    grown = copy.deepcopy(content)
    for family, arch in TRAINED.items():
        count = times * len(grown["networks"][family]["seeds"])
        of = {"origin": "pretrain", "arch": arch, "target": "imagenet", "recipe": "erm", "seeds": list(range(count))}
        grown["networks"][family] = of
    return grown


def tables(content: dict[str, Any]) -> list[str]:
    return [f"{content['results']}/{table}.csv" for table in content["tables"]]


def dry_runs(content: dict[str, Any], growth: Sequence[int], rounds: int, folder: Path) -> None:
    there, config = place(folder, "dry", content)
    run = timed(rounds, there, config, "--dry-run", *tables(content))
    note = f"{run.told(DRY_RUN)}, {run.jobs:,} jobs, {1000 * run.seconds / run.jobs:.1f} ms each"
    line("dry run of the tables, limit / time", DRY_RUN / run.seconds, 1.0, note)
    runs = {}
    for times in (1, *growth) if growth else ():
        grown = with_seeds(content, times)
        there, config = place(folder, f"grown{times}", grown)
        runs[times] = timed(rounds, there, config, "--dry-run", *tables(grown))
    for times in growth:
        run, once = runs[times], runs[1]
        jobs, seconds, core = run.jobs / once.jobs, run.seconds / once.seconds, run.core / once.core
        note = f"{run.jobs:,} jobs in {run.seconds:.1f} s: jobs x {jobs:.2f}, time x {seconds:.2f}, core x {core:.2f}"
        line(f"dry run, seeds x {times}, growth of jobs / of time", jobs / seconds, 1.0, note)


def no_op_of_tiny(rounds: int, folder: Path) -> None:
    there, config = place(folder, "tiny", read(ROOT / "workflow/config/tiny.yaml"))
    snakemake(there, config, "--cores", "all", "--quiet", "all")
    no_op("no-op of tiny", rounds, there, config)


def no_op(what: str, rounds: int, folder: Path, config: Path) -> None:
    run = timed(rounds, folder, config, "--cores", "1")
    if NOTHING in run.output:
        line(f"{what}, limit / time", NO_OP / run.seconds, 1.0, run.told(NO_OP))
    else:
        line(f"{what}, limit / time", 0.0, 1.0, "there was something to do")


def write_cards(plan: Plan, folder: Path) -> None:
    """Of every artifact, as its stage would write it but for its digest and most facts."""
    cards: dict[str, Card] = {}
    for job in plan.jobs:
        path = folder / plan.config.results / f"{job.artifact}.json"
        sources = tuple(cards[source.artifact] for source in job.inputs)
        facts = {"arch": job.architectures[0]} if job.artifact.startswith("networks/") else {}  # code versions need it
        Job(job.stage, job.settings, sources, path).write_card("none", facts)
        cards[job.artifact] = read_card(path)


def no_op_of_paper(content: dict[str, Any], rounds: int, folder: Path) -> None:
    there, config = place(folder, "paper", content)
    write_cards(plan_of(content, config), there)
    for row in snakemake(there, config, "--summary").splitlines():
        name, *columns = row.split("\t")
        if columns and name != "output_file" and not (there / name).exists():
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            (there / name).touch()
    snakemake(there, config, "--cores", "1", "--touch", "--forceall", "--quiet", "all")
    records = sum(path.is_file() for path in (there / ".snakemake/metadata").rglob("*"))
    no_op(f"no-op of the paper, {records:,} files recorded", rounds, there, config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where workflows run, and are removed again")
    parser.add_argument("--config", type=Path, default=ROOT / "config.yaml", help="the paper")
    parser.add_argument("--growth", type=int, nargs="*", default=[2, 4], help="how many times as many seeds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-tiny", action="store_true", help="leave out what has to run the workflow before")
    parser.add_argument("--skip-paper", action="store_true", help="leave out what makes thousands of files before")
    arguments = parser.parse_args()
    content = read(arguments.config)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="workflow-") as name:
        folder = Path(name)
        dry_runs(content, arguments.growth, arguments.rounds, folder)
        if not arguments.skip_tiny:
            no_op_of_tiny(arguments.rounds, folder)
        if not arguments.skip_paper:
            no_op_of_paper(content, arguments.rounds, folder)


if __name__ == "__main__":
    main()
