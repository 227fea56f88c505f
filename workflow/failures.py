"""Why jobs failed, a line each: Snakemake says which job failed and where its log is, this says what is in it."""

import logging
import re
import shutil
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from rrl.bars import write_line
from workflow import slurm

# What a stage says of what went wrong, and the last line of a traceback. torchrun says more behind the first.
OWN = re.compile(r"^(?:Error|SIG[A-Z]+): .*$", re.M)
RAISED = re.compile(r"^[\w.]*(?:Error|Exception)\b.*$", re.M)

ROOM = 4096  # bytes that a line of a log needs: disks give room by the page


class Failures(logging.Handler):
    """Listens to Snakemake. Jobs of a cluster are told of at once, as a workflow may go on for days; all jobs that
    failed for good once more at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, tuple[list[str], str]] = {}  # of a job: its outputs, and the line

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) == LogEvent.JOB_ERROR:
            try:
                self.tell(record)
            except Exception:  # a line that cannot be told must not end the workflow
                self.handleError(record)

    def tell(self, record: logging.LogRecord) -> None:
        of: dict[str, Any] = vars(record)
        external = (of.get("aux") or {}).get("external_jobid")
        log, *others = of.get("log") or [""]
        line = told(Path(log), external, Path(others[-1]) if others else Path())
        self.found[of["jobid"]] = (list(of.get("output") or []), line)
        if external is not None:
            write_line(line)

    def lines(self) -> list[str]:
        """Of the jobs that failed and did not succeed when they were tried again."""
        return [line for outputs, line in self.found.values() if not all(Path(path).exists() for path in outputs)]


def told(log: Path, external: str | None, cluster_log: Path) -> str:
    """One line: the log of the job, why it failed, and the last telling line of the log.

    external : id of the cluster's job, or None for a local one.
    cluster_log : what the cluster wrote of that job's output.
    """
    text = log.read_text(errors="replace") if log.is_file() else ""
    if external is not None:  # and the log is that of this attempt, which may not have come to write one
        text = text.partition(f"Slurm job {external} ")[2].partition("\n")[2]
    said = OWN.findall(text) or RAISED.findall(text) or text.strip().splitlines()
    if not said and log.parent.exists() and shutil.disk_usage(log.parent).free < ROOM:
        said = ["empty: no space left on the disk; make room, then run the same command again"]
    parts = [str(log if log.is_file() or not cluster_log.is_file() else cluster_log)]
    parts += [slurm.cause(external, cluster_log)] if external is not None else []
    return ": ".join([*parts, *said[-1:]])
