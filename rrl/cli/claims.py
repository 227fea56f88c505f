"""What an experiment claims, checked on its results: `rrl claims`.

A comparison is of two methods on one panel, a target with a number of shots. Its replicates are the representations
of the methods' groups, of which no two share a network. Networks that disjoint windows, or some group of the claims,
put side by side are one *block*, with the students that learn from them. Two methods whose replicates lie in the same
blocks are compared by the differences of their means in each block; two methods without a block in common by Welch's
interval.
"""

import csv
import io
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rrl.cells import column_label, label, top1_of
from rrl.cli.costs import markdown as aligned
from rrl.cli.why import NOT_MADE, card_path, reason
from rrl.config.load import load_plan, run_command
from rrl.config.schema import Claim, Column, Equal, Method, Panel
from rrl.errors import UserError
from rrl.job import read_card
from rrl.jobs import Planned
from rrl.plan import Plan
from rrl.replicates import FEWEST, paired_t_interval, welch_interval
from rrl.store.files import write_text

VERDICTS = HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"

# (target, shots, representation, transfer as in the record's name, selection), as rrl.cells.top1_of has it.
Key = tuple[str, str, str, str, str]

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


@dataclass(frozen=True)
class Replicate:
    """The accuracy of one representation; top1 is a fraction."""

    group: str
    replicate: str
    block: str
    target: str
    shots: str
    transfer: str
    selection: str
    top1: float


@dataclass(frozen=True)
class Comparison:
    """Two methods on one panel.

    n : replicates of each. blocks : that they are paired by; None where they share none.
    means : of each, in percent. difference, interval : in percentage points; None where there is none.
    reason : why it is undecided without an interval; else empty.
    """

    first: str
    second: str
    panel: str
    n: tuple[int, int]
    blocks: int | None
    means: tuple[float, float] | None
    difference: float | None
    interval: tuple[float, float] | None
    verdict: str
    reason: str

    @property
    def method(self) -> str:
        """Of the interval."""
        return "" if self.interval is None else "Welch" if self.blocks is None else "paired"

    @property
    def outcome(self) -> str:
        """The verdict, and why it is undecided without an interval."""
        return f"{self.verdict}: {self.reason}" if self.reason else self.verdict

    @property
    def n_text(self) -> str:
        """`4 and 10`; `4 blocks`; `4 blocks (20 and 4)` where a block has several replicates."""
        counts = f"{self.n[0]} and {self.n[1]}"
        if self.blocks is None:
            return counts
        text = counted(self.blocks, "block")
        return text if set(self.n) == {self.blocks} else f"{text} ({counts})"


@dataclass(frozen=True)
class Checked:
    """A claim and what the results say. within : the bound of a claim of no difference, in percentage points."""

    name: str
    statement: str
    within: float | None
    verdict: str
    comparisons: list[Comparison]

    @property
    def summary(self) -> str:
        """`+1.0 to +7.1 points in 4 comparisons; n = 4 and 10`; before it, how many hold where not all do."""
        parts = []
        count = {verdict: sum(one.verdict == verdict for one in self.comparisons) for verdict in VERDICTS}
        if count[HOLDS] < len(self.comparisons):
            said = [f"{count[HOLDS] or 'none'} of {counted(len(self.comparisons), 'comparison')} "]
            said[0] += "hold" if count[HOLDS] > 1 else "holds"
            said += [f"{count[FAILS]} {'do' if count[FAILS] > 1 else 'does'} not"] * bool(count[FAILS])
            said += [f"{count[UNDECIDED]} {'are' if count[UNDECIDED] > 1 else 'is'} undecided"] * bool(count[UNDECIDED])
            parts.append(", ".join(said))
        known = [comparison.difference for comparison in self.comparisons if comparison.difference is not None]
        if known:
            low, high = signed(min(known)), signed(max(known))
            span = low if low == high else f"{low} to {high}"
            parts.append(f"{span} points" + ("" if parts else f" in {counted(len(known), 'comparison')}"))
            parts.append(f"n = {'; '.join(dict.fromkeys(one.n_text for one in self.comparisons))}")
        return "; ".join(parts)

    @property
    def sentence(self) -> str:
        """As a page quotes it."""
        return f"{self.statement} **{self.verdict[0].upper()}{self.verdict[1:]}**: {self.summary}."


