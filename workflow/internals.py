"""All that this workflow uses of the inside of Snakemake (9.27) and of its Slurm plugin (2.8).

Each function says what is missing or wrong there, and where that is reported; tests/unit/test_internals.py fails once
it is not so any more. Snakemake is imported late: workflow.resume starts it and needs none of it.
"""

import asyncio
import logging
import re
import shutil
import sys
import threading
import time
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

LONGEST_WAIT = 180.0  # seconds between two status queries of the Slurm plugin
SELECTING = "Select jobs to execute..."  # a message of Snakemake that has no event


# The run. Attributes of `workflow` are not documented; nothing that is says the same (not reported).


def is_run(workflow: Any) -> bool:
    """Whether jobs will run and this process is not itself one of them."""
    return workflow.is_main_process and not workflow.output_settings.dryrun


def jobs_to_run(workflow: Any) -> list[Any]:
    return list(workflow.dag.needrun_jobs())


def finished_jobs(workflow: Any) -> tuple[list[Any], list[Any]]:
    """Jobs that need not run, and jobs that have run; neither holds those without output."""
    dag = workflow.dag
    jobs = [job for job in dag.jobs if job.output]
    return [job for job in jobs if not dag.needrun(job)], [
        job for job in jobs if dag.needrun(job) and dag.finished(job)
    ]


def slurm_status_command(workflow: Any) -> str | None:
    """None where jobs do not run on Slurm."""
    return getattr(workflow.executor_settings, "status_command", None)


def slurm_partitions(jobs: list[Any]) -> set[str]:
    """What `slurm_partition` is for these jobs: a name, or several with commas between."""
    resources = [job.rule.resources.get("slurm_partition") for job in jobs if not job.is_local]
    return {str(resource.raw) for resource in resources if resource is not None}


# Files in .snakemake.


def recorded_outputs(folder: Path = Path(".snakemake")) -> set[Path]:
    """Outputs whose making Snakemake has a record of.

    It takes an output without one for up to date, whatever the parameters; a dry run only says how many there are
    (https://github.com/snakemake/snakemake/pull/3014).
    """
    root = folder / "metadata"
    paths = [path.relative_to(root).parts for path in root.rglob("*") if path.is_file()]
    return {Path(urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode()) for parts in paths}


def remove_locks(folder: Path) -> None:
    """Remove the lock of a Snakemake that was killed, as --unlock does in two seconds more.

    A lock does not say which process holds it, so that Snakemake refuses to run after a kill (not reported as a fault).
    """
    shutil.rmtree(folder / ".snakemake/locks", ignore_errors=True)


# Rules.


def alternatives(names: Iterable[str]) -> str:
    """A wildcard constraint: one of the names.

    Snakemake compiles it for each output file of each rule (not reported), a tenth of a dry run of the paper: what
    several names begin or end with is written once.
    """
    return _alternatives(sorted(set(names))) or "none"


def _alternatives(names: list[str]) -> str:
    """The same of sorted names: first letters, each with what may follow it."""
    letters = defaultdict(list)
    for letter, group in groupby(names, key=lambda name: name[:1]):
        letters[_alternatives([name[1:] for name in group]) if letter else ""].append(re.escape(letter))
    return _either([_either(some) + rest for rest, some in letters.items()])


def _either(patterns: list[str]) -> str:
    return "".join(patterns) if len(patterns) < 2 else f"(?:{'|'.join(patterns)})"


# Options.


def ignore_set_threads(workflow: Any) -> None:
    """A rule cannot forbid --set-threads, which a profile may have (not reported)."""
    workflow.resource_settings.overwrite_threads = {}


# Signals.


