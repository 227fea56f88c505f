"""Targets, networks and their features: settings of the stages that make them, and jobs from the config."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rrl.config import settings as parts
from rrl.config.kinds import Architecture, BatchSize, Count, CountOrNone, Positive, Seed, Selection, Shots
from rrl.config.once import once
from rrl.config.runs import Run
from rrl.config.settings import Features, PaddedCrop, Recipe, Transform, narrow
from rrl.jobs.planned import Planned
from rrl.jobs.stage import STAGES, Computing, Stage, stage

if TYPE_CHECKING:
    from rrl.config.schema import Downloaded, Library, User
    from rrl.config.shown import Shown
else:  # which stages need not load: they read the settings alone
    Shown = object


@stage("target")
class Target(Stage):
    needs = ("data_root",)
    source: Annotated[parts.DemoSource | parts.PaperSource | parts.ImageSource, Field(discriminator="dataset")]
    pins: dict[str, str]
    """sha256 of each file that is fetched."""


@stage("import_network")
class ImportNetwork(Stage):
    needs = ("file",)
    source: Annotated[parts.CheckpointFile | parts.UserFile | parts.LibraryModel, Field(discriminator="origin")]


@stage("pretrain")
class Pretrain(Computing):
    needs = ("data_root", "gpus")
    arch: Architecture
    seed: Seed
    """Of initialisation, batch order and augmentation."""
    recipe: Recipe
    transform: Transform


@stage("distill")
class Distill(Computing):
    needs = ("data_root", "gpus")
    arch: Architecture
    """Of the student."""
    seed: Seed
    """Of initialisation and batch order."""
    temperature: Positive
    """T that logits are divided by."""
    recipe: Recipe
    transform: Transform


@stage("random_network")
class RandomNetwork(Computing):
    needs = ("data_root",)
    arch: Architecture
    seed: Seed
    """Of initialisation."""
    batch_size: BatchSize
    """Images of a forward pass."""
    transform: Transform


@stage("extract")
class Extract(Computing):
    depth = 3
    needs = ("data_root",)
    transform: Transform
    features: Features


@stage("finetune")
class Finetune(Computing):
    needs = ("data_root", "gpus", "keep")
    selection: Selection
    shots: Shots
    seed: Seed
    """With the networks' seeds: of the initial head, batch order and augmentation."""
    steps_per_epoch: CountOrNone
    """0 for one pass over the images."""
    evaluation_batch_size: Count
    """Images of a forward pass in evaluation."""
    recipe: Recipe
    transform: Transform


class NetworkJobs(Shown):
    pins: dict[str, Any]
    planned: dict[str, Planned]  # by artifact

    def _job(self, stage: str, artifact: str, *inputs: Planned, **values: Any) -> Planned:
        """The job of a stage with these settings; arithmetic is the experiment's."""
        kind = STAGES[stage]
        if issubclass(kind, Computing):
            values["arithmetic"] = self.config.arithmetic
        return self.planned.setdefault(artifact, Planned(stage, artifact, kind(**values), inputs))

    @once
    def target(self, target: str) -> Planned:
        entry = self.config.targets[target]
        kinds = (parts.DemoSource, parts.ImageSource, parts.PaperSource)
        (kind,) = [kind for kind in kinds if isinstance(entry, kind)]
        pins = self.pins["data"].get(entry.dataset, {})
        return self._job("target", f"targets/{target}", source=narrow(kind, entry), pins=pins)

    @once
    def network(self, network: str) -> Planned:
        artifact = f"networks/{network}"
        if network in self.kept:
            return self._finetune(artifact, self.kept[network])
        family, seed = self.networks[network]
        entry = self.config.networks[family]
        if entry.origin == "download" or entry.origin == "user" or entry.origin == "library":
            return self._job("import_network", artifact, source=self._outside(entry, seed))
        target, transform = self.target(entry.target), self.transform(entry.target, network)
        common = {"arch": entry.arch, "seed": seed}
        if entry.origin == "random":
            still = {"pad": 0} if isinstance(transform, PaddedCrop) else {"scale": [1.0, 1.0]}
            transform = replace(transform, **still, flip=False)
            return self._job(
                "random_network", artifact, target, **common, batch_size=entry.batch_size, transform=transform
            )
        common |= {"recipe": narrow(Recipe, self.config.recipes[entry.recipe]), "transform": transform}
        if entry.origin == "pretrain":
            return self._job("pretrain", artifact, target, **common)
        teachers = self.teachers(network)
        inputs = [self.features(entry.target, teacher) for teacher in teachers] + list(map(self.network, teachers))
        return self._job("distill", artifact, target, *inputs, **common, temperature=entry.temperature)

    def _outside(self, entry: "Downloaded | User | Library", seed: int) -> Any:
        """Where a network comes from that is not trained here."""
        from rrl.networks.checkpoints import checkpoints, planned_sha256  # which stages need not load

        if entry.origin == "library":
            return parts.LibraryModel(entry.origin, entry.models[seed], seed)
        if entry.origin == "user":
            return parts.UserFile(entry.origin, entry.files[seed].sha256, entry.format, entry.arch, seed)
        checkpoint = checkpoints()[entry.checkpoint]
        file = checkpoint.files[seed]
        sha256 = planned_sha256(file)
        return parts.CheckpointFile(entry.origin, file, sha256, checkpoint.format, checkpoint.arch, seed)

    def file(self, network: str) -> str:
        """Where the file of a network lies that others trained; empty where a library has it."""
        from rrl.networks.checkpoints import checkpoints

        family, seed = self.networks[network]
        entry = self.config.networks[family]
        if entry.origin == "download":
            return f"{self.config.checkpoints}/{checkpoints()[entry.checkpoint].files[seed]}"
        return entry.files[seed].path if entry.origin == "user" else ""

    @once
    def features(self, target: str, network: str) -> Planned:
        inputs = self.target(target), self.network(network)
        transform, kept = self.transform(target, network), self.config.features
        return self._job("extract", f"features/{target}/{network}", *inputs, transform=transform, features=kept)

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
