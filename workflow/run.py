"""A run of Snakemake as it is shown: a bar on a terminal; at the end what ran, what failed and why, and the results."""

import logging
import re
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
from snakemake_interface_logger_plugins.common import LogEvent

from rrl.bars import Bar, duration, write_line
from workflow import internals, slurm

# Events in whose place there is the bar.
DRAWN = {LogEvent.JOB_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.PROGRESS}
ALL = "all"  # the rule that makes nothing
NAMED = 2  # running jobs that the bar names; of more it counts those of each rule
# How a stage says what went wrong, and the last line of a traceback. torchrun writes more after the former.
ERROR = re.compile(r"^(?:Error|SIG[A-Z]+): .*$", re.M)
RAISED = re.compile(r"^[\w.]*(?:Error|Exception)\b.*$", re.M)
PAGE = 4096  # bytes that a line of a log needs: disks give room by the page


class Run(logging.Handler):
    """Listens to Snakemake.

    workflow : Snakemake's.
    results : the results root.
    """

    def __init__(self, workflow: Any, results: Path):
        super().__init__()
        self.workflow, self.results = workflow, results
        self.planned: Counter[str] = Counter()  # rule -> jobs
        self.finished: Counter[str] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)  # of all attempts; on a cluster with the wait in its queue
        self.failed: dict[int, tuple[str, str]] = {}  # job -> rule, why
        self.running: dict[int, tuple[str, str, float]] = {}  # job -> rule, wildcards, when it began
        self.bar: Bar | None = None
        self.has_bar = False
        self.over = threading.Event()

    def start(self) -> None:
        internals.snakemake_logger().addHandler(self)
        self.has_bar = internals.make_room_for_bar(self.workflow, DRAWN)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._note(getattr(record, "event", None), vars(record))
            if record.getMessage().startswith("Nothing to be done"):  # no onsuccess follows
                self.report()
        except Exception:  # what cannot be shown must not end the workflow
            self.handleError(record)

    def _note(self, event: LogEvent | None, record: dict[str, Any]) -> None:
        if event == LogEvent.RUN_INFO:
            self.planned = Counter({rule: n for rule, n in record["stats"].items() if rule not in (ALL, "total")})
        elif event == LogEvent.JOB_INFO and record["rule_name"] != ALL:
            wildcards = "/".join(record["wildcards"].values())
            self.running[record["jobid"]] = record["rule_name"], wildcards, time.monotonic()
        elif event == LogEvent.JOB_FINISHED:
            self.failed.pop(record["job_id"], None)
            self.finished.update(self._ended(record["job_id"]))
        elif event == LogEvent.JOB_ERROR:
            self._ended(record["jobid"])
            job = (record.get("aux") or {}).get("external_jobid")
            log, *others = map(Path, record.get("log") or [""])
            why = failure(log, job, others[-1] if others else Path())
            self.failed[record["jobid"]] = record["rule_name"], why
            if job is not None:  # at once, as a run on a cluster may go on for days
                write_line(why)
        self._draw()

    def _ended(self, job: int) -> list[str]:
        """The rule of a job that ran until now, if it did."""
        if job not in self.running:
            return []
        rule, _, began = self.running.pop(job)
        self.seconds[rule] += time.monotonic() - began
        return [rule]

    # The bar.

    def _draw(self) -> None:
        if self.bar is None and self.has_bar and self.running:
            self.bar = Bar("", "job", self.planned.total(), kept=False)
            self.bar.__enter__()
            threading.Thread(target=self._tick, daemon=True).start()
        if self.bar is not None:
            named = [f"{rule} {wildcards}".strip() for rule, wildcards, _ in self.running.values()]
            rules = Counter(rule for rule, *_ in self.running.values())
            self.bar.note = ", ".join(named) if len(named) <= NAMED else listed(rules)
            self.bar.add(self.finished.total() - self.bar.done)

    def _tick(self) -> None:
        """The time goes on while no job ends."""
        while not self.over.wait(1.0):
            with self.lock or nullcontext():
                self._draw()

    def _end_bar(self) -> None:
        self.over.set()
        if self.bar is not None:
            self.bar.__exit__(None, None, None)
            self.bar, self.has_bar = None, False

    def close(self) -> None:
        self._end_bar()
        super().close()

    # The summary.

    def report(self) -> None:
        with self.lock or nullcontext():
            self._end_bar()
        internals.snakemake_logger().info("\n".join(self.lines()))
        for _, why in self.failed.values():
            write_line(why)

    def lines(self) -> Iterator[str]:
        current, done = internals.finished_jobs(self.workflow)
        took = duration(time.time() - psutil.Process().create_time())
        if ran := self.finished.total():
            waited = "" if self.workflow.local_exec else ", with their wait in the queue"
            yield f"Ran {jobs_text(ran)} in {took}. Of each rule, and the time of its jobs together{waited}:"
            for rule in self._in_order(self.finished):
                yield f"{self.finished[rule]:8,} {rule:<20} {duration(self.seconds[rule])}"
        else:
            yield f"{'No job ended well' if self.seconds else 'Ran nothing'}, in {took}."
        yield f"Already there: {self._counted(Counter(job.rule.name for job in current))}."
        failed = Counter(rule for rule, _ in self.failed.values())
        if left := self.planned - self.finished - failed:
            yield f"Not run, or not to the end: {self._counted(left)}."
        if failed:
            yield f"Failed: {self._counted(failed)}."
        yield from self._places(current + done)

    def _in_order(self, rules: Iterable[str]) -> list[str]:
        """As they stand in the files of rules."""
        named = set(rules)
        return [rule.name for rule in self.workflow.rules if rule.name in named]

    def _counted(self, rules: Counter[str]) -> str:
        """`5 jobs (3 extract, 2 probe)`"""
        in_order = Counter({rule: rules[rule] for rule in self._in_order(rules)})
        return f"{jobs_text(rules.total())} ({listed(in_order)})" if rules else jobs_text(0)

    def _places(self, made: Iterable[Any]) -> Iterator[str]:
        """Where the results are that are as they were asked for."""
        files: dict[str, list[list[str]]] = defaultdict(list)
        for job in made:
            files[job.rule.name].append([str(file) for file in job.output if not file.endswith(".json")])
        for rule, name in (("table", "Tables"), ("figure", "Figures")):
            if outputs := sorted(files[rule]):
                others = ", ".join(Path(file).suffix for file in outputs[0][1:])
                yield f"{name}: {', '.join(first for first, *_ in outputs)} ({others})"
        if "collect" in files:
            yield f"Records: {files['collect'][0][0]}, and each by itself in {self.results}/records/"


def failure(log: Path, job: str | None, cluster_log: Path) -> str:
    """One line: the log of a job, why it failed, and the last telling line of the log.

    job : id of the cluster's job, or None for a local one.
    cluster_log : what the cluster wrote of that job's output.
    """
    text = log.read_text(errors="replace") if log.is_file() else ""
    if job is not None:  # the log has that of each attempt; this one may not have come to write any
        text = text.partition(f"Slurm job {job} ")[2].partition("\n")[2]
    lines = ERROR.findall(text) or RAISED.findall(text) or text.strip().splitlines()
    if not lines and log.parent.exists() and shutil.disk_usage(log.parent).free < PAGE:
        lines = ["empty: no space left on the disk; make room, then run the same command again"]
    parts = [str(log if log.is_file() or not cluster_log.is_file() else cluster_log)]
    parts += [slurm.failure(job, cluster_log)] if job is not None else []
    return ": ".join([*parts, *lines[-1:]])


def listed(rules: Counter[str]) -> str:
    """`3 extract, 2 probe`"""
    return ", ".join(f"{count:,} {rule}" for rule, count in rules.items())


def jobs_text(count: int) -> str:
    """`1 job`, `1,000 jobs`"""
    return f"{count:,} {'job' if count == 1 else 'jobs'}"
