"""What an experiment costs before it runs, from the settings of its jobs: hours of a GPU and of a core, and disk."""

import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from rrl.cli.text import bytes_text, counted, markdown, number_text
from rrl.cli.why import card_path, reason
from rrl.config.load import load_plans
from rrl.config.settings import DemoSource, LbfgsProbe
from rrl.data.sources import DATASETS
from rrl.job import read_card
from rrl.jobs import Planned, behind
from rrl.plan import Plan
from rrl.selection import SELECTED_ON
from rrl.store.members import SPLITS, parse_member

SPEED = 0.2 * 312e12  # floating-point operations per second
TRAINING = 3  # a forward and a backward pass, in forward passes
HOUR, START = 3600, 2.0  # seconds
READING = {"imagenet": 5e-3, "inaturalist18": 5e-3, "images": 5e-3, "cifar10": 1e-3, "cifar100": 1e-3}  # seconds
FREE = ("target", "similarity", "collect", "table", "figure")
ASSUMED = (
    "GPU: one A100 in bf16 at 20 % of 312 TFLOP/s. The stages compute in float32: expect three times as much or more.",
    "A training step costs three forward passes; files are read and written at no cost.",
    "CPU: one core; 5 ms to read a JPEG file, 1 ms for an image of CIFAR, 2 s to start a job.",
    "Disk: weights and logits in float32; downloaded networks without their heads.",
)


class NotKnown(Exception):
    """A cost depends on what only the user's data, or a library, know."""


class Cost(NamedTuple):
    """Hours of one GPU and of one core; bytes on disk; the number of jobs whose cost is not known and not counted."""

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    features: float = 0.0
    networks: float = 0.0
    logits: float = 0.0
    unknown: int = 0


