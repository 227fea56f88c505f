"""What an experiment claims, checked on its results: `rrl claims`.

A comparison is of two methods on one panel, a target with a number of shots. Its replicates are the representations
of the methods' groups, of which no two share a network. Networks that disjoint windows, or some group of the claims,
put side by side are one *block*, with the students that learn from them. Two methods whose replicates lie in the same
blocks are compared by the differences of their means in each block; two methods without a block in common by Welch's
interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrl.cells import column_label, label, top1_of
from rrl.cli.run import command_for
from rrl.cli.text import counted, signed
from rrl.cli.why import card_path, reason
from rrl.config.load import load_plan
from rrl.config.schema import Claim, Column, Equal, Method, Panel
from rrl.errors import UserError
from rrl.job import read_card
from rrl.jobs import Planned
from rrl.plan import Plan
from rrl.replicates import compare_blocks

VERDICTS = HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"

# (target, shots, representation, transfer as in the record's name, selection), as rrl.cells.top1_of has it.
Key = tuple[str, str, str, str, str]


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
    result = compare_blocks(sides[0], sides[1])
    reason, interval = result.reason, result.interval
    if absent:
        reason, interval = f"{absent} of {sum(result.n) + absent} records missing", None
    means = None if absent else result.means
    return Comparison(
        first=labels[0],
        second=labels[1],
        panel=panel,
        n=result.n,
        blocks=result.blocks,
        means=means,
        difference=None if means is None else means[0] - means[1],
        interval=interval,
        verdict=UNDECIDED if interval is None else verdict(interval, test),
        reason=reason,
    )


def verdict(interval: tuple[float, float], test: Any) -> str:
    """Of one comparison, by its interval alone."""
    low, high = interval
    if isinstance(test, Equal):
        inside = -test.within < low and high < test.within
        outside = low > test.within or high < -test.within
        return HOLDS if inside else FAILS if outside else UNDECIDED
    return HOLDS if low > 0 else FAILS if high < 0 else UNDECIDED


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
            f"to make them: {command_for('run', config)}"
        )
    return plan, top1, missing
