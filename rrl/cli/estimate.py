"""What the jobs of a plan cost, counted from their settings: hours of a GPU and of a core, bytes on the disk."""

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from rrl.cli.why import card_path, reason
from rrl.data.sources import DATASETS
from rrl.job import read_card
from rrl.jobs import Planned, behind
from rrl.networks.architectures import parse_architecture
from rrl.plan import Plan
from rrl.selection import SELECTED_ON
from rrl.store.members import parse_member

ALL = "in all"
FIGURES = "all figures"  # with a space, as in ALL: no name of a table

GPU = "one A100"
PEAK = 312e12  # floating-point operations per second of an A100 in bf16
UTILISATION = 0.2  # what ResNets reach: 2,500 images of 224 pixels per second in training a ResNet-50
SPEED = PEAK * UTILISATION
BACKWARD = 2  # a backward pass is as much work as two forward passes
HOUR = 3600
START = 2.0  # seconds of a core: starting Python, importing, checking the inputs
PRODUCTS_PER_SECOND = 20e9  # floating-point operations of a core in products of float64
LOGITS_PER_SECOND = 200e6  # bytes of logits that a core reads, digests, averages or writes
# Seconds of a core to decode, crop and resize an image: JPEG files of 500 x 375 pixels (2 to 6 ms were measured), or
# 32 x 32 pixels in memory made larger (1 ms was measured). Grey images of 28 x 28 are taken as they are.
READING = {"imagenet": 5e-3, "inaturalist18": 5e-3, "images": 5e-3, "cifar10": 1e-3, "cifar100": 1e-3}
BYTES = {"float16": 2, "float32": 4}
# Images of each class: of the test part of Fashion-MNIST, of the only part of the digits.
TEST_PER_CLASS = {"fashion-mnist": 1000, "mnist-5k": 500}


@dataclass(frozen=True)
class Facts:
    """Of a family of trunks, without heads. Numbers are pairs at width 1: what grows with the square of the width, and
    what grows with the width (first layer, batch norm).

    multiply_adds : of a forward pass of one image of `pixels` x `pixels`; they grow with the area of the image.
    """

    pixels: int
    multiply_adds: tuple[int, int]
    parameters: tuple[int, int]


# Not in architecture_names.py: what is written there is part of the version of each stage that has to do with networks.
FACTS = {
    "resnet8": Facts(28, (630_784, 14_112), (19_072, 408)),
    "resnet8rgb": Facts(32, (753_664, 55_296), (19_072, 552)),
    "cifar_resnet18": Facts(32, (553_648_128, 1_769_472), (11_157_504, 11_328)),
    "resnet50": Facts(224, (3_969_122_304, 118_013_952), (23_445_504, 62_528)),
    "resnet152": Facts(224, (11_511_578_624, 0), (58_143_808, 0)),
    "regnet_y_32gf": Facts(224, (32_275_840_832, 0), (141_333_770, 0)),
    "regnet_y_64gf": Facts(224, (64_065_039_616, 0), (276_457_786, 0)),
    "regnet_y_128gf": Facts(224, (127_510_423_680, 0), (637_419_894, 0)),
    "regnet_y_256gf": Facts(224, (254_374_370_734, 0), (1_272_156_138, 0)),
}
# Layers, features and parameters at 224 pixels of vision transformers. Their attention grows with the square of the
# area, so it is counted by itself.
TRANSFORMERS = {"vit_b16": (12, 768, 85_798_656), "vit_l16": (24, 1024, 303_301_632)}
PATCH = 16  # pixels


class NotKnown(Exception):
    """What a job costs depends on what only the data of the user, or a library, know."""


@dataclass(frozen=True)
class Cost:
    """gpu_hours, cpu_hours : of one GPU, of one core. features, networks, logits : bytes on disk.
    unknown : jobs whose cost is not known, counted as nothing.
    """

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    features: float = 0.0
    networks: float = 0.0
    logits: float = 0.0
    unknown: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Cost)))

    @property
    def disk(self) -> float:
        """Bytes."""
        return self.features + self.networks + self.logits


def total(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost())


# Architectures


