"""Configs that chance breaks: each is refused with a line for each mistake, or planned in full."""

import copy
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from rrl.config.load import load_config
from rrl.config.settings import dump
from rrl.errors import UserError
from rrl.plan import Plan
from tests.helpers.clones import CLONE, copy_clone, run_snakemake

ROUNDS = 20  # of 200 configs, the same ones each time
DRY_RUNS = 6
# Without aliases: a value that was swapped into itself would have no end.
TINY = json.loads(json.dumps(yaml.safe_load((CLONE / "workflow/config/tiny.yaml").read_text())))
PINS = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())

ODD_TEXTS = [
    "", " ", "a b", "-x", "_x", "~", "*", "%s", "$x$", "{x}", "a\nb", "\x00", "\ud800", "é", "'", '"', "#", "1e-4", "1e999", "all",
    "null", "true", "../x", "/", ".", "..", "network", "erm", "erm-s0", "cat2", "wide2", "mnist", "tiny", "erm-s0.0-32", "x" * 300,
]  # fmt: skip
texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=8)
numbers = (
    st.integers(-2, 12) | st.integers() | st.floats() | st.sampled_from([2**31, 2**63, 10**400, 1e-300, 1e300, -0.0])
)
scalars = st.none() | st.booleans() | numbers | texts | st.dates()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.integers(0, 2), inner, max_size=3),
    max_leaves=6,
)
good_numbers = st.integers(0, 10) | st.floats(1e-6, 1).map(lambda number: float(f"{number:.3g}"))


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of every key and every position in a list."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for step, item in steps for found in ((*place, step), *places(item, (*place, step)))]


def at(content: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        content = content[step]
    return content


def similar(draw: Any, value: Any) -> Any:
    """Another value of the same kind, which may well be allowed."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw(st.integers(0, 12) | st.integers(0, 2**70))
    if isinstance(value, float):
        return draw(good_numbers)
    if isinstance(value, list):
        return draw(st.permutations(value)) + draw(
            st.lists(st.sampled_from(value) | good_numbers, max_size=2) if value else st.just([])
        )
    if isinstance(value, dict):
        return dict(draw(st.permutations(list(value.items()))))
    return draw(texts | st.text("abc_-12 .'$|", min_size=1, max_size=6))


@st.composite
def configs(draw: Any) -> dict[str, Any]:
    """The tiny config with some changes."""
    content: dict[str, Any] = copy.deepcopy(TINY)
    mild = draw(st.booleans())  # then many are accepted
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(places(content) or [()]))
        if not place:
            continue
        holder, step = at(content, place[:-1]), place[-1]
        change = draw(
            st.sampled_from(
                ["similar"] * 4 + ["double"] if mild else ["value", "drop", "rename", "double", "swap", "similar"]
            )
        )
        if change == "similar":
            holder[step] = similar(draw, holder[step])
        elif change == "value":
            holder[step] = draw(values)
        elif change == "drop":
            del holder[step]
        elif change == "rename" and isinstance(holder, dict):
            name = draw(texts | st.sampled_from(sorted(map(str, holder))))
            holder[name] = holder.pop(step)
        elif change == "double" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["twin", "erm2", "cat", "records", "x"]))] = copy.deepcopy(holder[step])
        elif change == "double":
            holder.append(copy.deepcopy(holder[step]))
        else:
            other = draw(st.sampled_from(places(content)))
            if other[: len(place)] != place and place[: len(other)] != other:
                elsewhere = at(content, other[:-1])
                elsewhere[other[-1]], holder[step] = holder[step], elsewhere[other[-1]]
    return content


def accepted(content: dict[str, Any]) -> bool:
    """Whether a config is accepted, and then planned in full. Fails the test unless it is, or is refused well."""
    try:
        config = load_config(content, [])
    except UserError as error:
        first, *lines = str(error).split("\n")
        assert re.fullmatch(r"config: \d+ mistakes?", first) and first.split()[1] == str(len(lines)) and lines
        assert len(set(lines)) == len(lines)
        for line in lines:
            assert re.match(r"  \S.*: (found|missing|unknown key)", line) and line.isprintable() and len(line) < 2100
        return False
    plan = Plan(config, PINS)
    jobs = plan.jobs
    assert len({job.artifact for job in jobs}) == len(jobs)
    for job in jobs:
        assert dump(job.settings).isprintable() and job.key and re.fullmatch(r"[a-z][\w./-]*", job.artifact)
        assert all(len(part) <= 230 for part in job.artifact.split("/"))
    return True


def test_a_config_that_chance_changed_is_refused_well_or_planned_in_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts: Counter[bool] = Counter()
    kept: list[dict[str, Any]] = []

    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(configs())
    def one_round(content: dict[str, Any]) -> None:
        note(yaml.safe_dump(content, allow_unicode=True))
        found = accepted(content)
        counts[found] += 1
        if found and content != TINY:
            kept.append(content)

    for number in range(1, ROUNDS + 1):
        seed(number)(one_round)()

    folder = copy_clone(tmp_path)
    path = folder / "workflow/config/changed.yaml"
    chosen = kept[:: max(1, len(kept) // DRY_RUNS)][:DRY_RUNS]
    for content in chosen:
        path.write_text(yaml.safe_dump(content))
        result = run_snakemake(folder, options=("--dry-run",), config="changed")
        output = result.stdout + result.stderr
        assert result.returncode == 0 and "Traceback" not in output, f"{path.read_text()}\n{output[-2000:]}"
    with capsys.disabled():
        total = f"{counts.total()} configs, {counts[True]} accepted, {len(chosen)} of them planned by Snakemake"
        print(f"\n{total}")
    assert counts[True] >= 20 and counts[False] >= 20 and len(chosen) >= 5
