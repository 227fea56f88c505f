"""Representations, transfers and similarities: settings of the stages that make them, and jobs from the config."""

import itertools
from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from rrl.config.kinds import Distinct, Shots
from rrl.config.once import once
from rrl.config.runs import Run
from rrl.config.settings import FirstStage, HeadGrid, LbfgsProbe, Probe, has, narrow
from rrl.config.transfers import MEMBERS_TRANSFER
from rrl.heads.solvers import SOLVERS
from rrl.jobs.networks import NetworkJobs
from rrl.jobs.planned import Planned
from rrl.jobs.stage import Computing, Stage, stage


@stage("represent")
class Represent(Stage):
    depth = 3
    members: list[str]
    """network or network[start:stop], in order."""


@stage("probe")
class LinearProbe(Computing):
    depth = 4
    transfers = ("linear_probe",)
    gpu = True
    solver: Literal[*SOLVERS]  # type: ignore[valid-type]
    """A module of rrl/heads each; best_subset searches by SGD."""
    shots: Distinct[Shots]
    """Training images per class, each a probe of its own, or all."""
    probe: Annotated[
        Annotated[Probe, Tag("Probe")] | Annotated[LbfgsProbe, Tag("LbfgsProbe")],
        Discriminator(lambda value: "LbfgsProbe" if has(value, "iterations") else "Probe"),
    ]


@stage("merge")
class Merge(Stage):
    depth = 4
    transfers = ("finetune",)


@stage("ensemble")
class Ensemble(Stage):
    depth = 4
    transfers = tuple(MEMBERS_TRANSFER)


@stage("averaged_head")
class AveragedHead(Computing):
    depth = 4
    transfers = ("averaged_head",)
    stage_one: list[FirstStage]
    """Of each representation: how its networks were fine-tuned."""


@stage("two_stage")
class TwoStage(Computing):
    depth = 4
    transfers = ("two_stage",)
    gpu = True
    stage_one: list[FirstStage]
    """Of each representation: how its networks were fine-tuned."""
    heads: HeadGrid
    """The second stage."""


@stage("similarity")
class Similarity(Computing):
    depth = 3


class RecordJobs(NetworkJobs):
    @once
    def representation(self, target: str, representation: str) -> Planned:
        members = self.members(target, representation)
        features = [self.features(target, member.network) for member in members]
        artifact = f"representations/{target}/{representation}"
        return self._job("represent", artifact, *features, members=[str(member) for member in members])

    @once
    def record(self, target: str, representation: str, transfer: str) -> Planned:
        artifact = f"records/{target}/{representation}/{transfer}"
        if transfer == "linear_probe":
            probe = self.config.probes[self.probe(target, representation)]
            solver = "lbfgs" if isinstance(probe, LbfgsProbe) else "sgd"
            solver = "best_subset" if representation in self.searched else solver
            shots, source = self.config.targets[target].shots, self.representation(target, representation)
            return self._job("probe", artifact, source, solver=solver, shots=shots, probe=probe)
        if transfer in MEMBERS_TRANSFER:
            names = [member.alone for member in self.representations[representation]]
            alone = [self.record(target, name, MEMBERS_TRANSFER[transfer]) for name in names]
            return self._job("ensemble", artifact, *alone)
        if transfer == "finetune":
            grid = itertools.product(self.finetunings[target].selections, self.settings(target))
            runs = [Run(representation, target, selection, setting) for selection, setting in grid]
            return self._job("merge", artifact, *(self.finetuned(run.name) for run in runs))
        return self._after_stage_one(artifact, target, representation, transfer)

    @once
    def _after_stage_one(self, artifact: str, target: str, representation: str, transfer: str) -> Planned:
        """The second stage, or none, on networks that were fine-tuned one by one, here or by others."""
        here, published = self.finetunings.get(target), self.published.get(target)
        entry = here or published
        assert entry is not None
        shots = entry.targets[target]
        first: list[FirstStage] = []
        starts = []
        for selection in entry.selections:
            if published:
                starts.append(f"{representation}.{target}")
                first.append(FirstStage(None, published.weight_decay, None, selection, shots))
            for setting in here.two_stage.settings if here else []:
                starts.append(f"{representation}.{selection}-{setting}")
                first.append(FirstStage(*self.settings(target)[setting], selection, shots))
        networks = [self.network(member.network) for start in starts for member in self.members(target, start)]
        cards = [self.representation(target, start) for start in starts]
        heads = {"heads": narrow(HeadGrid, entry.two_stage)} if transfer == "two_stage" else {}
        return self._job(transfer, artifact, *cards, *networks, stage_one=first, **heads)

    def similarity(self, target: str, figure: str) -> Planned:
        entry = self.config.figures[figure]
        assert entry.kind == "similarity"
        networks = [network for group in entry.groups for network in self.compared(target, group)]
        features = [self.features(target, network) for network in networks]
        return self._job("similarity", f"similarities/{target}/{figure}", *features)
