"""What a small job of each stage takes beside the start of its process; jobs of workflow/config/tiny.yaml.

    python -m benchmarks.jobs --folder /tmp

The tiny experiment runs first; then one job of each rule runs again, by Snakemake's own command, in turn with `import
torch` in a process of its own or, for a stage that does not import torch, with a process that does nothing. Told is
the median difference over the rounds, in seconds; at most half a second is wanted.

First the start itself: `import torch` by a fork of the fork server, as in `make demo`, against a new Python.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.ratios import interleaved, line, ratio
from benchmarks.records import Ran, imports_torch, ran_in
from benchmarks.workflow import ROOT, place, read, snakemake
from workflow import fork_server
from workflow.resume import start_fork_server

LIMIT = 0.5  # seconds
BASES = {True: "import torch", False: "pass"}


def shell(command: str, folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, shell=True, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def one_of_each_rule(jobs: list[Ran]) -> dict[str, Ran]:
    return {job.rule: job for job in reversed(jobs)}


def measure(jobs: dict[str, Ran], rounds: int, folder: Path) -> dict[str, float]:
    """Rule -> seconds more than the start of its process."""
    works: dict[str, Callable[[], object]] = {
        code: partial(shell, f"{sys.executable} -c '{code}'", folder) for code in BASES.values()
    }
    works |= {rule: partial(shell, job.command, folder) for rule, job in jobs.items()}
    seconds = interleaved(works, rounds)
    more = {}
    for rule, job in jobs.items():
        base = seconds[BASES[imports_torch(job.stage)]]
        more[rule] = statistics.median(whole - start for whole, start in zip(seconds[rule], base, strict=True))
    return more


def measure_start(rounds: int, folder: Path) -> None:
    environment, server = start_fork_server()
    if server is None:
        print("no fork server on this machine: it has a GPU, or is no Linux")
        return
    environment["OMP_NUM_THREADS"] = environment["OPENBLAS_NUM_THREADS"] = (
        "1"  # a server of several threads does not fork
    )
    (folder / "imports_torch.py").write_text("import torch\n")
    pythons = {"python": [sys.executable], "fork": [sys.executable, "-IS", fork_server.__file__]}
    works: dict[str, Callable[[], object]] = {
        name: partial(subprocess.run, [*python, "-m", "imports_torch"], cwd=folder, env=environment, check=True)
        for name, python in pythons.items()
    }
    seconds = interleaved(works, rounds)
    server.communicate()
    note = ", ".join(f"{name} {statistics.median(times):.3f} s" for name, times in seconds.items())
    line("start of a job that imports torch: a fork / a new Python", ratio(seconds, "fork", "python"), 5.0, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the workflow runs, and is removed again")
    parser.add_argument("--rules", nargs="*", help="only these")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="jobs-") as name:
        measure_start(arguments.rounds, Path(name))
        content = read(ROOT / "workflow/config/tiny.yaml")
        folder, config = place(Path(name), "tiny", content)
        snakemake(folder, config, "--cores", "all", "--quiet", "all")
        jobs = one_of_each_rule(ran_in(folder, content["results"]))
        chosen = {rule: job for rule, job in jobs.items() if not arguments.rules or rule in arguments.rules}
        for rule, more in measure(chosen, arguments.rounds, folder).items():
            base = f"more than {BASES[imports_torch(chosen[rule].stage)]!r}"
            line(f"{rule}, limit / seconds", LIMIT / max(more, 0.001), 1.0, f"{more:.2f} s {base}")


if __name__ == "__main__":
    main()