@cache
def trunk_facts(arch: str, size: int = 224) -> tuple[int, int, int]:
    """Multiply-adds for an image of `size` x `size` pixels, parameters and number of features. Raises NotKnown."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from rrl.networks.trunks import build_trunk, parameter_count

    try:
        with torch.device("meta"), torch.no_grad():  # tensors with shapes and no memory
            trunk = build_trunk(arch, size).eval()
            stem = next(part for part in trunk.modules() if isinstance(part, torch.nn.Conv2d))
            with FlopCounterMode(display=False) as counter:
                trunk(torch.empty(1, stem.in_channels, size, size))
    except (AssertionError, RuntimeError, StopIteration, TypeError, ValueError):
        raise NotKnown(arch) from None
    return counter.get_total_flops() // 2, parameter_count(trunk), trunk.feature_dim


def dim_of(job: Planned) -> int:
    """Number of features of a network on a target, or of a representation. Raises NotKnown."""
    if job.stage == "extract":
        return sum(trunk_facts(arch)[2] for arch in job.architectures)
    parts = zip((parse_member(member).columns for member in job.settings.members), job.inputs, strict=True)
    return sum(columns[1] - columns[0] if columns else dim_of(features) for columns, features in parts)


def fits(job: Planned) -> list[tuple[Any, str]]:
    """Number of shots and selection rule of all that is trained or averaged for a record."""
    if isinstance(shots := getattr(job.settings, "shots", None), list):
        rules = ["heldout"] if getattr(job.settings, "solver", "") == "best_subset" else list(SELECTED_ON)
        return list(itertools.product(shots, rules))
    if job.stage == "ensemble":
        return fits(job.inputs[0])
    starts = [source.settings for source in job.inputs] if job.stage == "merge" else [job.settings]
    return [(start.shots, start.selection) for start in getattr(job.settings, "stage_one", starts)]


class Target:
    """Images and classes of a job's target, from the plan or else from the target's card. Raises NotKnown."""

    def __init__(self, job: Planned, results: str):
        while job.stage != "target":
            job = job.inputs[0]
        source = job.settings.source
        self.dataset, classes = source.dataset, cast(Any, getattr(source, "classes", None))
        if isinstance(source, DemoSource):
            (last, (_, test)) = list(DATASETS[self.dataset].published.items())[-1]
            test -= source.train_per_class + source.val_per_class if last == "all" else 0  # of its smallest class
            sizes = [len(source.classes) * count for count in (source.train_per_class, source.val_per_class, test)]
        elif classes and classes == DATASETS[self.dataset].classes:
            train, test = (DATASETS[self.dataset].published[part][0] for part in ("train", "test"))
            val = round(source.val_fraction * train)
            sizes = [train - val, val, test]
        elif reason(results, job):
            raise NotKnown(job.artifact)
        else:
            facts = read_card(card_path(results, job)).facts
            classes, sizes = facts["classes"], [facts["counts"][split] for split in SPLITS]
        self.classes = len(classes) if isinstance(classes, list) else int(classes)
        self.train, self.val, self.test = sizes

    def seen(self, training: Any, shots: Any, rule: str, steps: int = 0) -> int:
        """Images that a training passes through a network or a head. steps : batches per epoch, 0 for one pass."""
        count = self.train + self.val * (rule == "paper") if shots == "all" else shots * self.classes
        return int(training.epochs) * (steps * min(training.batch_size, count) if steps else count)


def job_cost(job: Planned, plan: Plan) -> Cost:
    try:
        kept = job.artifact.startswith("networks/") or (job.stage == "finetune" and job.artifact[10:] in plan.kept)
        facts = [trunk_facts(arch) for arch in job.architectures] if kept else []
        if job.stage in FREE or not job.inputs:
            return Cost(cpu_hours=START / HOUR, networks=4 * sum(parameters for _, parameters, _ in facts))
        target = Target(job, plan.config.results)
        classes = target.classes if job.stage in ("pretrain", "finetune") else 0  # of the head that is kept, too
        weights = 4 * sum([parameters + dim * classes for _, parameters, dim in facts] + [classes] * kept)
        flops, read, features = _heads(job, target), 0, 0
        if hasattr(job.settings, "transform"):
            trained, evaluated = _images(job, target)
            size = getattr(job.settings.transform, "size", 28)  # pixels; 28 where images are not resized
            forward = 2 * sum(trunk_facts(arch, size)[0] for arch in job.architectures)
            flops, read = forward * (TRAINING * trained + evaluated), trained + evaluated
        if job.stage in ("extract", "represent"):
            features = 8 * (target.train + target.val + target.test)  # labels
        if job.stage == "extract":
            features += read * dim_of(job) * (4 if job.settings.features.dtype == "float32" else 2)
        record = job.artifact.startswith("records/") or job.stage == "finetune"
        logits = (target.val + target.test) * (4 * target.classes * len(set(fits(job))) + 8) if record else 0
        hours = (START + READING.get(target.dataset, 0.0) * read) / HOUR
        return Cost(flops / SPEED / HOUR, hours, features, weights, logits)
    except NotKnown:
        return Cost(cpu_hours=START / HOUR, unknown=1)


def _images(job: Planned, target: Target) -> tuple[int, int]:
    """Images that a job passes through networks: forward and backward, and only forward."""
    settings = job.settings
    if job.stage in ("pretrain", "distill"):
        return target.seen(settings.recipe, "all", "heldout"), 0
    if job.stage == "finetune":
        picked_on = getattr(target, SELECTED_ON[settings.selection])
        trained = target.seen(settings.recipe, settings.shots, settings.selection, settings.steps_per_epoch)
        return trained, settings.recipe.epochs * picked_on + target.val + target.test
    views = settings.features.views if job.stage == "extract" else 1  # and val as it is
    every = views * target.train + (views + (views > 1)) * target.val + target.test
    return 0, every if job.stage == "extract" else target.train


def _heads(job: Planned, target: Target) -> float:
    """Floating-point operations of training linear heads on cached features."""
    if job.stage not in ("probe", "two_stage"):
        return 0.0
    training = job.settings.probe if job.stage == "probe" else job.settings.heads
    members, dim = len(job.inputs[0].inputs), dim_of(job.inputs[0])
    heads = float(len(getattr(training, "learning_rates", [0])) * len(getattr(training, "weight_decays", [0])))
    if getattr(job.settings, "solver", "") == "best_subset":  # of each size, a set for every member that is left
        heads *= (members + 1) * (members + 2) / 6
    if isinstance(training, LbfgsProbe):  # as if every weight decay took all iterations
        views = job.inputs[0].inputs[0].settings.features.views
        training = SimpleNamespace(epochs=views * training.iterations, steps_per_epoch=0)
    images = sum(target.seen(training, *fit, training.steps_per_epoch) for fit in fits(job))
    return 2.0 * dim * target.classes * heads * TRAINING * images


def totals(plan: Plan, missing: bool = False) -> dict[str, dict[str, Any]]:
    """Jobs and fields of Cost of each table, all figures and in all. missing: leave out jobs with a current card."""
    parts = {table: behind([plan.table(table)]) for table in plan.config.tables}
    parts |= {"all figures": behind(map(plan.figure, plan.config.figures))} if plan.config.figures else {}
    parts |= {"in all": plan.jobs}
    left = {job.artifact: job for job in plan.jobs if not missing or reason(plan.config.results, job)}
    costs = {artifact: job_cost(job, plan) for artifact, job in left.items()}
    sums: dict[str, dict[str, Any]] = {}
    for part, jobs in parts.items():  # a run of fine-tuning and the network that it keeps, of one name, are one job
        named = {Path(job.artifact).name if job.stage == "finetune" else job.artifact: job.artifact for job in jobs}
        rows = [costs[artifact] for artifact in named.values() if artifact in costs]
        sums[part] = {"jobs": len(rows)} | Cost(*map(sum, zip(Cost(), *rows, strict=True)))._asdict()
    return sums


def estimate(path: Path, missing: bool) -> dict[str, Any]:
    """What `rrl plan --json` prints; bytes and hours."""
    plans = load_plans(path)
    first = next(iter(plans.values()))
    sources = [job.settings.source for job in first.jobs if job.stage == "import_network"]
    files = {source.file for source in sources if source.origin == "download"}
    grids = {grid: totals(plan, missing) for grid, plan in plans.items()}
    features = f"Features are kept as {first.config.features.dtype}, of {counted(first.config.features.views, 'view')}."
    return {"config": str(path), "grids": grids, "downloads": len(files), "assumptions": [*ASSUMED, features]}


def lines(content: dict[str, Any]) -> Iterator[str]:
    """A row per table, all figures and in all, with all grids side by side; `+ ?` where a job's cost is not known."""
    grids = content["grids"]
    named = f" Where grids differ: {' / '.join(grids)}." if len(grids) > 1 else ""
    yield f"{content['config']}: what it costs.{named} Tables share jobs, which `in all` counts once."
    rows = []
    for part in next(iter(grids.values())):
        cells = [[f"{grid[part]['jobs']:,}" for grid in grids.values()]]
        for name in Cost._fields[:-1]:
            text = number_text if name.endswith("hours") else bytes_text
            cells.append([text(grid[part][name]) + " + ?" * bool(grid[part]["unknown"]) for grid in grids.values()])
        rows.append([part, *(" / ".join(dict.fromkeys(cell)) for cell in cells)])
    yield from ["", *markdown(["", "jobs", "GPU-hours", "CPU-hours", "features", "networks", "logits"], rows), ""]
    if content["downloads"]:
        yield f"Published networks: {counted(content['downloads'], 'file')} to download."
    yield from ["Assumptions:", *(f"- {line}" for line in content["assumptions"])]