def multiply_adds(arch: str, size: int) -> int:
    """Of a forward pass of one image of `size` x `size` pixels through a trunk. Raises NotKnown."""
    of = parse_architecture(arch)
    if "/" in of.family:
        return of.joint * counted(of.family, size)[0]
    if of.family in TRANSFORMERS:
        layers, width, _ = TRANSFORMERS[of.family]
        patches = (size // PATCH) ** 2
        tokens = patches + 1
        layer = 12 * width**2 * tokens + 2 * width * tokens**2  # projections and perceptron; attention
        return of.joint * (patches * 3 * PATCH**2 * width + layers * layer)
    facts = FACTS[of.family]
    square, linear = facts.multiply_adds
    return round(of.joint * (square * of.width**2 + linear * of.width) * (size / facts.pixels) ** 2)


def parameters(arch: str) -> int:
    """Of a trunk. Raises NotKnown."""
    of = parse_architecture(arch)
    if "/" in of.family:
        return of.joint * counted(of.family, None)[1]
    if of.family in TRANSFORMERS:
        return of.joint * TRANSFORMERS[of.family][2]
    square, linear = FACTS[of.family].parameters
    return of.joint * (square * of.width**2 + linear * of.width)


def feature_dim(arch: str) -> int:
    """Of a trunk. Raises NotKnown."""
    of = parse_architecture(arch)
    return of.feature_dim or of.joint * counted(of.family, None)[2]


@cache
def counted(arch: str, size: int | None) -> tuple[int, int, int]:
    """multiply_adds, parameters and feature_dim of a model of a library, built without weights: a second or two.

    size : pixels of the square images, 224 if None. Raises NotKnown if the model cannot be run without weights.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from rrl.networks.trunks import build_trunk, parameter_count

    try:
        with torch.device("meta"), torch.no_grad():
            trunk = build_trunk(arch, size).eval()
            with FlopCounterMode(display=False) as counter:
                trunk(torch.empty(1, 3, size or 224, size or 224))
    except (AssertionError, RuntimeError, TypeError, ValueError):
        raise NotKnown(arch) from None
    return counter.get_total_flops() // 2, parameter_count(trunk), trunk.feature_dim


# Jobs


def identity(job: Planned) -> str:
    """The same for a run of fine-tuning and for the network that this run keeps: one job makes both."""
    return f"finetune {Path(job.artifact).name}" if job.stage == "finetune" else job.artifact


def distinct(jobs: Iterable[Planned]) -> list[Planned]:
    """Each job once."""
    return list({identity(job): job for job in jobs}.values())


def target_of(job: Planned) -> Planned:
    """The target that a job is about."""
    return job if job.artifact.startswith("targets/") else target_of(job.inputs[0])


def trunks(job: Planned) -> list[str]:
    """Architectures of the trunks of a network, or of the networks that a job passes images through."""
    if "arch" in job.settings:
        return [job.settings["arch"]]
    return [arch for source in job.inputs if source.artifact.startswith("networks/") for arch in trunks(source)]


def image_size(job: Planned) -> int:
    """Pixels of the square images that a job passes through networks: of the demo's, 28."""
    return int(job.settings["transform"].get("size", 28))


def dim_of(representation: Planned) -> int:
    """Features of a representation. Raises NotKnown."""
    members = zip(representation.settings["members"], representation.inputs, strict=True)
    columns = [(parse_member(member).columns, features.inputs[1]) for member, features in members]
    return sum(
        stop[1] - stop[0] if stop else sum(feature_dim(arch) for arch in trunks(network)) for stop, network in columns
    )


def logits_entries(job: Planned) -> int:
    """Pairs of a number of shots and a selection rule that a job writes logits of."""
    match job.stage:
        case "probe" | "lbfgs_probe":
            return 2 * len(job.settings["shots"])
        case "best_subset":
            return len(job.settings["shots"])
        case "two_stage" | "averaged_head":
            return len({start["selection"] for start in job.settings["stage_one"]})
        case "merge":
            return len({source.settings["selection"] for source in job.inputs})
        case "ensemble":
            return logits_entries(job.inputs[0])
    return 1


def images_seen(of: dict[str, Any], count: int) -> int:
    """In training, by settings with epochs, batch_size and perhaps steps_per_epoch, on `count` images."""
    steps = of.get("steps_per_epoch", 0)
    return int(of["epochs"] * (steps * min(of["batch_size"], count) if steps else count))


class Costs:
    """What each job of a plan costs."""

    def __init__(self, plan: Plan):
        self.results = plan.config.results
        self.kept = plan.kept

    def of(self, job: Planned) -> Cost:
        """Where it is not known, only the start of the job."""
        try:
            return self._of(job) + Cost(cpu_hours=START / HOUR)
        except NotKnown:
            return Cost(cpu_hours=START / HOUR, unknown=1)

    def _of(self, job: Planned) -> Cost:
        match job.stage:
            case "extract":
                return self._extract(job)
            case "pretrain" | "distill" | "random_network":
                return self._train(job)
            case "finetune":
                return self._finetune(job) + self._logits(job)
            case "probe" | "best_subset":
                return self._probe(job) + self._logits(job)
            case "lbfgs_probe":
                return self._lbfgs_probe(job) + self._logits(job)
            case "two_stage":
                return self._two_stage(job) + self._logits(job)
            case "averaged_head" | "merge" | "ensemble":
                return self._average(job) + self._logits(job)
            case "represent":
                return Cost(features=8 * sum(self.counts(target_of(job)).values()))  # its own copy of the labels
            case "convert" | "user_network" | "library_network":
                return Cost(networks=4 * parameters(job.settings["arch"]))
            case "similarity":
                return self._similarity(job)
            case "target" | "paper_target" | "image_target" | "collect" | "table" | "figure":
                return Cost()
        raise NotKnown(job.stage)

    def counts(self, target: Planned) -> dict[str, int]:
        """Images of each split: as published, or as the target's card says. Raises NotKnown."""
        of = target.settings
        if target.stage == "paper_target" and of["classes"] == DATASETS[of["dataset"]].classes:
            (train, _), (test, _) = (DATASETS[of["dataset"]].published[part] for part in ("train", "test"))
            val = round(of["val_fraction"] * train)
            return {"train": train - val, "val": val, "test": test}
        if target.stage == "target":
            train, val, test = of["train_per_class"], of["val_per_class"], TEST_PER_CLASS[of["dataset"]]
            test -= train + val if of["dataset"] == "mnist-5k" else 0  # it has one part for all splits
            return {split: n * len(of["classes"]) for split, n in (("train", train), ("val", val), ("test", test))}
        return {split: int(count) for split, count in self._facts(target)["counts"].items()}

    def classes(self, target: Planned) -> int:
        """Raises NotKnown."""
        of = target.settings.get("classes")
        return len(of) if isinstance(of, list) else int(of or self._facts(target)["classes"])

    def _facts(self, target: Planned) -> dict[str, Any]:
        if reason(self.results, target):
            raise NotKnown(target.artifact)
        return read_card(card_path(self.results, target)).facts

    def training_images(self, target: Planned, shots: int | str, rule: str) -> int:
        """That a rule trains on. Raises NotKnown."""
        if shots != "all":
            return int(shots) * self.classes(target)
        counts = self.counts(target)
        return counts["train"] + (counts["val"] if rule == "paper" else 0)

    def _passes(self, job: Planned, trained: int, evaluated: int, head: int = 0) -> Cost:
        """Images passed through the networks of a job, and read for that. head : classes."""
        forward = 2 * sum(multiply_adds(arch, image_size(job)) + feature_dim(arch) * head for arch in trunks(job))
        flops = forward * ((1 + BACKWARD) * trained + evaluated)
        seconds = READING.get(target_of(job).settings["dataset"], 0.0) * (trained + evaluated)
        return Cost(gpu_hours=flops / SPEED / HOUR, cpu_hours=seconds / HOUR)

    def _extract(self, job: Planned) -> Cost:
        counts, views = self.counts(target_of(job)), job.settings["views"]
        of_val = 1 if views == 1 else 1 + views
        rows = views * counts["train"] + of_val * counts["val"] + counts["test"]
        values = rows * sum(feature_dim(arch) for arch in trunks(job)) * BYTES[job.settings["dtype"]]
        return self._passes(job, 0, rows) + Cost(features=values + 8 * sum(counts.values()))

    def _train(self, job: Planned) -> Cost:
        target, arch = target_of(job), job.settings["arch"]
        count = self.counts(target)["train"]
        if job.stage == "random_network":
            return self._passes(job, 0, count) + Cost(networks=4 * parameters(arch))
        classes = self.classes(target) if job.stage == "pretrain" else 0
        weights = 4 * (parameters(arch) + classes * (feature_dim(arch) + 1))
        return self._passes(job, images_seen(job.settings, count), 0, classes) + Cost(networks=weights)

    def _finetune(self, job: Planned) -> Cost:
        target, of = target_of(job), job.settings
        counts, classes = self.counts(target), self.classes(target)
        trained = images_seen(of, self.training_images(target, of["shots"], of["selection"]))
        evaluated = of["epochs"] * counts[SELECTED_ON[of["selection"]]] + counts["val"] + counts["test"]
        cost = self._passes(job, trained, evaluated, classes)
        if Path(job.artifact).name in self.kept:
            weights = sum(parameters(arch) + classes * feature_dim(arch) for arch in trunks(job)) + classes
            cost += Cost(networks=4 * weights)
        return cost

    def _heads(self, target: Planned, dim: int, heads: int, trained: int, evaluated: int) -> Cost:
        """Linear heads trained together on cached features."""
        forward = 2 * dim * self.classes(target) * heads
        return Cost(gpu_hours=forward * ((1 + BACKWARD) * trained + evaluated) / SPEED / HOUR)

    def _probe(self, job: Planned) -> Cost:
        target, of, (representation, *_) = target_of(job), job.settings, job.inputs
        counts, searched = self.counts(target), job.stage == "best_subset"
        heads = len(of["learning_rates"]) * len(of["weight_decays"])
        dim = dim_of(representation)
        if searched:  # with n members left to choose from, n probes; on average of as many features as members tried
            members = len(representation.inputs)
            dim = round(sum((members - size + 1) * size * dim / members for size in range(1, members + 1)))
        cost = Cost()
        for shots in of["shots"]:
            rules = ["heldout"] if searched else ["heldout", "paper"]
            for rule in rules:
                trained = images_seen(of, self.training_images(target, shots, rule))
                once = shots == "all" or rule == "heldout"  # with shots both rules share one training
                evaluated = of["epochs"] * counts[SELECTED_ON[rule]]
                cost += self._heads(target, dim, heads, trained if once else 0, evaluated)
        return cost

    def _lbfgs_probe(self, job: Planned) -> Cost:
        """As if every weight decay took all iterations, each a pass over all views."""
        target, of, (representation, *_) = target_of(job), job.settings, job.inputs
        counts, heads, views = self.counts(target), len(of["weight_decays"]), representation.inputs[0].settings["views"]
        dim = dim_of(representation)
        cost = Cost()
        for shots in of["shots"]:
            for rule in ("heldout", "paper"):
                once = shots == "all" or rule == "heldout"  # with shots both rules share one training
                trained = of["iterations"] * views * self.training_images(target, shots, rule) if once else 0
                cost += self._heads(target, dim, heads, trained, counts[SELECTED_ON[rule]])
        return cost

    def _two_stage(self, job: Planned) -> Cost:
        target, of = target_of(job), job.settings
        counts, dim, heads = self.counts(target), dim_of(job.inputs[0]), len(of["learning_rates"])
        cost = Cost()
        for start in of["stage_one"]:
            trained = images_seen(of, self.training_images(target, start["shots"], start["selection"]))
            cost += self._heads(target, dim, heads, trained, of["epochs"] * counts[SELECTED_ON[start["selection"]]])
        return cost

    def _average(self, job: Planned) -> Cost:
        """A core's time for the logits that are read, or made once for each setting."""
        sources = len(job.settings["stage_one"]) if job.stage == "averaged_head" else len(job.inputs)
        entry = self._logits(job).logits / logits_entries(job)
        read = sources * entry * (logits_entries(job.inputs[0]) if job.stage == "ensemble" else 1)
        return Cost(cpu_hours=(read + self._logits(job).logits) / LOGITS_PER_SECOND / HOUR)

    def _similarity(self, job: Planned) -> Cost:
        """A core's time for the products of all pairs of networks."""
        dims = [sum(feature_dim(arch) for arch in trunks(features)) for features in job.inputs]
        pairs = itertools.combinations_with_replacement(dims, 2)
        flops = 2 * self.counts(target_of(job))["test"] * sum(first * second for first, second in pairs)
        return Cost(cpu_hours=flops / PRODUCTS_PER_SECOND / HOUR)

    def _logits(self, job: Planned) -> Cost:
        """float32 of val and test, with labels."""
        target = target_of(job)
        counts = self.counts(target)
        images = counts["val"] + counts["test"]
        return Cost(logits=images * (4 * self.classes(target) * logits_entries(job) + 8))


class Estimate:
    """Of one plan: the jobs of each table, of all figures and in all, and what they cost.

    missing : only jobs without a current card.
    """

    def __init__(self, plan: Plan, missing: bool = False):
        self.plan = plan
        costs = Costs(plan)
        parts = {table: behind([plan.table(table)]) for table in plan.config.tables}
        if plan.config.figures:
            parts[FIGURES] = behind([plan.figure(figure) for figure in plan.config.figures])
        parts[ALL] = plan.jobs
        left = [job for job in plan.jobs if not missing or reason(plan.config.results, job)]
        self.costs = {identity(job): costs.of(job) for job in distinct(left)}
        self.parts = {
            name: [job for job in distinct(jobs) if identity(job) in self.costs] for name, jobs in parts.items()
        }

    def total(self, part: str, stage: str | None = None) -> Cost:
        """Of a table, or in all; of one stage if given."""
        return total(self.costs[identity(job)] for job in self.parts[part] if stage in (None, job.stage))

    def stages(self, part: str) -> Counter[str]:
        """Number of jobs of each stage, in the order of the plan."""
        return Counter(job.stage for job in self.parts[part])