def blocks(plan: Plan) -> dict[str, str]:
    """Each network of disjoint windows and of the claims' groups -> its block, named by the block's first network."""
    claimed = [method.group for claim in plan.config.claims.values() for pair in claim.pairs for method in pair]
    groups = dict.fromkeys([*filter(plan.disjoint, plan.groups), *claimed])
    joined = [plan.origins(name) for group in groups for name in plan.groups[group]]
    order = {network: number for number, network in enumerate(plan.networks)}
    block_of = {network: network for networks in joined for network in networks}
    for networks in joined:
        merged = {block_of[network] for network in networks}
        first = min(merged, key=order.__getitem__)
        block_of = {network: first if block in merged else block for network, block in block_of.items()}
    return block_of


def side(plan: Plan, claim: Claim, method: Method, panel: Panel) -> tuple[str, list[Planned]]:
    """The name of one side of a comparison, and its records."""
    table = plan.config.tables[claim.table]
    row = next(row for row in table.rows if (row.group, row.ensemble) == (method.group, method.ensemble))
    column = Column(transfer=method.transfer, target=panel.target, shots=panel.shots)
    transfer = plan.cell(row, column)
    assert transfer is not None  # as rrl.config.load checked
    records = [plan.record(panel.target, name, transfer) for name in plan.shown(table, method.group)]
    alone = len(plan.representations[plan.groups[method.group][0]]) == 1
    return title(row.method, method, alone), records


def title(name: str, method: Method, alone: bool) -> str:
    """What a side of a comparison is called. alone : whether it is one network."""
    if method.transfer == "finetune":
        return f"{label(name, method.ensemble)}, fine-tuned{'' if alone or method.ensemble else ' at once'}"
    if method.transfer == "two_stage":
        return f"{name}, {'averaged heads' if method.ensemble else 'two-stage'}"
    return label(name, method.ensemble) + (", fine-tuned elsewhere" if method.transfer == "averaged_head" else "")


def needed(plan: Plan) -> dict[str, Planned]:
    """The records of all claims, by artifact."""
    return {
        record.artifact: record
        for claim in plan.config.claims.values()
        for pair in claim.pairs
        for method in pair
        for panel in claim.panels
        for record in side(plan, claim, method, panel)[1]
    }


def read(plan: Plan, results: str) -> tuple[dict[Key, float], dict[str, str]]:
    """The accuracies of the claims' records; and of each record that is missing, or of another plan, why."""
    jobs = needed(plan)
    missing = {artifact: why for artifact, job in jobs.items() if (why := reason(results, job))}
    cards = [read_card(card_path(results, job)) for artifact, job in jobs.items() if artifact not in missing]
    return {key: top1 for key, (top1, _) in top1_of(cards).items()}, missing


def replicates(plan: Plan, top1: Mapping[Key, float]) -> list[Replicate]:
    """What the claims compare, as far as it is there, each once and in the order of the claims."""
    block_of = blocks(plan)
    unique: dict[Replicate, None] = {}
    for claim in plan.config.claims.values():
        for method in (method for pair in claim.pairs for method in pair):
            for panel in claim.panels:
                for record in side(plan, claim, method, panel)[1]:
                    key = _key(record, panel, claim)
                    if key in top1:
                        target, shots, name, transfer, selection = key
                        block = block_of[plan.representations[name][0].network]
                        one = Replicate(method.group, name, block, target, shots, transfer, selection, top1[key])
                        unique[one] = None
    return list(unique)


def _key(record: Planned, panel: Panel, claim: Claim) -> Key:
    _, target, name, transfer = record.artifact.split("/")
    return target, str(panel.shots), name, transfer, claim.selection


def check(plan: Plan, top1: Mapping[Key, float]) -> list[Checked]:
    """Each claim of an experiment, on accuracies that are fractions."""
    block_of = blocks(plan)
    checked = []
    for name, claim in plan.config.claims.items():
        comparisons = []
        for first, second in claim.pairs:
            for panel in claim.panels:
                labels, sides, absent = [], [], 0
                for method in (first, second):
                    text, records = side(plan, claim, method, panel)
                    keys = [_key(record, panel, claim) for record in records]
                    labels.append(text)
                    absent += sum(key not in top1 for key in keys)
                    members = {key: block_of[plan.representations[key[2]][0].network] for key in keys if key in top1}
                    sides.append([(block, 100 * top1[key]) for key, block in members.items()])
                where = column_label({"transfer": "linear_probe", "target": panel.target, "shots": panel.shots})
                comparisons.append(compare(labels, where, sides, absent, claim.test))
        verdicts = {comparison.verdict for comparison in comparisons}
        worst = FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS
        within = claim.test.within if isinstance(claim.test, Equal) else None
        checked.append(Checked(name, claim.statement, within, worst, comparisons))
    return checked


