"""Claims and their verdicts as text, page, JSON and CSV."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rrl.cli.claims import VERDICTS, Checked, Key, Replicate, check, replicates
from rrl.cli.run import command_for
from rrl.cli.text import counted, signed
from rrl.cli.text import markdown as aligned
from rrl.cli.why import NOT_MADE
from rrl.plan import Plan
from rrl.replicates import FEWEST
from rrl.store.files import write_text

ABOUT = (
    "Differences are of top-1 accuracy, in percentage points, the first method minus the second. Intervals are 95 % "
    "intervals over replicates, which share no network. Methods from the same blocks of networks are compared block by "
    "block: a paired t interval over the blocks' mean differences. Methods that share no network are compared by "
    f"Welch's interval. Fewer than {FEWEST} blocks, or replicates of either method, give no interval and no verdict. "
    "The test images, the training images and shots, and the seeds of heads and fine-tuning are held fixed: the "
    "intervals say nothing about others."
)
RULES = (
    "A comparison of which method is more accurate holds if its whole interval is above 0, does not hold if it is "
    "below 0, and is undecided otherwise. A comparison of two that should be equal holds if its whole interval is "
    "within the stated bound, does not hold if it is outside, and is undecided otherwise. A claim holds if every "
    "comparison does, which needs no correction for their number: each has to pass. It does not hold if any "
    "comparison does not; this is not corrected: where two methods are equal, one comparison in 40 says by chance "
    "that the first is worse. Intervals of several comparisons, or claims, are not simultaneous."
)


def lines(checked: Sequence[Checked]) -> Iterator[str]:
    """For a terminal."""
    for claim in checked:
        yield f"{claim.verdict.upper()}: {claim.statement}"
        for one in claim.comparisons:
            parts = [] if one.difference is None else [f"{signed(one.difference)} points", f"n = {one.n_text}"]
            if one.interval is not None:
                parts[1:1] = [f"{one.method} interval {signed(one.interval[0])} to {signed(one.interval[1])}"]
            yield f"  {one.panel}: {one.first} - {one.second}: {', '.join([*parts, one.outcome])}"
    counts = [f"{verdict}: {sum(claim.verdict == verdict for claim in checked)}" for verdict in VERDICTS]
    yield f"{counted(len(checked), 'claim')}; {', '.join(counts)}."
    yield ABOUT


def markdown(checked: Sequence[Checked]) -> str:
    """A page: what was claimed, the verdicts, and every comparison."""
    parts = [
        "# Claims",
        "This page is made by `rrl claims --output`, from records of the workflow; do not edit it.",
        ABOUT,
        RULES,
        "## All claims",
        "\n".join(f"- [{claim.name}](#{claim.name}): {claim.sentence}" for claim in checked),
    ]
    for claim in checked:
        parts += [f"## {claim.name}", claim.sentence, "\n".join(_table(claim))]
    return "\n\n".join(parts) + "\n"


def _table(claim: Checked) -> Iterator[str]:
    header = ["comparison", "on", "accuracies", "difference", "95 % interval", "method", "n", "verdict"]
    rows = []
    for one in claim.comparisons:
        means = "–" if one.means is None else f"{one.means[0]:.1f}, {one.means[1]:.1f}"
        interval = "–" if one.interval is None else f"[{signed(one.interval[0])}, {signed(one.interval[1])}]"
        difference = "–" if one.difference is None else signed(one.difference)
        methods = f"{one.first} − {one.second}"
        rows.append([methods, one.panel, means, difference, interval, one.method, one.n_text, one.outcome])
    return aligned(header, rows)


def as_json(checked: Sequence[Checked]) -> str:
    """Everything; accuracies and differences in percent, with four decimals."""
    claims = {claim.name: asdict(claim) | {"sentence": claim.sentence} for claim in checked}
    for claim in claims.values():
        del claim["name"]
        for comparison in claim["comparisons"]:
            for key in ("means", "difference", "interval"):
                comparison[key] = _rounded(comparison[key])
    return json.dumps({"about": ABOUT, "rules": RULES, "claims": claims}, indent=1, ensure_ascii=False) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [round(number, 4) for number in value]
    return None if value is None else round(value, 4)


def as_csv(compared: Iterable[Replicate]) -> str:
    """A row per replicate and panel, in order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Replicate.__dataclass_fields__)
    writer.writerows(sorted(tuple(asdict(replicate).values()) for replicate in compared))
    return text.getvalue()


def read_csv(text: str) -> dict[Key, float]:
    """The accuracies of as_csv, for check."""
    rows = csv.DictReader(io.StringIO(text))
    keys = ("target", "shots", "replicate", "transfer", "selection")
    return {tuple(row[key] for key in keys): float(row["top1"]) for row in rows}  # type: ignore[misc]


def missing_lines(missing: Mapping[str, str], config: Path) -> Iterator[str]:
    """What is not there, in two lines; nothing if all is."""
    kinds = {
        "missing": [artifact for artifact, why in missing.items() if why == NOT_MADE],
        "made under another config or code": [artifact for artifact, why in missing.items() if why != NOT_MADE],
    }
    for kind, artifacts in kinds.items():
        if artifacts:
            first = f"{artifacts[0]}.json" + (" and others" if len(artifacts) > 1 else "")
            them = "it" if len(artifacts) == 1 else "them"
            count = counted(len(artifacts), "record")
            yield f"{count} {kind}, left out: {first}; to make {them}: {command_for('run', config)}"


def write(folder: Path, plan: Plan, top1: Mapping[Key, float]) -> list[Path]:
    """claims.md and claims.json with the verdicts, claims.csv with the accuracies behind them."""
    checked = check(plan, top1)
    texts = {"md": markdown(checked), "json": as_json(checked), "csv": as_csv(replicates(plan, top1))}
    paths = [folder / f"claims.{kind}" for kind in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths
