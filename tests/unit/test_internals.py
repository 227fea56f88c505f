"""workflow/internals.py, and that each fault of Snakemake and of its Slurm plugin that it works around is still there.

A test called `fault` that fails means: remove what works around it.
"""

import asyncio
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import snakemake_executor_plugin_slurm as plugin
from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.persistence.file import FilePersistence
from snakemake.scheduling import job_scheduler
from snakemake.scheduling.job_scheduler import JobScheduler

from rrl.config.load import load_plan
from tests.helpers.clones import CLONE, clean_environment
from workflow.checks import bring_to_present
from workflow.internals import (
    SELECTING,
    alternatives,
    fix_slurm_executor,
    handle_sigterm_in_thread,
    recorded_outputs,
    remove_locks,
)


def run(folder: Path, snakefile: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "Snakefile").write_text(snakefile)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean_environment())


RULE = "rule a:\n    output: 'made'\n    log: 'log'\n    threads: 1\n    params: number=1\n    shell: '{}'\n"


# Files in .snakemake


def test_fault_an_output_without_record_is_taken_for_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("by another program, with number=2")
    result = run(tmp_path, RULE.format("echo {params.number} > {output}"))
    assert "Nothing to be done" in result.stdout + result.stderr


@pytest.mark.parametrize("name", ["results/a/b.json", "results/ü.json", f"results/{'long/' * 100}name.json"])
def test_recorded_outputs_are_those_of_snakemake(tmp_path: Path, name: str) -> None:
    persistence = object.__new__(FilePersistence)
    persistence._max_len = 255
    path = Path(persistence._record_path(str(tmp_path / "metadata"), name))
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert recorded_outputs(tmp_path) == {Path(name)}


def test_fault_a_lock_outlives_its_snakemake(tmp_path: Path) -> None:
    killed = run(tmp_path, RULE.format("kill -9 $PPID; sleep 1"))
    assert killed.returncode == -signal.SIGKILL
    command = RULE.format("touch {output}")
    again = run(tmp_path, command, "--rerun-incomplete")
    assert again.returncode == 1 and "LockException" in again.stderr
    remove_locks(tmp_path)
    assert run(tmp_path, command, "--rerun-incomplete").returncode == 0


# What a user sees


def test_fault_the_cause_of_a_failed_job_is_not_shown(tmp_path: Path) -> None:
    result = run(tmp_path, RULE.format("echo Error: no space > {log}; exit 1"))
    assert result.returncode == 1 and "Error: no space" not in (result.stdout + result.stderr).splitlines()


def test_fault_threads_of_a_rule_are_overwritten(tmp_path: Path) -> None:
    result = run(tmp_path, RULE.format("echo {threads} > {output}"), "--set-threads", "a=2")
    assert result.returncode == 0 and (tmp_path / "made").read_text() == "2\n"


def test_fault_an_input_from_the_future_fails_its_job(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    snakefile = RULE.replace("output", "input: 'source'\n    output").format("touch {output}")
    os.utime(source, (time.time() + 3600,) * 2)
    result = run(tmp_path, snakefile)
    assert result.returncode == 1 and "has older modification time" in result.stdout + result.stderr
    assert bring_to_present([source, source, tmp_path / "missing"]) == 1
    assert run(tmp_path, snakefile).returncode == 0


def test_messages_that_have_no_event() -> None:
    assert f'"{SELECTING}"' in inspect.getsource(job_scheduler)
    assert NOTHING_TO_BE_DONE_MSG.startswith("Nothing to be done")


# Rules


def test_alternatives_are_the_names_and_no_others() -> None:
    plan = load_plan(CLONE / "config.yaml")
    names = list(plan.representations)
    for some in (names, names[:1], ["a", "ab", "abc", "a.b", "b+"], ["x"]):
        pattern = re.compile(alternatives(iter(some)))
        parts = {name[:end] for name in some for end in range(len(name))} | {
            f"{name}{end}" for name in some for end in "0x"
        }
        assert all(pattern.fullmatch(name) for name in some)
        assert not [part for part in parts - set(some) if pattern.fullmatch(part)]
    assert len(alternatives(plan.runs)) < len("|".join(plan.runs)) / 4
    assert alternatives([]) == "none"


# SIGTERM


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobScheduler]:
    monkeypatch.setattr(JobScheduler, "exit_gracefully", JobScheduler.exit_gracefully)  # put back afterwards
    scheduler = object.__new__(JobScheduler)
    scheduler._lock, scheduler._open_jobs = threading.Lock(), threading.Semaphore(0)
    scheduler._user_kill = None
    yield scheduler


def test_fault_sigterm_waits_for_a_lock_that_its_own_thread_may_hold(scheduler: JobScheduler) -> None:
    assert "self._lock = threading.Lock()" in inspect.getsource(JobScheduler.__init__)
    with scheduler._lock:
        handler = threading.Thread(target=scheduler.exit_gracefully, args=(signal.SIGTERM, None))
        handler.start()
        handler.join(timeout=0.5)
        assert handler.is_alive()
    handler.join()


