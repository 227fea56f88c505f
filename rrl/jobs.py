"""The jobs that make networks, features, representations and records: stage, settings, inputs and key of each."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rrl.code_version import Part, code_version, parts_of
from rrl.config import schema, settings
from rrl.config.names import Names, once, single_name
from rrl.config.runs import Run
from rrl.config.settings import PaddedCrop, Recipe, keyed, narrow
from rrl.config.transfers import MEMBERS_TRANSFER
from rrl.job import plan_key
from rrl.networks.checkpoints import checkpoints, planned_sha256


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
    found: dict[str, Planned] = {}

    def add(job: Planned) -> None:
        if job.artifact not in found:
            for source in job.inputs:
                add(source)
            found[job.artifact] = job

    for job in jobs:
        add(job)
    return list(found.values())


class Jobs(Names):
    def __init__(self, config: schema.Config, pins: dict[str, Any]):
        super().__init__(config)
        self.pins = pins
        self._jobs: dict[str, Planned] = {}

    def _job(self, stage: str, artifact: str, *inputs: Planned, **values: Any) -> Planned:
        """The job of a stage with these settings; arithmetic is the experiment's."""
        kind = settings.STAGES[stage]
        if issubclass(kind, settings.Computing):
            values["arithmetic"] = self.config.arithmetic
        return self._jobs.setdefault(artifact, Planned(stage, artifact, kind(**values), inputs))

    @once
    def target(self, target: str) -> Planned:
        entry = self.config.targets[target]
        kinds = (settings.DemoSource, settings.ImageSource, settings.PaperSource)
        (kind,) = [kind for kind in kinds if isinstance(entry, kind)]
        pins = self.pins["data"].get(entry.dataset, {})
        return self._job("target", f"targets/{target}", source=narrow(kind, entry), pins=pins)

    @once
    def network(self, network: str) -> Planned:
        artifact = f"networks/{network}"
        if network in self.kept:
            return self._finetune(artifact, self.kept[network])
        family, seed = self.networks[network]
        match entry := self.config.networks[family]:
            case schema.Downloaded() | schema.User() | schema.Library():
                return self._job("import_network", artifact, source=self._outside(entry, seed))
        target, transform = self.target(entry.target), self.transform(entry.target, network)
        common = {"arch": entry.arch, "seed": seed}
        if isinstance(entry, schema.Random):
            still = {"pad": 0} if isinstance(transform, PaddedCrop) else {"scale": [1.0, 1.0]}
            transform = replace(transform, **still, flip=False)
            return self._job(
                "random_network", artifact, target, **common, batch_size=entry.batch_size, transform=transform
            )
        common |= {"recipe": narrow(Recipe, self.config.recipes[entry.recipe]), "transform": transform}
        if isinstance(entry, schema.Pretrained):
            return self._job("pretrain", artifact, target, **common)
        teachers = self.teachers(network)
        inputs = [self.features(entry.target, teacher) for teacher in teachers] + list(map(self.network, teachers))
        return self._job("distill", artifact, target, *inputs, **common, temperature=entry.temperature)

    def _outside(self, entry: schema.Downloaded | schema.User | schema.Library, seed: int) -> Any:
        """Where a network comes from that is not trained here."""
        if isinstance(entry, schema.Library):
            return settings.LibraryModel(entry.origin, entry.models[seed], seed)
        if isinstance(entry, schema.User):
            return settings.UserFile(entry.origin, entry.files[seed].sha256, entry.format, entry.arch, seed)
        checkpoint = checkpoints()[entry.checkpoint]
        file = checkpoint.files[seed]
        sha256 = planned_sha256(file)
        return settings.CheckpointFile(entry.origin, file, sha256, checkpoint.format, checkpoint.arch, seed)

    def file(self, network: str) -> str:
        """Where the file of a network lies that others trained; empty where a library has it."""
        family, seed = self.networks[network]
        match entry := self.config.networks[family]:
            case schema.Downloaded():
                return f"{self.config.checkpoints}/{checkpoints()[entry.checkpoint].files[seed]}"
            case schema.User():
                return entry.files[seed].path
        return ""

    @once
    def features(self, target: str, network: str) -> Planned:
        inputs = self.target(target), self.network(network)
        transform, kept = self.transform(target, network), self.config.features
        return self._job("extract", f"features/{target}/{network}", *inputs, transform=transform, features=kept)

    @once
    def representation(self, target: str, representation: str) -> Planned:
        members = self.members(target, representation)
        features = [self.features(target, member.network) for member in members]
        artifact = f"representations/{target}/{representation}"
        return self._job("represent", artifact, *features, members=[str(member) for member in members])

    def finetuned(self, run: str) -> Planned:
        """One setting of fine-tuning, by the name of the run."""
        return self._finetune(f"finetuned/{run}", self.runs[run])

    @once
    def _finetune(self, artifact: str, run: Run) -> Planned:
        entry = self.finetunings[run.target]
        learning_rate, weight_decay, epochs = self.settings(run.target)[run.setting]
        recipe = Recipe(
            epochs, entry.batch_size, learning_rate, entry.momentum, entry.nesterov, weight_decay, entry.decay_norm,
            entry.schedule, entry.precision,
        )  # fmt: skip
        networks = dict.fromkeys(member.network for member in self.representations[run.representation])
        return self._job(
            "finetune",
            artifact,
            self.target(run.target),
            *map(self.network, networks),
            selection=run.selection,
            shots=entry.targets[run.target],
            seed=entry.seed,
            steps_per_epoch=entry.steps_per_epoch,
            evaluation_batch_size=self.config.features.batch_size,
            recipe=recipe,
            transform=self.transform(run.target, next(iter(networks))),
        )

    @once
    def record(self, target: str, representation: str, transfer: str) -> Planned:
        artifact = f"records/{target}/{representation}/{transfer}"
        if transfer == "linear_probe":
            probe = self.config.probes[self.probe(target, representation)]
            solver = "lbfgs" if isinstance(probe, settings.LbfgsProbe) else "sgd"
            solver = "best_subset" if representation in self.searched else solver
            shots, source = self.config.targets[target].shots, self.representation(target, representation)
            return self._job("probe", artifact, source, solver=solver, shots=shots, probe=probe)
        if transfer in MEMBERS_TRANSFER:
            names = [single_name(member) for member in self.representations[representation]]
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
        entry = self.finetunings.get(target) or self.published[target]
        shots = entry.targets[target]
        first: list[settings.FirstStage] = []
        starts = []
        for selection in entry.selections:
            if isinstance(entry, schema.PublishedFinetuning):
                starts.append(f"{representation}.{target}")
                first.append(settings.FirstStage(None, entry.weight_decay, None, selection, shots))
                continue
            for setting in entry.two_stage.settings:
                starts.append(f"{representation}.{selection}-{setting}")
                first.append(settings.FirstStage(*self.settings(target)[setting], selection, shots))
        networks = [self.network(member.network) for start in starts for member in self.members(target, start)]
        cards = [self.representation(target, start) for start in starts]
        heads = {"heads": narrow(settings.HeadGrid, entry.two_stage)} if transfer == "two_stage" else {}
        return self._job(transfer, artifact, *cards, *networks, stage_one=first, **heads)

    def similarity(self, target: str, figure: str) -> Planned:
        entry = self.config.figures[figure]
        assert isinstance(entry, schema.SimilarityFigure)
        networks = [network for group in entry.groups for network in self.compared(target, group)]
        features = [self.features(target, network) for network in networks]
        return self._job("similarity", f"similarities/{target}/{figure}", *features)
