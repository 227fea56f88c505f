"""What Slurm says of this folder's jobs: whether some still run, and why one failed.

Snakemake asks Slurm itself for the states of the jobs that it submitted. It does not know of the jobs of a
Snakemake that was killed, nor why a job failed.
"""

import asyncio
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from rrl.errors import UserError

SECONDS = 30  # that Slurm may take to answer
LONGEST_WAIT = 180.0  # seconds between two looks of Snakemake at its jobs
WARNED = 180  # seconds before its time limit from which on a job may have been warned: Slurm may be a minute early


def _ask(*command: str) -> str:
    """Raises UserError if there is no answer."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except FileNotFoundError:
        raise UserError(f"{command[0]}: not found; is this a machine of the cluster?") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{' '.join(command)}: no answer within {SECONDS} s; is Slurm well?") from None
    if result.returncode != 0:
        raise UserError(f"{' '.join(command)}: {result.stderr.strip() or result.returncode}")
    return result.stdout


def check_jobs(folder: Path) -> None:
    """Raises UserError if jobs of a Snakemake that was killed still run, or wait, in `folder`: they write the same
    files. To be called while Snakemake holds the lock of the folder, so that no other can have submitted them."""
    listed = _ask("squeue", "--noheader", "--states=PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING", "-o", "%A|%k|%Z")
    found = set()
    for line in listed.splitlines():
        job, comment, where = line.split("|", 2)
        if comment.startswith(("rule_", "group_")) and os.path.realpath(where) == os.path.realpath(folder):
            found.add(int(job))
    if found:
        ids = " ".join(map(str, sorted(found)))
        raise UserError(
            f"Slurm jobs of an earlier run in this folder still run or wait, and write the same files: {ids}. Wait "
            f"until they have ended, or end them: scancel {ids}. Then run the same command again"
        )


def check_status_command(command: str) -> None:
    """Raises UserError if Snakemake, asking Slurm by this command, might never learn that a job has ended.

    squeue forgets a job MinJobAge seconds after its end; sacct knows nothing where no accounts are kept.
    """
    settings = dict(re.findall(r"^(\w+)\s*=\s*(\S*)", _ask("scontrol", "show", "config"), re.M))
    accounts = "slurmdbd" in settings.get("AccountingStorageType", "")
    age = int(settings.get("MinJobAge", "0"))
    where = "slurm-status-command in slurm/config.yaml"
    if command == "sacct" and not accounts:
        raise UserError(f"{where}: found sacct, but this cluster keeps no accounts; allowed is squeue")
    if command == "squeue" and age <= LONGEST_WAIT:
        advice = "allowed is sacct" if accounts else f"its MinJobAge must be more than {LONGEST_WAIT:.0f} and is set in"
        advice += "" if accounts else " slurm.conf, by whoever runs the cluster"
        raise UserError(f"{where}: found squeue, but this cluster forgets a job {age} s after its end; {advice}")


def check_partitions(names: Iterable[str]) -> None:
    """Raises UserError if the cluster lacks one. `names`: each one, or several with commas between."""
    known = set(_ask("sinfo", "--noheader", "--format=%R").split())
    missing = sorted({name for several in names for name in several.split(",")} - known)
    if missing:
        raise UserError(
            f"slurm_partition in slurm/config.yaml: found {', '.join(missing)}; this cluster has "
            f"{', '.join(sorted(known))}: edit the top of slurm/config.yaml"
        )


def mend_executor() -> None:
    """Change how snakemake-executor-plugin-slurm 2.8.0 looks at its jobs, in three ways.

    Where Slurm gives no answer, even in five attempts, the plugin drops its jobs and waits for ever: here it keeps
    them and asks again. A job that squeue no longer knows, as slurmctld was away for long or came back without its
    state, it takes for one that will still appear, and waits for ever: here it has failed, and is tried again.
    And it looks after 1 s, 11 s, 21 s, ...: here the time between two looks is a quarter of the time since a job was
    last submitted or ended, so that jobs of seconds are seen in seconds and jobs of hours cost Slurm a question in
    three minutes.
    """
    from snakemake_executor_plugin_slurm import Executor

    check = Executor.check_active_jobs
    last_change = time.monotonic()
    seen: set[str] = set()

    async def check_and_keep(self: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
        nonlocal last_change, seen
        answers = self._status_query_calls
        remaining = [job async for job in check(self, active_jobs)]
        if self._status_query_calls == answers:
            remaining = active_jobs
        elif remaining and self.get_status_command() == "squeue":
            known = _known(self.run_uuid)
            for job in [job for job in remaining if known is not None and _parent(job.external_jobid) not in known]:
                remaining.remove(job)
                message = f"Slurm does not know job {job.external_jobid} any more. "
                self.report_job_error(job, msg=message, aux_logs=[str(job.aux["slurm_logfile"])])
        now = {job.external_jobid for job in remaining}
        if now != seen or not now:
            last_change, seen = time.monotonic(), now
        since = time.monotonic() - last_change
        self.next_seconds_between_status_checks = min(max(1.0, since / 4), LONGEST_WAIT)
        for job in remaining:
            yield job

    async def sleep(self: Any) -> None:
        end, known = time.monotonic() + self.next_seconds_between_status_checks, len(self.active_jobs)
        while self.wait and len(self.active_jobs) <= known and (rest := end - time.monotonic()) > 0:
            await asyncio.sleep(min(1.0, rest))

    Executor.check_active_jobs = check_and_keep
    Executor.sleep = sleep


def _known(name: str) -> set[str] | None:
    """Ids of the jobs, or arrays of jobs, of this name that squeue knows, or None if it does not answer."""
    try:
        return set(_ask("squeue", "--noheader", "--states=all", "--format=%F", "--name", name).split())
    except UserError:
        return None


def _parent(job: str) -> str:
    """The array that a job {array}_{number} belongs to, or the job itself."""
    return job.partition("_")[0]


def cause(job: str, log: Path) -> str:
    """Why a job failed, as far as Slurm can tell.

    job : its id.
    log : what Slurm wrote of its output, which may be missing.
    """
    text = log.read_text(errors="replace") if log.is_file() else ""
    try:
        about = dict(re.findall(r"(\w+)=(\S*)", _ask("scontrol", "show", "job", "--oneliner", job)))
    except UserError:
        about = {}
    state = about.get("JobState", "")
    where = f"Slurm job {job}" + (f" on {about['NodeList']}" if about.get("NodeList", "(null)") != "(null)" else "")
    limit, ran = about.get("TimeLimit", ""), about.get("RunTime", "")
    if state == "OUT_OF_MEMORY" or re.search(r"oom.kill|memory limit|out of memory", text, re.I):
        return f"{where} ran out of memory: it had {_memory(about)}"
    if state == "TIMEOUT" or (state == "FAILED" and _seconds(ran) >= _seconds(limit) - WARNED):
        return f"{where} reached its time limit of {limit}"
    if state == "CANCELLED":
        return f"{where} was cancelled (scancel)"
    if state in ("NODE_FAIL", "BOOT_FAIL"):
        return f"{where} lost its node"
    if state == "FAILED":
        return f"{where} failed with exit status {about.get('ExitCode', '?').partition(':')[0]}"
    return f"{where} ended as {state}" if state else f"Slurm does not know job {job} any more"


def _memory(about: dict[str, str]) -> str:
    return next(iter(re.findall(r"\bmem=([^,]+)", about.get("TRES", ""))), about.get("MinMemoryNode", "?"))


def _seconds(time: str) -> float:
    """Of [days-]hours:minutes:seconds; infinite where there is no limit."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", time)
    if match is None:
        return float("inf")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
