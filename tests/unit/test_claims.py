"""Claims on made-up accuracies: what holds, what does not, and what nobody can say."""

import copy
import csv
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml

from rrl.cli import claims, claims_text
from rrl.cli.claims import FAILS, HOLDS, UNDECIDED, Checked, Key
from rrl.config.load import load_config
from rrl.errors import UserError
from rrl.plan import Plan
from tests.helpers.clones import CLONE

CONTENT = yaml.safe_load((CLONE / "workflow/config/claims.yaml").read_text())
PINS = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())
PANELS = [{"target": "fashion-new", "shots": 20}, {"target": "mnist", "shots": 100}]
GREATER = {"name": "greater"}


def method(group: str, transfer: str = "linear_probe", ensemble: bool = False) -> dict[str, Any]:
    return {"group": group, "ensemble": ensemble, "transfer": transfer}


def plan_of(*pairs: list[dict[str, Any]], test: Any = GREATER, table: str = "table1", panels: Any = PANELS) -> Plan:
    """The claims experiment with one claim, named `one`."""
    one = {"statement": "It does.", "table": table, "selection": "heldout", "test": test}
    content = CONTENT | {"claims": {"one": one | {"pairs": list(pairs), "panels": panels}}}
    return Plan(load_config(copy.deepcopy(content), []), PINS)


def accuracies(plan: Plan, of: Callable[[str, str], float]) -> dict[Key, float]:
    """Of every record that the plan's claims need; of : representation and target -> fraction."""
    found = {}
    for claim in plan.config.claims.values():
        for panel in claim.panels:
            for pair in claim.pairs:
                for side in pair:
                    for record in claims.side(plan, claim, side, panel)[1]:
                        _, target, name, transfer = record.artifact.split("/")
                        found[target, str(panel.shots), name, transfer, "heldout"] = of(name, target)
    return found


def block(name: str) -> int:
    """Of cat4-k2 2, of erm-s11 2."""
    return int(name.rpartition("-s")[2]) // 5 if "-s" in name else int(name.rpartition("-k")[2]) if "-k" in name else 0


def only(plan: Plan, top1: dict[Key, float]) -> Checked:
    (checked,) = claims.check(plan, top1)
    return checked


def test_a_difference_in_every_block_holds_though_blocks_differ_more() -> None:
    """Paired: 2 points in each block, between blocks 10; the interval is over four differences of block means."""
    plan = plan_of([method("cat4"), method("erm")])
    noise = {name: number % 3 / 1000 for number, name in enumerate([*plan.networks, *plan.groups["cat4"]])}
    top1 = accuracies(plan, lambda name, _: 0.5 + 0.1 * block(name) + noise[name] + (0.02 if "cat" in name else 0))
    checked = only(plan, top1)
    assert checked.verdict == HOLDS and len(checked.comparisons) == 2
    for of in checked.comparisons:
        assert (of.n, of.blocks, of.method, of.n_text) == ((4, 20), 4, "paired", "4 blocks (4 and 20)")
        assert of.interval and of.interval[0] < 2 < of.interval[1] and of.interval[1] - of.interval[0] < 1
    one = checked.comparisons[0]
    cat = [100 * top1["fashion-new", "20", name, "linear_probe", "heldout"] for name in plan.groups["cat4"]]
    erm = [100 * top1["fashion-new", "20", f"erm-s{seed}", "linear_probe", "heldout"] for seed in range(20)]
    differences = np.array(cat) - np.array(erm).reshape(4, 5).mean(1)
    assert one.difference == pytest.approx(differences.mean())
    assert one.interval == pytest.approx(
        differences.mean() + np.array([-1, 1]) * 3.182446 * differences.std(ddof=1) / 2
    )


def test_the_same_without_blocks_is_undecided() -> None:
    """WIDE2 shares no network with CAT4: what blocks differ by cannot be taken out."""
    plan = plan_of([method("cat4"), method("wide2")])
    top1 = accuracies(plan, lambda name, _: 0.6 + 0.02 * ("cat" in name) + (0.05 * block(name) if "cat" in name else 0))
    checked = only(plan, top1)
    assert checked.verdict == UNDECIDED
    assert {(of.n, of.blocks, of.method, of.n_text) for of in checked.comparisons} == {
        ((4, 10), None, "Welch", "4 and 10")
    }


def test_it_does_not_hold_where_one_comparison_does_not() -> None:
    plan = plan_of([method("cat4"), method("joint4")])
    better = {"fashion-new": 0.1, "mnist": -0.1}
    checked = only(plan, accuracies(plan, lambda name, target: 0.6 + ("cat" in name) * better[target]))
    assert checked.verdict == FAILS and [of.verdict for of in checked.comparisons] == [HOLDS, FAILS]
    assert checked.sentence == (
        "It does. **Does not hold**: 1 of 2 comparisons holds, 1 does not; -10.0 to +10.0 points; n = 4 and 6."
    )


