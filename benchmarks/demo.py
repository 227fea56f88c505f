"""Where the time of the demo went, from the records of Snakemake in a folder where it has run at one go.

    python -m benchmarks.demo --folder .

A table for the docs: by stage the number of its jobs, whether it imports torch, seconds of its processes (with as many
at once as there are cores, and all that other programs take), and their share. In all: from the start of the first job
to the end of the last, against the six minutes that the demo may take on two idle cores. waiting : seconds of the cores
in which no job ran.
"""

import argparse
import os
from pathlib import Path

from benchmarks.ratios import line
from benchmarks.records import Ran, imports_torch, ran_in

LIMIT = 360.0  # seconds


def by_stage(jobs: list[Ran]) -> dict[str, list[Ran]]:
    """The slowest stage first."""
    stages: dict[str, list[Ran]] = {}
    for job in jobs:
        stages.setdefault(job.stage, []).append(job)
    return dict(sorted(stages.items(), key=lambda item: -seconds(item[1])))


def seconds(jobs: list[Ran]) -> float:
    return sum(job.end - job.start for job in jobs)


def table(stages: dict[str, list[Ran]]) -> str:
    """Markdown."""
    whole = seconds([job for jobs in stages.values() for job in jobs])
    rows = [["stage", "jobs", "imports torch", "seconds", "seconds per job", "share"], ["---"] * 6]
    for stage, jobs in stages.items():
        numbers = [f"{seconds(jobs):.1f}", f"{seconds(jobs) / len(jobs):.2f}", f"{seconds(jobs) / whole:.1%}"]
        rows.append([f"`{stage}`", str(len(jobs)), "yes" if imports_torch(stage) else "", *numbers])
    count = sum(len(jobs) for jobs in stages.values())
    rows.append(["all", str(count), "", f"{whole:.1f}", f"{whole / count:.2f}", "100.0%"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where .snakemake is")
    parser.add_argument("--results", default="results/demo", help="below it, as in the config; results/tiny is small")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="that it ran with")
    arguments = parser.parse_args()
    jobs = ran_in(arguments.folder, arguments.results)
    if not jobs:
        raise SystemExit(f"{arguments.folder}/.snakemake/metadata: no record of a job of {arguments.results}")
    stages = by_stage(jobs)
    wall = max(job.end for job in jobs) - jobs[0].start
    heavy = sum(len(of) for stage, of in stages.items() if imports_torch(stage))
    print(table(stages), end="\n\n")
    waiting = arguments.cores * wall - seconds(jobs)
    note = f"{wall:.0f} s of {LIMIT:.0f}; {heavy} jobs import torch; waiting {waiting:.0f} s of {arguments.cores} cores"
    line("demo, limit / time", LIMIT / wall, 1.0, note)


if __name__ == "__main__":
    main()
