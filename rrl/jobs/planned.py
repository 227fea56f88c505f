"""A job as it is planned: its stage, settings, inputs and key."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rrl.code_version import Part, code_version, parts_of
from rrl.config.settings import keyed
from rrl.store.files import canonical_json


def plan_key(stage: str, settings: dict[str, Any], code_version: str, input_keys: Sequence[str]) -> str:
    """Digest (16 hex digits) of what is planned; equal in the workflow and in the stage."""
    plan = {"stage": stage, "settings": settings, "code_version": code_version, "inputs": list(input_keys)}
    return hashlib.sha256(canonical_json(plan).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Planned:
    """One job: its stage, the artifact that it makes, its settings (rrl/config/settings.py), its inputs."""

    stage: str
    artifact: str
    settings: Any
    inputs: tuple["Planned", ...] = ()

    @cached_property
    def architectures(self) -> list[str]:
        """Of the network that it makes, or else of the networks that it reads."""
        own = getattr(getattr(self.settings, "source", self.settings), "arch", None)
        if own is not None:
            return [own]
        networks = [job for job in self.inputs if job.artifact.startswith("networks/")]
        return [name for job in networks for name in job.architectures]

    @cached_property
    def parts(self) -> list[Part]:
        """What it loads by name."""
        networks = [name for job in self.inputs if job.artifact.startswith("networks/") for name in job.architectures]
        datasets = [job.settings.source.dataset for job in self.inputs if job.stage == "target"]
        return parts_of(self.settings, networks, datasets)

    @cached_property
    def code_version(self) -> str:
        return code_version(self.stage, self.parts)

    @cached_property
    def keyed(self) -> dict[str, Any]:
        """The settings as plain data, as they stand in the card."""
        plain: dict[str, Any] = keyed(self.settings)
        return plain

    @cached_property
    def key(self) -> str:
        return plan_key(self.stage, self.keyed, self.code_version, [job.key for job in self.inputs])


def behind(jobs: Iterable[Planned]) -> list[Planned]:
    """All jobs that some jobs need, each behind its inputs, and these themselves."""
    ordered: dict[str, Planned] = {}

    def add(job: Planned) -> None:
        if job.artifact not in ordered:
            for source in job.inputs:
                add(source)
            ordered[job.artifact] = job

    for job in jobs:
        add(job)
    return list(ordered.values())