def handle_sigterm_in_thread() -> None:
    """Snakemake's handler of SIGTERM takes a lock that the main thread, in which handlers run, may hold: it would wait
    for ever. In a thread of its own it waits until the main thread lets go (not reported)."""
    from snakemake.scheduling.job_scheduler import JobScheduler  # type: ignore[import-untyped]

    handle = JobScheduler.exit_gracefully
    JobScheduler.exit_gracefully = lambda scheduler, *_: threading.Thread(target=handle, args=(scheduler,)).start()


# Log. A Snakefile cannot register a log handler (https://github.com/snakemake/snakemake/issues/3151), there is no
# progress bar (https://github.com/snakemake/snakemake/issues/3901), and of why a job failed only its whole log can be
# shown (https://github.com/snakemake/snakemake/issues/3529).


def snakemake_logger() -> logging.Logger:
    from snakemake.logging import logger  # type: ignore[import-untyped]

    return logger  # type: ignore[no-any-return]


def make_room_for_bar(workflow: Any, replaced: set[Any]) -> bool:
    """Have Snakemake write above a bar of tqdm, without the events that the bar replaces.

    Returns whether it writes its progress to a terminal at all.
    """
    streams = [handler for handler in snakemake_logger().handlers if handler.name == "DefaultStreamHandler"]
    quiet = {level.name for level in workflow.output_settings.quiet or ()}
    if not streams or not sys.stderr.isatty() or quiet & {"ALL", "PROGRESS"}:
        return False
    from tqdm import tqdm  # type: ignore[import-untyped]  # of no use without a terminal

    (stream,) = streams
    write = stream.emit

    def write_above(record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            write(record)

    stream.emit = write_above  # type: ignore[method-assign]
    stream.addFilter(lambda record: getattr(record, "event", None) not in replaced and record.getMessage() != SELECTING)
    return True


# Slurm.


def fix_slurm_executor(known_jobs: Callable[[str], set[str] | None]) -> None:
    """Change how the Slurm plugin asks for the states of its jobs, in three ways.

    - Where no attempt gets an answer, it drops its jobs and waits for ever
      (https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/207 and 331): they are kept, to ask again.
    - It takes a job that squeue does not list for one that will still appear, and waits for ever, also where slurmctld
      has lost its state or was away for longer than it remembers jobs (not reported): the job has failed.
    - It waits 10 s more with each query (https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/319): the
      wait is a quarter of the time since a job was last submitted or ended, so that the end of short jobs is seen soon.

    known_jobs : run id -> ids of its jobs and arrays that squeue lists, or None if it does not answer.
    """
    from snakemake_executor_plugin_slurm import Executor

    check = Executor.check_active_jobs
    last_change, last_ids = time.monotonic(), set[str]()

    async def check_active_jobs(self: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
        nonlocal last_change, last_ids
        answers = self._status_query_calls
        remaining = [job async for job in check(self, active_jobs)]
        if self._status_query_calls == answers:
            remaining = active_jobs
        elif remaining and self.get_status_command() == "squeue" and (known := known_jobs(self.run_uuid)) is not None:
            for job in [job for job in remaining if job.external_jobid.partition("_")[0] not in known]:
                remaining.remove(job)
                message = f"Slurm does not know job {job.external_jobid} any more. "
                self.report_job_error(job, msg=message, aux_logs=[str(job.aux["slurm_logfile"])])
        ids = {job.external_jobid for job in remaining}
        if ids != last_ids or not ids:
            last_change, last_ids = time.monotonic(), ids
        wait = (time.monotonic() - last_change) / 4
        self.next_seconds_between_status_checks = min(max(1.0, wait), LONGEST_WAIT)
        for job in remaining:
            yield job

    async def sleep(self: Any) -> None:
        """Less long if a job is submitted, or Snakemake ends."""
        end, known = time.monotonic() + self.next_seconds_between_status_checks, len(self.active_jobs)
        while self.wait and len(self.active_jobs) <= known and (rest := end - time.monotonic()) > 0:
            await asyncio.sleep(min(1.0, rest))

    Executor.check_active_jobs = check_active_jobs
    Executor.sleep = sleep