@pytest.mark.parametrize(
    ("difference", "noise", "expected"),
    [(0.001, 0.0001, HOLDS), (0.001, 0.01, UNDECIDED), (0.02, 0.0001, FAILS), (-0.02, 0.0001, FAILS)],
)
def test_equality_is_a_matter_of_its_bound(difference: float, noise: float, expected: str) -> None:
    plan = plan_of([method("cat5"), method("cat5", ensemble=True)], test={"name": "equal", "within": 0.5})

    def of(name: str, _: str) -> float:
        return 0.7 + 0.05 * block(name)

    top1 = accuracies(plan, of)
    for key in top1:
        if key[3] == "linear_probe":
            top1[key] += difference + noise * (-1) ** block(key[2])
    assert only(plan, top1).verdict == expected and only(plan, top1).within == 0.5


def test_a_chain_of_pairs_must_hold_in_every_link() -> None:
    plan = plan_of([method("cat5"), method("cat4")], [method("cat4"), method("cat3")])
    value = {"cat5": 0.8, "cat4": 0.7, "cat3": 0.6}
    top1 = accuracies(plan, lambda name, _: value[name[:4]])
    assert only(plan, top1).verdict == HOLDS and len(only(plan, top1).comparisons) == 4
    top1 = accuracies(plan, lambda name, _: value[name[:4]] - 0.3 * (name[:4] == "cat5") * block(name))
    assert only(plan, top1).verdict == UNDECIDED


def test_students_are_compared_with_the_networks_of_their_block() -> None:
    plan = plan_of([method("cat5"), method("distill5")], [method("distill5"), method("erm")])
    of = claims.blocks(plan)
    assert [of[f"distill5-s{seed}"] for seed in (40, 41, 42, 43)] == ["erm-s0", "erm-s5", "erm-s10", "erm-s15"]
    assert of["erm-s9"] == "erm-s5" and len({name for name in of.values() if "erm" in name}) == 4
    checked = only(plan, accuracies(plan, lambda name, _: {"c": 0.8, "d": 0.7, "e": 0.6}[name[0]]))
    assert checked.verdict == HOLDS and {of.blocks for of in checked.comparisons} == {4}


def test_a_missing_record_leaves_its_comparison_undecided_and_says_so() -> None:
    plan = plan_of([method("cat4"), method("wide2")])
    top1 = accuracies(plan, lambda name, _: 0.7 + 0.1 * ("cat" in name))
    del top1["mnist", "100", "wide2-s23", "linear_probe", "heldout"]
    checked = only(plan, top1)
    assert [of.verdict for of in checked.comparisons] == [HOLDS, UNDECIDED] and checked.verdict == UNDECIDED
    assert checked.comparisons[1].reason == "1 of 14 records missing" and checked.comparisons[1].interval is None
    assert "undecided: 1 of 14 records missing" in "\n".join(claims_text.lines([checked]))
    assert only(plan, {}).sentence == "It does. **Undecided**: none of 2 comparisons holds, 2 are undecided."


def fewer(seeds: int, *pairs: list[dict[str, Any]]) -> Plan:
    """With this many WIDE2 networks."""
    content = copy.deepcopy(CONTENT)
    content["networks"]["wide2"]["seeds"] = list(range(100, 100 + seeds))
    content["figures"] = {}
    one = {"statement": "It does.", "table": "table1", "selection": "heldout", "test": GREATER, "panels": PANELS}
    return Plan(load_config(content | {"claims": {"one": one | {"pairs": list(pairs)}}}, []), PINS)


def test_three_replicates_are_no_interval() -> None:
    for seeds, expected in ((3, UNDECIDED), (4, HOLDS)):
        plan = fewer(seeds, [method("cat4"), method("wide2")])
        checked = only(plan, accuracies(plan, lambda name, _: 0.7 + 0.1 * ("cat" in name)))
        assert checked.verdict == expected
    plan = fewer(3, [method("wide2"), method("wide2", ensemble=True)])
    (first, _) = only(plan, accuracies(plan, lambda name, _: 0.7)).comparisons
    assert (first.reason, first.difference, first.interval) == ("3 blocks; an interval needs 4", 0.0, None)


def test_blocks_that_only_one_of_the_two_has_are_no_pairs() -> None:
    """Seeds 20 to 22 of ERM are no whole block: CAT4 has nothing there."""
    content = copy.deepcopy(CONTENT)
    content["networks"]["erm"]["seeds"] = [*range(20), 200, 201, 202]
    content["claims"] = {"one": content["claims"]["same-size"] | {"pairs": [[method("cat4"), method("erm")]]}}
    plan = Plan(load_config(content, []), PINS)
    (first, *_) = only(plan, accuracies(plan, lambda name, _: 0.7 + 0.1 * ("cat" in name))).comparisons
    assert first.verdict == UNDECIDED
    assert first.reason == "only one of the two has replicates in block erm-s200 and 2 more"