def test_sigterm_is_handled_once_the_lock_is_free(scheduler: JobScheduler) -> None:
    handle_sigterm_in_thread()
    with scheduler._lock:
        scheduler.exit_gracefully(signal.SIGTERM, None)
        assert scheduler._user_kill is None
    assert scheduler._open_jobs.acquire(timeout=10) and scheduler._user_kill == "graceful"


# Slurm


class Limiter:
    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *_: object) -> None: ...


class Cluster:
    """The executor of the Slurm plugin with one job, and Slurm's answers to the plugin and to us."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: dict[str, str] | None = {}  # job -> state, or no answer
        self.known: set[str] | None = set()
        for name in ("check_active_jobs", "sleep"):
            monkeypatch.setattr(plugin.Executor, name, getattr(plugin.Executor, name))
        monkeypatch.setattr(plugin, "query_job_status", self.query)
        monkeypatch.setattr(plugin, "get_min_job_age", lambda: 300)
        settings = SimpleNamespace(
            status_attempts=5, init_seconds_before_status_checks=1, status_command="squeue", keep_successful_logs=True
        )
        remote = SimpleNamespace(seconds_between_status_checks=1)
        self.executor: Any = object.__new__(plugin.Executor)
        vars(self.executor).update(
            workflow=SimpleNamespace(executor_settings=settings, remote_execution_settings=remote),
            logger=SimpleNamespace(debug=lambda _: None, info=lambda _: None, warning=lambda _: None),
            run_uuid="run", status_rate_limiter=Limiter(), _next_seconds_between_status_checks=1, wait=True,
            _status_query_calls=0, _status_query_failures=0, _status_query_total_seconds=0.0,
            _status_query_min_seconds=None, _status_query_max_seconds=0.0, _status_query_cycle_rows=[],
            get_status_command=lambda: "squeue", report_job_error=lambda job, **_: self.errors.append(job),
            report_job_success=lambda job: None,
        )  # fmt: skip
        self.job = SimpleNamespace(external_jobid="7", aux={"slurm_logfile": Path("7.log")})
        self.errors: list[Any] = []

    async def query(self, *_: object) -> tuple[dict[str, str] | None, float | None]:
        return self.answer, None if self.answer is None else 0.1

    def check(self) -> list[Any]:
        """The jobs that the executor goes on to watch."""

        async def collect(jobs: AsyncIterator[Any]) -> list[Any]:
            return [job async for job in jobs]

        return asyncio.run(collect(self.executor.check_active_jobs([self.job])))

    def wait(self) -> float:
        return float(self.executor.next_seconds_between_status_checks)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def test_fault_without_an_answer_jobs_are_dropped(cluster: Cluster) -> None:
    cluster.answer = None
    assert cluster.check() == [] == cluster.errors


def test_fault_a_job_that_squeue_does_not_know_is_waited_for(cluster: Cluster) -> None:
    assert cluster.check() == [cluster.job] and cluster.errors == []


def test_fault_the_wait_grows_whatever_the_jobs_do(cluster: Cluster) -> None:
    cluster.answer = {"7": "RUNNING"}
    waits = [(cluster.check(), cluster.wait())[1] for _ in range(3)]
    assert waits == [11, 21, 31]


def test_with_the_fix_jobs_are_kept_or_fail(cluster: Cluster) -> None:
    fix_slurm_executor(lambda run: cluster.known)
    for answer, known in [(None, set()), ({}, None), ({}, {"7"}), ({"7": "RUNNING"}, {"7"})]:
        cluster.answer, cluster.known = answer, known
        assert cluster.check() == [cluster.job] and cluster.errors == []
    cluster.answer, cluster.known = {}, {"8"}
    assert cluster.check() == [] and cluster.errors == [cluster.job]


def test_with_the_fix_the_wait_is_a_quarter_of_the_time_since_a_change(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("workflow.internals.time.monotonic", lambda: clock[0])
    fix_slurm_executor(lambda run: cluster.known)
    cluster.answer, cluster.known = {"7": "RUNNING"}, {"7"}
    waits = []
    for clock[0] in (0.0, 2.0, 40.0, 4000.0):
        cluster.check()
        waits.append(cluster.wait())
    assert waits == [1.0, 1.0, 10.0, 180.0]
    cluster.job.external_jobid, cluster.known = "9", {"9"}
    cluster.check()
    assert cluster.wait() == 1.0


def test_with_the_fix_a_new_job_ends_the_wait(cluster: Cluster) -> None:
    fix_slurm_executor(lambda run: cluster.known)
    cluster.executor._next_seconds_between_status_checks = 100.0
    cluster.executor.active_jobs = []
    threading.Timer(0.3, cluster.executor.active_jobs.append, [cluster.job]).start()
    began = time.monotonic()
    asyncio.run(cluster.executor.sleep())
    assert time.monotonic() - began < 10
