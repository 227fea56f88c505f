"""What would be made again, and why, in the words of the config: the cards on disk against the plan.

It also finds results that Snakemake alone would take for current: those that it has no records of.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rrl.config.load import load_plan
from rrl.errors import UserError
from rrl.job import Card, read_card
from rrl.jobs import Planned

NOT_MADE = "not made yet"
SUFFIXES = (".json", ".run.json", ".csv", ".md", ".tex", ".svg", ".png", ".h5", ".safetensors")


def card_path(results: str, job: Planned) -> Path:
    return Path(results, f"{job.artifact}.json")


def reason(results: str, job: Planned) -> str:
    """Why a job would run, in one line; empty if its card is the planned one."""
    path = card_path(results, job)
    if not path.exists():
        return NOT_MADE
    try:
        card = read_card(path)
    except UserError as error:
        return str(error)
    if card.key == job.key:
        return ""
    return "; ".join(_differences(card, job)) or f"key: {card.key} -> {job.key}"  # as of 1 and 1.0, which are equal


def _differences(card: Card, job: Planned) -> Iterator[str]:
    for name in dict.fromkeys([*card.settings, *job.keyed]):
        before, after = (settings.get(name, "none") for settings in (card.settings, job.keyed))
        yield from _changed(name, before, after)
    if card.code_version != job.code_version:
        yield f"code of rrl.stages.{job.stage}: {card.code_version} -> {job.code_version}"
    made_from = {source["artifact"]: source["key"] for source in card.inputs}
    planned = {source.artifact: source.key for source in job.inputs}
    yield from _inputs("no longer one", [name for name in made_from if name not in planned])
    yield from _inputs("new", [name for name in planned if name not in made_from])
    yield from _inputs("changed", [name for name, key in planned.items() if made_from.get(name, key) != key])


def _changed(place: str, before: Any, after: Any) -> Iterator[str]:
    """Where a setting differs: of mappings, and of lists of as many entries, only what differs in them."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            yield from _changed(f"{place}.{name}", before.get(name, "none"), after.get(name, "none"))
    elif _nested(before) and _nested(after) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True), start=1):
            yield from _changed(f"{place}[{number}]", *pair)
    elif _nested(before) and _nested(after):
        yield f"{place}: {len(before)} entries -> {len(after)}"
    elif before != after:
        yield f"{place}: {_short(before)} -> {_short(after)}"


def _nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict | list) for item in value)


def _inputs(what: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f", and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"input {names[0]}: {what}{more}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def roots(results: str, jobs: Iterable[Planned]) -> list[tuple[Planned, str]]:
    """Jobs that would run for a reason of their own, and it; not those that only follow from another one.

    jobs : each behind its inputs.
    """
    reasons = []
    again: set[str] = set()
    for job in jobs:
        follows = any(source.artifact in again for source in job.inputs)
        why = "" if follows else reason(results, job)
        if follows or why:
            again.add(job.artifact)
        if why:
            reasons.append((job, why))
    return reasons


def stale(results: str, jobs: Iterable[Planned]) -> list[tuple[Planned, str]]:
    """Artifacts that were made under another plan, and what differs."""
    return [(job, why) for job in jobs if (why := reason(results, job)) not in ("", NOT_MADE)]


def files(results: str, job: Planned) -> list[Path]:
    """The card of an artifact and the files beside it, as far as they exist."""
    paths = [Path(results, job.artifact + suffix) for suffix in SUFFIXES]
    return [path for path in paths if path.exists()]


def by_reason(reasons: Iterable[tuple[Planned, str]]) -> dict[tuple[str, str], list[str]]:
    """(stage, reason) -> artifacts."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for job, text in reasons:
        grouped.setdefault((job.stage, text), []).append(job.artifact)
    return grouped


def why(config: Path) -> dict[str, Any]:
    """What `rrl why --json` prints."""
    plan = load_plan(config)
    grouped = by_reason(roots(plan.config.results, plan.jobs))
    reasons = [{"stage": stage, "reason": text, "artifacts": names} for (stage, text), names in grouped.items()]
    return {"config": str(config), "artifacts": len(plan.jobs), "reasons": reasons}


def stale_paths(config: Path) -> Iterator[Path]:
    """All files that were made under another plan."""
    plan = load_plan(config)
    for job, _ in stale(plan.config.results, plan.jobs):
        yield from files(plan.config.results, job)


def lines(content: dict[str, Any]) -> Iterator[str]:
    for entry in content["reasons"]:
        first, *others = entry["artifacts"]
        yield f"{entry['stage']}: {first}{f' and {len(others)} more' if others else ''}: {entry['reason']}"
    count = sum(len(entry["artifacts"]) for entry in content["reasons"])
    yield (
        f"{count} of {content['artifacts']} artifacts have a reason of their own; what is made of them follows."
        if count
        else "Every artifact is the planned one."
    )