def test_sides_are_named_by_what_was_trained() -> None:
    pairs = [
        [method("cat4", "two_stage"), method("erm", "finetune")],
        [method("cat4", "two_stage", ensemble=True), method("cat4", "finetune", ensemble=True)],
        [method("cat4", "finetune"), method("random", "finetune")],
    ]
    plan = plan_of(*pairs, table="table2", panels=[{"target": "mnist", "shots": 25}])
    checked = only(plan, accuracies(plan, lambda name, _: 0.7))
    assert [(of.first, of.second) for of in checked.comparisons] == [
        ("CAT4, two-stage", "ERM, fine-tuned"),
        ("CAT4, averaged heads", "CAT4^sub, fine-tuned"),
        ("CAT4, fine-tuned at once", "SCRATCH, fine-tuned"),
    ]
    assert {record.split("/")[3] for record in claims.needed(plan)} == {
        "two_stage", "averaged_head", "finetune", "ensemble_finetune",
    }  # fmt: skip


def test_what_is_written_says_what_was_read() -> None:
    """From the accuracies in claims.csv alone come the very same verdicts, intervals and pages."""
    random = np.random.default_rng(0)
    plan = Plan(load_config(copy.deepcopy(CONTENT), []), PINS)
    top1 = accuracies(plan, lambda *_: 0.7 + 0.1 * float(random.random()))
    text = claims_text.as_csv(claims.replicates(plan, top1))
    assert claims_text.read_csv(text) == top1
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(top1) and {row["block"] for row in rows if row["group"] == "erm"} == {
        "erm-s0", "erm-s5", "erm-s10", "erm-s15",
    }  # fmt: skip
    checked = claims.check(plan, claims_text.read_csv(text))
    assert checked == claims.check(plan, top1)
    written = json.loads(claims_text.as_json(checked))["claims"]
    page = claims_text.markdown(checked)
    for claim in checked:
        assert written[claim.name]["sentence"] == claim.sentence and page.count(claim.sentence) == 2
        assert len(written[claim.name]["comparisons"]) == len(claim.comparisons)


def test_no_claim_is_part_of_the_key_of_a_job() -> None:
    keys = [
        {job.artifact: job.key for job in Plan(load_config(CONTENT | {"claims": of}, []), PINS).jobs}
        for of in ({}, copy.deepcopy(CONTENT["claims"]))
    ]
    assert keys[0] == keys[1]


def mistakes(change: Callable[[Any], None]) -> list[str]:
    content = copy.deepcopy(CONTENT)
    content["claims"] = {"one": copy.deepcopy(content["claims"]["same-size"])}
    change(content["claims"]["one"])
    with pytest.raises(UserError) as caught:
        load_config(content, [])
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("table", "table3", "claims.one.table: found 'table3'; did you mean table2? must be one of: table1, table2"),
        ("selection", "paper", "claims.one.selection: found paper; must be one of those of tables.table1: heldout"),
        ("test", {"name": "less"}, "claims.one.test.name: found 'less'; must be one of: greater, equal"),
        ("test", {"name": "equal"}, "claims.one.test.within: missing; this key is required"),
        ("test", {"name": "equal", "within": 0}, "claims.one.test.within: found 0; must be greater than 0"),
        ("panels", [{"target": "mnist", "shots": 50}], "claims.one.panels[0]: found target mnist, shots 50; must be one of those of tables.table1: "),
        ("panels", [{"target": "mnits", "shots": 20}], "claims.one.panels[0].target: found 'mnits'; did you mean mnist?"),
        ("pairs", [[method("cat4"), method("cat6")]], "claims.one.pairs[0][1].group: found 'cat6'; did you mean cat5?"),
        ("pairs", [[method("cat4"), method("erm", ensemble=True)]], "claims.one.pairs[0][1]: found group erm, ensemble true; must be a row"),
        ("pairs", [[method("cat4"), method("erm", "finetune")]], "claims.one.pairs[0][1].transfer: found finetune on fashion-new, shots 20; must be a column of tables.table1"),
        ("pairs", [[method("cat4"), method("cat4")]], "claims.one.pairs[0]: found [{'group': 'cat4',"),
        ("pairs", [[method("cat4")]], "claims.one.pairs[0]: found [{'group': 'cat4',"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_claim_is_one_line(key: str, value: Any, expected: str) -> None:
    lines = mistakes(lambda claim: claim.__setitem__(key, value))
    assert any(line.startswith(expected) for line in lines), lines


def test_a_side_without_records_is_one_line() -> None:
    def change(claim: Any) -> None:
        claim |= {"table": "table2", "panels": [{"target": "mnist", "shots": 25}]}
        claim["pairs"] = [[method("cat4", "two_stage"), method("erm", "two_stage")]]

    assert mistakes(change) == [
        "claims.one.pairs[0][1]: found erm, which has no two_stage on mnist; must be a cell of tables.table2 that is not empty"
    ]


def test_windows_that_overlap_are_no_replicates() -> None:
    content = copy.deepcopy(CONTENT)
    content["representations"]["cat"]["windows"] = "all"
    content["figures"] = {}
    content["claims"] = {"one": content["claims"]["same-size"]}
    with pytest.raises(
        UserError, match="claims.one.pairs.0..0..group: found cat4, of which cat4 and cat4-k1 share"
    ) as caught:
        load_config(content, [])
    assert "(windows: disjoint)" in str(caught.value)
