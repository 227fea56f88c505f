"""Which networks stand side by side in each window, and which teach each student: by the plan alone."""

import copy
from typing import Any

import pytest
import yaml

from rrl.config.load import load_config
from rrl.errors import UserError
from rrl.plan import Plan
from tests.helpers.clones import CLONE

DEMO = yaml.safe_load((CLONE / "workflow/config/demo.yaml").read_text())
PINS = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())
RECIPE = DEMO["recipes"]["erm"]
STUDENTS = {
    "origin": "distill",
    "arch": "resnet8",
    "target": "fashion-source",
    "recipe": "erm",
    "teachers": {"of": "erm", "size": 3},
    "temperature": 2.0,
    "seeds": [100, 101],
}


def content(seeds: int, windows: str = "disjoint", sizes: list[int] | None = None) -> dict[str, Any]:
    """The demo's networks and targets with this many ERM seeds, windows of 2 and 3, and two students."""
    changed: dict[str, Any] = copy.deepcopy(DEMO)
    changed["networks"] = {
        "erm": DEMO["networks"]["erm"] | {"seeds": list(range(seeds))},
        "student": STUDENTS,
    }
    changed["representations"] = {"cat": {"of": "erm", "sizes": sizes or [2, 3], "windows": windows}}
    changed |= {"finetunings": {}, "figures": {}}
    table = changed["tables"]["table1"]
    rows = [(group, group) for group in ("erm", "student", *(f"cat{size}" for size in sizes or [2, 3]))]
    table["rows"] = [{"method": method.upper(), "group": group, "ensemble": False} for method, group in rows]
    table["columns"] = [{"transfer": "linear_probe", "target": "mnist", "shots": 20}]
    changed["tables"] = {"table1": table}
    return changed


def plan_of(changed: dict[str, Any]) -> Plan:
    return Plan(load_config(changed, []), PINS)


def seeds_of(plan: Plan, group: str) -> list[list[int]]:
    names = plan.groups[group]
    return [[int(member.network.rpartition("-s")[2]) for member in plan.representations[name]] for name in names]


def test_disjoint_windows_are_whole_blocks_and_the_first_of_each() -> None:
    plan = plan_of(content(8))
    assert plan.groups["cat3"] == ["cat3", "cat3-k1"] and plan.groups["cat2"] == ["cat2", "cat2-k1"]
    assert seeds_of(plan, "cat3") == [[0, 1, 2], [3, 4, 5]]  # seeds 6 and 7 are no whole block
    assert seeds_of(plan, "cat2") == [[0, 1], [3, 4]]
    assert plan.spread("cat2") == plan.spread("cat3") == "independent windows"


@pytest.mark.parametrize("windows", ["first", "all", "disjoint"])
def test_another_seed_changes_no_window(windows: str) -> None:
    for seeds in range(6, 10):
        fewer, more = (plan_of(content(count, windows)) for count in (seeds, seeds + 1))
        keys = {job.artifact: job.key for job in more.jobs if job.stage not in ("table", "collect")}
        assert [
            job.artifact
            for job in fewer.jobs
            if job.stage not in ("table", "collect") and keys[job.artifact] != job.key
        ] == []
        for group in ("cat2", "cat3"):
            assert more.groups[group][: len(fewer.groups[group])] == fewer.groups[group]


def test_overlapping_windows_are_no_independent_ones() -> None:
    plan = plan_of(content(6, "all"))
    assert seeds_of(plan, "cat3") == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert plan.spread("cat3") == "windows" and seeds_of(plan_of(content(6, "first")), "cat3") == [[0, 1, 2]]


def test_each_student_learns_from_a_block_of_its_own() -> None:
    plan = plan_of(content(7))
    assert plan.teachers("student-s100") == ["erm-s0", "erm-s1", "erm-s2"]
    assert plan.teachers("student-s101") == ["erm-s3", "erm-s4", "erm-s5"]
    inputs = {source.artifact for source in plan.network("student-s101").inputs}
    assert {f"networks/erm-s{seed}" for seed in (3, 4, 5)} < inputs and "networks/erm-s0" not in inputs
    assert plan.teachers("erm-s0") == []
    shared = content(7)
    shared["networks"]["student"] = STUDENTS | {"teachers": ["erm-s0", "erm-s6"]}
    assert plan_of(shared).teachers("student-s100") == plan_of(shared).teachers("student-s101") == ["erm-s0", "erm-s6"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"size": 4}, "networks.student.teachers.size: found 4 teachers for each of 2 students; erm must have 8 seeds, has 7"),
        ({"of": "student"}, "networks.student.teachers.of: found 'student'; must be one of: erm"),
        ({"of": "ern"}, "networks.student.teachers.of: found 'ern'; did you mean erm? must be one of: erm"),
        ({"sizes": 3}, "networks.student.teachers.sizes: unknown key; did you mean size? must be one of: of, size"),
    ],
)  # fmt: skip
def test_a_mistake_in_blocks_of_teachers_is_one_line(change: dict[str, Any], expected: str) -> None:
    changed = content(7)
    changed["networks"]["student"] = STUDENTS | {"teachers": STUDENTS["teachers"] | change}  # type: ignore[operator]
    with pytest.raises(UserError) as caught:
        load_config(changed, [])
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [expected]


def test_a_name_that_disjoint_windows_make_is_taken() -> None:
    changed = content(6)
    changed["representations"]["cat2-k1"] = {"members": ["erm-s0", "erm-s1"]}
    with pytest.raises(UserError, match="representations.cat2-k1: found name 'cat2-k1', which is taken"):
        load_config(changed, [])
    changed["representations"] = {"cat2-k2": {"members": ["erm-s0", "erm-s1"]}} | content(6)["representations"]
    load_config(changed, [])  # six seeds are two blocks


def test_a_block_longer_than_the_family_is_one_line() -> None:
    with pytest.raises(
        UserError, match="representations.cat.sizes: found 7; must be at most 6, the number of seeds of erm"
    ):
        load_config(content(6, sizes=[2, 7]), [])
