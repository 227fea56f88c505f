"""What an experiment costs before it runs: jobs, GPU-hours, CPU-hours and disk, per table and in all.

    python -m rrl.cli.costs config.yaml

What a job does is read from the plan: its stage, settings and inputs. The rest are assumptions, printed with the
result. Where the config has lists by grid, both grids are counted, `recommended / published`.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rrl.cli.estimate import (
    ALL,
    BACKWARD,
    GPU,
    LOGITS_PER_SECOND,
    PEAK,
    SPEED,
    START,
    UTILISATION,
    Cost,
    Costs,
    Estimate,
    NotKnown,
    image_size,
    multiply_adds,
    parameters,
    target_of,
    trunks,
)
from rrl.cli.why import card_path
from rrl.config.load import load_plans
from rrl.config.settings import LbfgsProbe
from rrl.job import run
from rrl.jobs import Planned
from rrl.networks.checkpoints import pins
from rrl.plan import Plan


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table, aligned; the first column to the left, numbers to the right."""
    lines = [list(header), *map(list, rows)]
    first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    drawn = [f"| {' | '.join([line[0].ljust(first), *map(str.rjust, line[1:], widths)])} |" for line in lines]
    rule = "|".join(["-" * (first + 2), *("-" * (width + 1) + ":" for width in widths)])
    return iter([drawn[0], f"|{rule}|", *drawn[1:]])


def number_text(value: float) -> str:
    """For people: 12,345, 12, 1.2, 0.12, < 0.01."""
    if value == 0:
        return "0"
    if value < 0.01:
        return "< 0.01"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def bytes_text(value: float) -> str:
    """Bytes, for people: 12 GB."""
    units = ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)
    unit, factor = next((of for of in units if value >= of[1]), units[-1])
    return f"{number_text(value / factor)} {unit}" if value else "0"


def beside(texts: Sequence[str]) -> str:
    """`recommended / published`, or one text where they are the same."""
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)


def cells(costs: Sequence[Cost], *names: str) -> Iterator[str]:
    """Hours, or bytes, of all grids side by side; `+ ?` where the cost of a job is not known."""
    for name in names:
        text = number_text if name.endswith("hours") else bytes_text
        yield beside([text(getattr(cost, name)) + (" + ?" if cost.unknown else "") for cost in costs])


def summary(estimates: Sequence[Estimate]) -> Iterator[str]:
    """A row per table, one of all figures and one in all."""
    header = ["", "jobs", "GPU-hours", "CPU-hours", "features", "networks", "logits"]
    rows = []
    for part in estimates[0].parts:
        costs = [estimate.total(part) for estimate in estimates]
        jobs = beside([f"{len(estimate.parts[part]):,}" for estimate in estimates])
        rows.append([part, jobs, *cells(costs, "gpu_hours", "cpu_hours", "features", "networks", "logits")])
    return markdown(header, rows)


def by_stage(estimates: Sequence[Estimate], part: str) -> Iterator[str]:
    """A row per stage."""
    rows = []
    for stage in dict.fromkeys(stage for estimate in estimates for stage in estimate.stages(part)):
        costs = [estimate.total(part, stage) for estimate in estimates]
        jobs = beside([f"{estimate.stages(part)[stage]:,}" for estimate in estimates])
        rows.append([stage, jobs, *cells(costs, "gpu_hours", "cpu_hours", "disk")])
    return markdown([part, "jobs", "GPU-hours", "CPU-hours", "disk"], rows)


def downloads(estimate: Estimate) -> Iterator[str]:
    """The files of published networks, and their sizes as far as they are known."""
    files = {job.settings["file"]: job.settings["arch"] for job in estimate.parts[ALL] if job.stage == "convert"}
    if not files:
        return
    sizes = {file: pin.size for file, pin in pins().items() if file in files}
    text = f"Checkpoints to download: {len(files)} files"
    if sizes:
        text += f"; {len(sizes)} of known size, {bytes_text(sum(sizes.values()))}"
    if rest := [arch for file, arch in files.items() if file not in sizes]:
        least = bytes_text(sum(4 * parameters(arch) for arch in rest))
        text += f"; {len(rest)} of unknown size, at least the {least} of their weights"
    yield ""
    yield f"{text}."


