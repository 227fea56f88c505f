"""From a config to jobs: what each artifact is made by, from what, with which settings and key.

Nothing here reads a result; the workflow's rules and the keys that stages check come from this alone.
"""

from functools import cached_property
from typing import Any

from rrl.config.schema import Config
from rrl.config.shown import Shown
from rrl.jobs import Planned, TableJobs, behind


class Plan(TableJobs, Shown):
    """The jobs of an experiment.

    pins : sha256 of the files that are fetched.
    """

    def __init__(self, config: Config, pins: dict[str, Any]):
        Shown.__init__(self, config)
        self.pins = pins
        self.planned = {}

    @cached_property
    def jobs(self) -> list[Planned]:
        """All jobs of the experiment, each after its inputs."""
        tables = [self.table(table) for table in self.config.tables]
        figures = [self.figure(figure) for figure in self.config.figures]
        return behind([*tables, *figures, self.collection()])

    @cached_property
    def similarities(self) -> list[Planned]:
        """Of all figures."""
        return [job for job in self.jobs if job.stage == "similarity"]
