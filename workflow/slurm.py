"""What Slurm knows of this folder's jobs: whether some still run, and why one failed."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from rrl.errors import UserError
from workflow.internals import LONGEST_WAIT

SECONDS = 30  # in which Slurm must answer
WARNED = 180  # seconds before its time limit from which a job may have been warned: Slurm may be a minute early
PROFILE = "slurm/config.yaml"


def _ask(*command: str) -> str:
    """Output of a command of Slurm. Raises UserError if it fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except FileNotFoundError:
        raise UserError(f"{command[0]}: not found; is this a machine of the cluster?") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{' '.join(command)}: no answer within {SECONDS} s; is Slurm well?") from None
    if result.returncode != 0:
        raise UserError(f"{' '.join(command)}: {result.stderr.strip() or result.returncode}")
    return result.stdout


def check_no_jobs_left(folder: Path) -> None:
    """Raises UserError if jobs of a Snakemake that was killed still run or wait in `folder`: they write the same files.

    Snakemake does not look for them (not reported). Call this while it holds the lock of the folder, so that no other
    one can have submitted them.
    """
    states = "--states=PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING"
    jobs = [line.split("|", 2) for line in _ask("squeue", "--noheader", states, "-o", "%A|%k|%Z").splitlines()]
    left = {
        int(job)
        for job, comment, place in jobs
        if comment.startswith(("rule_", "group_")) and os.path.realpath(place) == os.path.realpath(folder)
    }
    if left:
        ids = " ".join(map(str, sorted(left)))
        raise UserError(
            f"Slurm jobs of an earlier run in this folder still run or wait, and write the same files: {ids}. Wait "
            f"until they have ended, or end them: scancel {ids}. Then run the same command again"
        )


def check_status_command(command: str) -> None:
    """Raises UserError if Snakemake, asking for states by this command, might never learn that a job has ended.

    squeue forgets a job MinJobAge seconds after its end; sacct knows nothing where no accounts are kept.
    """
    settings = dict(re.findall(r"^(\w+)\s*=\s*(\S*)", _ask("scontrol", "show", "config"), re.M))
    accounts = "slurmdbd" in settings.get("AccountingStorageType", "")
    age = int(settings.get("MinJobAge", "0"))
    where = f"slurm-status-command in {PROFILE}: found {command}, but this cluster"
    if command == "sacct" and not accounts:
        raise UserError(f"{where} keeps no accounts; use squeue")
    if command == "squeue" and age <= LONGEST_WAIT:
        advice = "use sacct" if accounts else f"have its MinJobAge set to more than {LONGEST_WAIT:.0f} in slurm.conf"
        raise UserError(f"{where} forgets a job {age} s after its end; {advice}")


def check_partitions(partitions: Iterable[str]) -> None:
    """Raises UserError if the cluster lacks one. Each may be several, with commas between."""
    known = set(_ask("sinfo", "--noheader", "--format=%R").split())
    missing = sorted({name for names in partitions for name in names.split(",")} - known)
    if missing:
        raise UserError(
            f"slurm_partition in {PROFILE}: found {', '.join(missing)}; this cluster has {', '.join(sorted(known))}: "
            f"edit the top of {PROFILE}"
        )


def known_jobs(run: str) -> set[str] | None:
    """Ids of the jobs and arrays of a run of Snakemake that squeue lists; None if it does not answer."""
    try:
        return set(_ask("squeue", "--noheader", "--states=all", "--format=%F", "--name", run).split())
    except UserError:
        return None


def failure(job: str, log: Path) -> str:
    """Why a job failed, as far as Slurm can tell.

    log : what Slurm wrote of its output, which may be missing.
    """
    text = log.read_text(errors="replace") if log.is_file() else ""
    try:
        record = dict(re.findall(r"(\w+)=(\S*)", _ask("scontrol", "show", "job", "--oneliner", job)))
    except UserError:
        record = {}
    state = record.get("JobState", "")
    node = record.get("NodeList", "(null)")
    where = f"Slurm job {job}" + ("" if node == "(null)" else f" on {node}")
    limit = record.get("TimeLimit", "")
    if state == "OUT_OF_MEMORY" or re.search(r"oom.kill|memory limit|out of memory", text, re.I):
        memory = re.findall(r"\bmem=([^,]+)", record.get("TRES", ""))
        return f"{where} ran out of memory: it had {memory[0] if memory else record.get('MinMemoryNode', '?')}"
    if state == "TIMEOUT" or (state == "FAILED" and _seconds(record.get("RunTime", "")) >= _seconds(limit) - WARNED):
        return f"{where} reached its time limit of {limit}"
    if state == "CANCELLED":
        return f"{where} was cancelled (scancel)"
    if state in ("NODE_FAIL", "BOOT_FAIL"):
        return f"{where} lost its node"
    if state == "FAILED":
        return f"{where} failed with exit status {record.get('ExitCode', '?').partition(':')[0]}"
    return f"{where} ended as {state}" if state else f"Slurm does not know job {job} any more"


def _seconds(time: str) -> float:
    """Seconds of [days-]hours:minutes:seconds; infinite where there is no limit."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", time)
    if match is None:
        return float("inf")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