def assumptions(estimates: Sequence[Estimate]) -> Iterator[str]:
    """A line each, then what an image costs in each network of the experiment."""
    plan, first = estimates[0].plan, estimates[0]
    yield "Assumptions:"
    yield (
        f"- GPU: {GPU} in bf16, {PEAK / 1e12:,.0f} TFLOP/s at {100 * UTILISATION:.0f} %, {SPEED / 1e12:.0f} TFLOP/s. "
        "The stages compute in float32: expect three times as much and more."
    )
    yield (
        f"- Training is {1 + BACKWARD} times a forward pass. Starting, and reading features and weights, take no GPU "
        "time."
    )
    yield (
        "- CPU-hours are of one core: reading images (5 ms for a JPEG file, 1 ms for CIFAR's pixels), "
        f"{START:.0f} s per job, and logits at {LOGITS_PER_SECOND / 1e6:.0f} MB/s. A job reads images by its threads "
        "while its GPU waits."
    )
    features = plan.config.features
    yield f"- Features: {features.dtype}, views: {features.views}. Networks: float32, downloaded ones without heads."
    targets = {target_of(job).artifact: target_of(job) for job in first.parts[ALL] if job.stage == "extract"}
    yield from (_images_line(first.plan, target) for target in targets.values())
    for name, probe in plan.config.probes.items():
        if isinstance(probe, LbfgsProbe):
            most = (
                f"{len(probe.weight_decays)} weight decays x {probe.iterations} iterations, the most that are allowed"
            )
            yield f"- Linear probes {name}: by L-BFGS, {most}, by both rules."
            continue
        settings = len(probe.learning_rates) * len(probe.weight_decays)
        yield f"- Linear probes {name}: {settings} settings x {probe.epochs} epochs, trained together, by both rules."
    yield from _finetuning_lines(estimates)
    yield from _networks_lines(first)


def _images_line(plan: Plan, target: Planned) -> str:
    try:
        counts = Costs(plan).counts(target)
    except NotKnown:
        card = card_path(plan.config.results, target)
        return f"- {target.artifact}: how many images is not known before {card} is made."
    return f"- {target.artifact}: {', '.join(f'{count:,} {split}' for split, count in counts.items())} images."


def _finetuning_lines(estimates: Sequence[Estimate]) -> Iterator[str]:
    for target, of in estimates[0].plan.finetunings.items():
        grids = [estimate.plan.settings(target).values() for estimate in estimates]
        counts = beside([str(len(settings)) for settings in grids])
        epochs = beside([", ".join(map(str, sorted({epochs for _, _, epochs in settings}))) for settings in grids])
        yield f"- Fine-tuning on {target}: {counts} settings x {epochs} epochs; second stage x {of.two_stage.epochs}."
    for target, others in estimates[0].plan.published.items():
        yield f"- Networks fine-tuned by others on {target}: second stage x {others.two_stage.epochs}."


def _networks_lines(estimate: Estimate) -> Iterator[str]:
    jobs = [job for job in estimate.parts[ALL] if "transform" in job.settings and trunks(job)]
    pairs = dict.fromkeys((arch, image_size(job)) for job in jobs for arch in trunks(job))
    rows = []
    for arch, size in sorted(pairs):
        try:
            forward = 2 * multiply_adds(arch, size) / 1e9
            numbers = [forward, (1 + BACKWARD) * forward, parameters(arch) / 1e6]
            rows.append([arch, str(size), *map(number_text, numbers)])
        except NotKnown:
            rows.append([arch, str(size), "not known", "not known", "not known"])
    if rows:
        yield ""
        yield from markdown(["network", "pixels", "GFLOP forward", "GFLOP training", "million parameters"], rows)


def report(path: Path, missing: bool = False) -> Iterator[str]:
    """Lines for people. missing : leave out what exists."""
    plans = load_plans(path)
    estimates = [Estimate(plan, missing) for plan in plans.values()]
    left_out = " What exists already is left out." if missing else ""
    grids = f" Where grids differ: {' / '.join(plans)}." if len(plans) > 1 else ""
    yield (
        f"{path}: what it costs.{grids}{left_out} Tables share jobs; in all, each is counted once, so the tables add "
        "up to more."
    )
    yield ""
    yield from summary(estimates)
    yield from downloads(estimates[0])
    unknown = [estimate.total(ALL).unknown for estimate in estimates]
    if any(unknown):
        yield ""
        yield f"Not known, and counted as nothing: {beside([str(count) for count in unknown])} jobs."
    for part in estimates[0].parts:
        yield ""
        yield from by_stage(estimates, part)
    yield ""
    yield from assumptions(estimates)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m rrl.cli.costs", description=__doc__.partition("\n")[0])
    parser.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"), help="default: config.yaml")
    parser.add_argument("--missing", action="store_true", help="leave out what exists already")
    arguments = parser.parse_args(argv)
    for line in report(arguments.config, arguments.missing):
        print(line)


if __name__ == "__main__":
    run(main)