def compare(
    labels: Sequence[str], panel: str, sides: Sequence[Sequence[tuple[str, float]]], absent: int, test: Any
) -> Comparison:
    """One comparison.

    sides : of each method the block and the accuracy, in percent, of each replicate. absent : how many have no record.
    """
    n = len(sides[0]), len(sides[1])
    blocks_of = [sorted({block for block, _ in replicates}) for replicates in sides]
    paired = blocks_of[0] == blocks_of[1]
    values = [_block_means(replicates) if paired else [top1 for _, top1 in replicates] for replicates in sides]
    means = None if absent else (statistics.fmean(values[0]), statistics.fmean(values[1]))
    reason = _no_interval(blocks_of, n, absent)
    interval = None if reason else (paired_t_interval if paired else welch_interval)(*values)
    return Comparison(
        first=labels[0],
        second=labels[1],
        panel=panel,
        n=n,
        blocks=len(blocks_of[0]) if paired else None,
        means=means,
        difference=None if means is None else means[0] - means[1],
        interval=interval,
        verdict=UNDECIDED if interval is None else verdict(interval, test),
        reason=reason,
    )


def _no_interval(blocks_of: Sequence[list[str]], n: tuple[int, int], absent: int) -> str:
    """Why replicates in these blocks give no interval; empty if they do."""
    first, second = map(set, blocks_of)
    if absent:
        return f"{absent} of {sum(n) + absent} records missing"
    if first != second and first & second:
        alone = sorted(first ^ second)
        more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
        return f"only one of the two has replicates in block {alone[0]}{more}"
    fewest, what = (len(first), "block") if first == second else (min(n), "replicate")
    return f"{counted(fewest, what)}; an interval needs {FEWEST}" if fewest < FEWEST else ""


def _block_means(replicates: Sequence[tuple[str, float]]) -> list[float]:
    """By the names of the blocks."""
    names = sorted({block for block, _ in replicates})
    return [statistics.fmean(top1 for block, top1 in replicates if block == name) for name in names]


def verdict(interval: tuple[float, float], test: Any) -> str:
    """Of one comparison, by its interval alone."""
    low, high = interval
    if isinstance(test, Equal):
        inside = -test.within < low and high < test.within
        outside = low > test.within or high < -test.within
        return HOLDS if inside else FAILS if outside else UNDECIDED
    return HOLDS if low > 0 else FAILS if high < 0 else UNDECIDED


def counted(number: int, what: str) -> str:
    """`1 block`, `4 blocks`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def signed(points: float) -> str:
    """`+1.0`, `-0.3`, `0.0`."""
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


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


def results_of(config: Path, results: Path | None) -> tuple[Plan, dict[Key, float], dict[str, str]]:
    """The plan of a config, the accuracies of its claims, and why others are not there.

    results : the folder that holds them; that of the config if None.
    Raises UserError for a config with mistakes or without claims, and where no record is there at all.
    """
    plan = load_plan(config)
    if not plan.config.claims:
        raise UserError(f"{config}: it has no claims; name a config with some, such as workflow/config/claims.yaml")
    folder = plan.config.results if results is None else str(results)
    top1, missing = read(plan, folder)
    if not top1:
        raise UserError(
            f"{folder}: none of the {len(missing)} records that the claims need was made by this config and code; "
            f"to make them: {run_command(config)}"
        )
    return plan, top1, missing


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
            yield f"{count} {kind}, left out: {first}; to make {them}: {run_command(config)}"


def write(folder: Path, plan: Plan, top1: Mapping[Key, float]) -> list[Path]:
    """claims.md and claims.json with the verdicts, claims.csv with the accuracies behind them."""
    checked = check(plan, top1)
    texts = {"md": markdown(checked), "json": as_json(checked), "csv": as_csv(replicates(plan, top1))}
    paths = [folder / f"claims.{kind}" for kind in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths
