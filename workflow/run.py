"""A run of Snakemake: a bar while it lasts, if there is a terminal, and at its end what ran, what was there already,
what failed, how long it took, and where the results are."""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
from snakemake_interface_logger_plugins.common import LogEvent

from rrl.bars import Bar, duration

# What the bar says in place of Snakemake's lines.
DRAWN = {LogEvent.JOB_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.PROGRESS}
SELECTS = "Select jobs to execute..."
ALL = "all"  # the rule that makes nothing
NAMED = 2  # jobs that the bar names; of more it counts those of each rule


class Run(logging.Handler):
    """Listens to Snakemake.

    workflow : Snakemake's.
    results : the results root.
    """

    def __init__(self, workflow: Any, results: Path):
        super().__init__()
        self.workflow, self.results = workflow, results
        self.logger: logging.Logger = workflow.logger_manager.logger
        self.planned: dict[str, int] = {}  # rule -> jobs
        self.finished: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}  # of all attempts; on a cluster with the wait in its queue
        self.failed: dict[int, str] = {}  # job -> rule
        self.running: dict[int, tuple[str, str, float]] = {}  # job -> rule, what it is of, when it began
        self.bar: Bar | None = None
        self.drawn = False
        self.over = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._note(getattr(record, "event", None), vars(record))
            if record.getMessage().startswith("Nothing to be done"):  # no onsuccess follows
                self.tell()
        except Exception:  # what cannot be told must not end the workflow
            self.handleError(record)

    def _note(self, event: LogEvent | None, of: dict[str, Any]) -> None:
        if event == LogEvent.RUN_INFO:
            self.planned = {rule: count for rule, count in of["stats"].items() if rule not in (ALL, "total")}
        elif event == LogEvent.JOB_INFO and of["rule_name"] != ALL:
            self.running[of["jobid"]] = of["rule_name"], "/".join(of["wildcards"].values()), time.monotonic()
        elif event == LogEvent.JOB_FINISHED:
            self.failed.pop(of["job_id"], None)
            self.finished.update(self._ended(of["job_id"]))
        elif event == LogEvent.JOB_ERROR:
            self.failed[of["jobid"]] = of["rule_name"]
            self._ended(of["jobid"])
        self._draw()

    def _ended(self, job: int) -> list[str]:
        """The rule of a job that ran until now, if it did."""
        if job not in self.running:
            return []
        rule, _, began = self.running.pop(job)
        self.seconds[rule] = self.seconds.get(rule, 0.0) + time.monotonic() - began
        return [rule]

    # The bar.

    def draw(self) -> None:
        """A bar in place of Snakemake's lines for each job, if they would go to a terminal."""
        streams = [handler for handler in self.logger.handlers if handler.name == "DefaultStreamHandler"]
        quiet = {of.name for of in self.workflow.output_settings.quiet or ()}
        if not streams or not sys.stderr.isatty() or quiet & {"ALL", "PROGRESS"}:
            return
        from tqdm import tqdm  # type: ignore[import-untyped]  # where there is no terminal it has no use

        (stream,) = streams
        write = stream.emit

        def above(record: logging.LogRecord) -> None:
            with tqdm.external_write_mode(file=sys.stderr):
                write(record)

        stream.emit = above  # type: ignore[method-assign]
        stream.addFilter(lambda of: getattr(of, "event", None) not in DRAWN and of.getMessage() != SELECTS)
        self.drawn = True

    def _draw(self) -> None:
        if self.bar is None and self.drawn and self.running:
            self.bar = Bar("", "job", sum(self.planned.values()), kept=False)
            self.bar.__enter__()
            threading.Thread(target=self._tick, daemon=True).start()
        if self.bar is not None:
            named = [f"{rule} {of}".strip() for rule, of, _ in self.running.values()]
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
            self.bar, self.drawn = None, False

    def close(self) -> None:
        self._end_bar()
        super().close()

    # The summary.

    def tell(self) -> None:
        with self.lock or nullcontext():
            self._end_bar()
        self.logger.info("\n".join(self.lines()))

    def lines(self) -> Iterator[str]:
        dag = self.workflow.dag
        jobs = [job for job in dag.jobs if job.output]
        there = Counter(job.rule.name for job in jobs if not dag.needrun(job))
        took = duration(time.time() - psutil.Process().create_time())
        ran = self.finished.total()
        if ran:
            waited = "" if self.workflow.local_exec else ", with their wait in the queue"
            yield f"Ran {jobs_text(ran)} in {took}. Of each rule, and the time of its jobs together{waited}:"
            for rule in self._in_order(self.finished):
                yield f"{self.finished[rule]:8,} {rule:<20} {duration(self.seconds[rule])}"
        else:
            yield f"{'No job ended well' if self.seconds else 'Ran nothing'}, in {took}."
        yield f"Already there: {self._counted(there)}."
        failed = Counter(self.failed.values())
        if left := Counter(self.planned) - self.finished - failed:
            yield f"Not run, or not to the end: {self._counted(left)}."
        if failed:
            yield f"Failed: {self._counted(failed)}."
        yield from self._places([job for job in jobs if not dag.needrun(job) or dag.finished(job)])

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
        files: dict[str, list[list[str]]] = {}
        for job in made:
            files.setdefault(job.rule.name, []).append([str(file) for file in job.output if not file.endswith(".json")])
        for rule, name in (("table", "Tables"), ("figure", "Figures")):
            if found := sorted(files.get(rule, [])):
                others = ", ".join(Path(file).suffix for file in found[0][1:])
                yield f"{name}: {', '.join(first for first, *_ in found)} ({others})"
        if "collect" in files:
            yield f"Records: {files['collect'][0][0]}, and each by itself in {self.results}/records/"


def listed(rules: Counter[str]) -> str:
    """`3 extract, 2 probe`"""
    return ", ".join(f"{count:,} {rule}" for rule, count in rules.items())


def jobs_text(count: int) -> str:
    """`1 job`, `1,000 jobs`"""
    return f"{count:,} {'job' if count == 1 else 'jobs'}"
