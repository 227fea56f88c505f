"""The jobs that make networks, features, representations and records: stage, settings, inputs and key of each."""

import itertools
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rrl.arithmetic import STAGES
from rrl.code_version import code_version
from rrl.command import flags
from rrl.config.names import Names, once, single_name
from rrl.config.runs import Run
from rrl.config.schema import (
    Config,
    Distilled,
    Downloaded,
    ImageTarget,
    Library,
    PaperTarget,
    Pretrained,
    PublishedFinetuning,
    SimilarityFigure,
    User,
)
from rrl.config.transfers import MEMBERS_TRANSFER
from rrl.networks.checkpoints import checkpoints, planned_sha256
from rrl.store.cards import plan_key


@dataclass(frozen=True)
class Planned:
    """One job: its stage, the artifact it makes, its settings (in the order of the stage's flags), its inputs."""

    stage: str
    artifact: str
    settings: dict[str, Any]
    inputs: tuple["Planned", ...] = ()

    @property
    def code_version(self) -> str:
        return code_version(self.stage)

    @cached_property
    def key(self) -> str:
        return plan_key(self.stage, self.settings, self.code_version, [job.key for job in self.inputs])

    @property
    def flags(self) -> str:
        return shlex.join(flags(self.settings))

    @property
    def input_keys(self) -> str:
        return " ".join(job.key for job in self.inputs)


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
    def __init__(self, config: Config, pins: dict[str, Any]):
        super().__init__(config)
        self.pins = pins
        self._jobs: dict[str, Planned] = {}

    def _job(self, stage: str, artifact: str, settings: dict[str, Any], *inputs: Planned) -> Planned:
        if stage in STAGES:
            settings = settings | {"arithmetic": self.config.arithmetic}
        return self._jobs.setdefault(artifact, Planned(stage, artifact, settings, inputs))

    @once
    def target(self, target: str) -> Planned:
        of = self.config.targets[target]
        if isinstance(of, ImageTarget):
            kept = of.model_dump(exclude={"dataset", "shots", "transform", "probe"})
            return self._job("image_target", f"targets/{target}", kept)
        if isinstance(of, PaperTarget):
            kept = of.model_dump(exclude={"shots", "transform", "probe"})
            return self._job("paper_target", f"targets/{target}", kept)
        pins = self.pins["data"].get(of.dataset, {})
        settings = of.model_dump(exclude={"shots", "transform", "probe"})
        settings["pins"] = [f"{file}={sha256}" for file, sha256 in sorted(pins.items())]
        return self._job("target", f"targets/{target}", settings)

    @once
    def network(self, network: str) -> Planned:
        if network in self.kept:
            return self._finetune(f"networks/{network}", self.kept[network])
        settings: dict[str, Any]
        family, seed = self.networks[network]
        of = self.config.networks[family]
        if isinstance(of, Downloaded):
            checkpoint = checkpoints()[of.checkpoint]
            file = checkpoint.files[seed]
            settings = {"file": file, "sha256": planned_sha256(file), "format": checkpoint.format}
            return self._job("convert", f"networks/{network}", settings | {"arch": checkpoint.arch, "seed": seed})
        if isinstance(of, User):
            settings = {"sha256": of.files[seed].sha256, "format": of.format, "arch": of.arch, "seed": seed}
            return self._job("user_network", f"networks/{network}", settings)
        if isinstance(of, Library):
            return self._job("library_network", f"networks/{network}", {"arch": of.models[seed], "seed": seed})
        transform = self.transform(of.target, network)
        settings = {"arch": of.arch, "seed": seed}
        if isinstance(of, Distilled):
            settings |= {"temperature": of.temperature}
            settings |= self.config.recipes[of.recipe].model_dump(exclude={"gpus"}) | {"transform": transform}
            taught = [self.features(of.target, teacher) for teacher in self.teachers(network)]
            teachers = [self.network(teacher) for teacher in self.teachers(network)]
            return self._job("distill", f"networks/{network}", settings, self.target(of.target), *taught, *teachers)
        if isinstance(of, Pretrained):
            settings |= self.config.recipes[of.recipe].model_dump(exclude={"gpus"}) | {"transform": transform}
            return self._job("pretrain", f"networks/{network}", settings, self.target(of.target))
        plain = {"pad": 0, "flip": False} if "pad" in transform else {"scale": [1.0, 1.0], "flip": False}
        settings |= {"batch_size": of.batch_size, "transform": transform | plain}
        return self._job("random_network", f"networks/{network}", settings, self.target(of.target))

    @once
    def features(self, target: str, network: str) -> Planned:
        settings = {"transform": self.transform(target, network)} | self.config.features.model_dump()
        return self._job(
            "extract", f"features/{target}/{network}", settings, self.target(target), self.network(network)
        )

    @once
    def representation(self, target: str, representation: str) -> Planned:
        members = self.members(target, representation)
        features = [self.features(target, member.network) for member in members]
        settings = {"members": [str(member) for member in members]}
        return self._job("represent", f"representations/{target}/{representation}", settings, *features)

    def finetuned(self, run: str) -> Planned:
        """One setting of fine-tuning, by the name of the run."""
        return self._finetune(f"finetuned/{run}", self.runs[run])

    @once
    def _finetune(self, artifact: str, run: Run) -> Planned:
        of = self.finetunings[run.target]
        learning_rate, weight_decay, epochs = self.settings(run.target)[run.setting]
        recipe = of.model_dump(
            include={
                "steps_per_epoch",
                "batch_size",
                "momentum",
                "nesterov",
                "decay_norm",
                "precision",
                "schedule",
                "seed",
            }
        )
        settings: dict[str, Any] = {"selection": run.selection, "shots": of.targets[run.target]}
        settings |= {"evaluation_batch_size": self.config.features.batch_size}
        settings |= {"learning_rate": learning_rate, "weight_decay": weight_decay, "epochs": epochs} | recipe
        networks = dict.fromkeys(member.network for member in self.representations[run.representation])
        settings |= {"transform": self.transform(run.target, next(iter(networks)))}
        return self._job("finetune", artifact, settings, self.target(run.target), *map(self.network, networks))

    @once
    def record(self, target: str, representation: str, transfer: str) -> Planned:
        artifact = f"records/{target}/{representation}/{transfer}"
        if transfer == "linear_probe":
            of = self.config.targets[target]
            probe = self.config.probes[self.probe(target, representation)]
            settings = {"shots": of.shots} | probe.model_dump(exclude={"solver"})
            stage = "lbfgs_probe" if target in self.by_lbfgs else "probe"
            stage = "best_subset" if representation in self.searched else stage
            return self._job(stage, artifact, settings, self.representation(target, representation))
        if transfer in MEMBERS_TRANSFER:
            names = [single_name(member) for member in self.representations[representation]]
            alone = [self.record(target, name, MEMBERS_TRANSFER[transfer]) for name in names]
            return self._job("ensemble", artifact, {}, *alone)
        if transfer == "finetune":
            finetuning = self.finetunings[target]
            grid = itertools.product(finetuning.selections, self.settings(target))
            runs = [Run(representation, target, selection, setting) for selection, setting in grid]
            return self._job("merge", artifact, {}, *(self.finetuned(run.name) for run in runs))
        return self._after_stage_one(artifact, target, representation, transfer)

    @once
    def _after_stage_one(self, artifact: str, target: str, representation: str, transfer: str) -> Planned:
        """The second stage, or none, on networks that were fine-tuned one by one, here or by others."""
        of = self.finetunings.get(target) or self.published[target]
        about: list[dict[str, Any]] = []
        starts = []
        for selection in of.selections:
            common = {"selection": selection, "shots": of.targets[target]}
            if isinstance(of, PublishedFinetuning):
                starts.append(f"{representation}.{target}")
                about.append({"learning_rate": None, "weight_decay": of.weight_decay, "epochs": None, **common})
                continue
            for setting in of.two_stage.settings:
                starts.append(f"{representation}.{selection}-{setting}")
                numbers = zip(("learning_rate", "weight_decay", "epochs"), self.settings(target)[setting], strict=True)
                about.append({**dict(numbers), **common})
        networks = [self.network(member.network) for start in starts for member in self.members(target, start)]
        settings: dict[str, Any] = {"stage_one": about}
        if transfer == "two_stage":
            settings |= of.two_stage.model_dump(exclude={"settings"})
        cards = [self.representation(target, start) for start in starts]
        return self._job(transfer, artifact, settings, *cards, *networks)

    def similarity(self, target: str, figure: str) -> Planned:
        of = self.config.figures[figure]
        assert isinstance(of, SimilarityFigure)
        networks = [network for group in of.groups for network in self.compared(target, group)]
        features = [self.features(target, network) for network in networks]
        return self._job("similarity", f"similarities/{target}/{figure}", {}, *features)
