"""What is checked before the first job: folders that will be written to, clocks, and the cluster."""

import os
import shlex
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rrl import arithmetic
from rrl.errors import UserError
from workflow import internals, slurm

PORTABLE_WARNING = (
    "arithmetic: portable: this machine is not Linux on x86-64 with AVX2 and FMA: numbers will differ from those of "
    "machines that are, and from the published ones."
)


def check_start(workflow: Any, portable: bool) -> Iterator[str]:
    """Warnings. Raises UserError for what would fail later.

    portable : whether arithmetic is.
    """
    if portable and not arithmetic.has_avx2():
        yield PORTABLE_WARNING
    jobs = internals.jobs_to_run(workflow)
    check_writable(Path(file) for job in jobs for file in [*job.output, *job.log])
    command = internals.slurm_status_command(workflow)
    if command is not None:
        slurm.check_status_command(command)
        slurm.check_partitions(internals.slurm_partitions(jobs))
        internals.fix_slurm_executor(slurm.known_jobs)
    if command is not None or (Path(".snakemake/slurm_logs").exists() and shutil.which("squeue")):
        slurm.check_no_jobs_left(Path.cwd())
    if count := bring_to_present(Path(file) for job in jobs for file in job.input):
        yield f"{count} files were from the future, as the clock was set back; their time is now."


def check_writable(files: Iterable[Path]) -> None:
    """Raises UserError unless all these files could be made or replaced."""
    folders = {_existing(folder) for folder in {file.absolute().parent for file in files}}
    if refused := sorted(str(folder) for folder in folders if not os.access(folder, os.W_OK | os.X_OK)):
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        first = shlex.quote(refused[0])
        raise UserError(
            f"{refused[0]}{more}: cannot be written in; make it writable (chmod u+w {first}), or use a folder that is"
        )


def bring_to_present(files: Iterable[Path]) -> int:
    """Set the time of files from the future to now, and count them.

    Snakemake fails a job whose output is older than an input (https://github.com/snakemake/snakemake/issues/3261). A
    file with another time and the same bytes reruns nothing.
    """
    future = [file for file in set(files) if file.exists() and file.stat().st_mtime > time.time()]
    for file in future:
        os.utime(file)
    return len(future)


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)
