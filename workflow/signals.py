"""SIGTERM to Snakemake: no more jobs are started, and it ends when those that run have ended."""

import threading

from snakemake.scheduling.job_scheduler import JobScheduler  # type: ignore[import-untyped]

_end = JobScheduler.exit_gracefully


def handle_in_a_thread() -> None:
    """Snakemake's handler takes a lock that the main thread, which runs it, may hold at this moment: it would wait for
    ever. In a thread of its own it waits until the main thread, going on, lets go."""
    JobScheduler.exit_gracefully = _handler


def _handler(scheduler: JobScheduler, *_: object) -> None:
    threading.Thread(target=_end, args=(scheduler,)).start()
