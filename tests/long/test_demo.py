"""The demo as a user runs it, and what the README says about its numbers.

The demo's arithmetic is portable: on Linux machines with AVX2 every digit of the docs is checked. Training is chaotic, so
elsewhere single networks differ by points: there the tables and their words are checked, and what holds everywhere.
"""

import itertools
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rrl.artifacts.files import read_json
from tests.helpers.clones import CLONE, copy_clone
from tests.helpers.documented import exact

ROOT = CLONE / "results/demo"
COLUMNS = [("fashion-new", 20), ("fashion-new", 100), ("mnist", 20), ("mnist", 100)]


MEASURED = """
import resource, subprocess, sys
code = subprocess.run(["make", "demo"]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def demo() -> pd.DataFrame:
    """records.csv of `make demo`, run in this clone; top1 as mean over the representations of a method.

    An ensemble of fine-tuned networks is named as in its record's file, ensemble_finetune.
    """
    # In a process of its own, whose children are those of the demo alone.
    result = subprocess.run([sys.executable, "-c", MEASURED], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    assert "Tables: results/demo/table1.csv" in result.stderr
    peak = int(result.stdout.splitlines()[-1])
    assert peak < 1.5e6, f"a job needed {peak} kB"
    frame = pd.read_csv(ROOT / "records.csv")
    frame["transfer"] = frame["transfer"].where(frame["of"] != "finetune", "ensemble_finetune")
    keys = ["target", "shots", "method", "transfer", "selection"]
    return frame.groupby(keys)["top1"].mean().unstack(keys[2:])


def test_a_second_run_has_nothing_to_do(demo: pd.DataFrame) -> None:
    result = subprocess.run(["make", "demo"], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0 and "Nothing to be done" in result.stdout + result.stderr


def test_its_report_is_small(demo: pd.DataFrame) -> None:
    result = subprocess.run(["make", "report"], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0 and re.search(r"report\.html: \d+ current artifacts\n", result.stdout), result.stderr
    text = (ROOT / "report.html").read_text()
    assert "Jobs to run: none." in text and "<figure>" in text
    assert len(text) < 2e6  # 1.5 MB, of which 0.6 MB are figures


@pytest.mark.parametrize("selection", ["heldout", "paper"])
@pytest.mark.parametrize(("target", "shots"), COLUMNS)
def test_concatenation_beats_one_network(demo: pd.DataFrame, target: str, shots: int, selection: str) -> None:
    cell = demo.loc[(target, str(shots))].xs("linear_probe", level="transfer").xs(selection, level="selection")
    assert cell["CAT4"] > cell["CAT2"] > cell["ERM"]


@exact
@pytest.mark.parametrize("selection", ["heldout", "paper"])
@pytest.mark.parametrize(("target", "shots"), COLUMNS)
def test_the_order_that_the_readme_tells(demo: pd.DataFrame, target: str, shots: int, selection: str) -> None:
    cell = demo.loc[(target, str(shots))].xs("linear_probe", level="transfer").xs(selection, level="selection")
    assert cell["CAT5"] > cell["CAT4"] > cell["CAT3"] > cell["CAT2"] > cell["ERM"]
    assert cell["CAT4"] - cell["WIDE2"] > 0.02
    assert 0 < cell["RANDOM4"] < cell["CAT4"]


@exact
@pytest.mark.parametrize("selection", ["heldout", "paper"])
def test_on_the_source_concatenation_changes_little(demo: pd.DataFrame, selection: str) -> None:
    cell = demo.loc[("fashion-source", "all")].xs("linear_probe", level="transfer").xs(selection, level="selection")
    assert abs(cell["CAT4"] - cell["ERM"]) < 0.02


FINETUNED = {"fashion-new": "50", "mnist": "25"}


def finetuned(demo: pd.DataFrame, target: str) -> pd.DataFrame:
    """Method by transfer, of the records of fine-tuning."""
    cell = demo.loc[(target, FINETUNED[target])].xs("heldout", level="selection")
    return cell.unstack("transfer")


@exact
@pytest.mark.parametrize("target", FINETUNED)
def test_two_stage_beats_fine_tuning_one_network(demo: pd.DataFrame, target: str) -> None:
    cell = finetuned(demo, target)
    assert cell.loc["CAT4", "two_stage"] > cell.loc["ERM", "finetune"]
    if target == "mnist":  # on fashion-new the README says what was found
        assert cell.loc["CAT4", "two_stage"] > cell.loc["CAT4", "finetune"]


def test_the_controls_of_fine_tuning_are_there(demo: pd.DataFrame) -> None:
    for target in FINETUNED:
        cell = finetuned(demo, target)
        assert cell.loc[["SCRATCH", "ERM", "WIDE2", "JOINT4", "SCRATCH4", "CAT2", "CAT4"], "finetune"].notna().all()
        separate = cell.loc[["SCRATCH4", "CAT2", "CAT4"], ["two_stage", "averaged_head", "ensemble_finetune"]]
        assert separate.notna().all(axis=None)


@exact
def test_no_pick_is_at_the_edge_of_its_grid_by_more_than_two_images(demo: pd.DataFrame) -> None:
    """The smallest weight decay is 0, which nothing can be below; above the largest, SGD with this learning rate
    and momentum diverges. So there it must not matter."""
    for path in ROOT.glob("records/*/*/linear_probe.json"):
        for entry in read_json(path)["facts"]["results"]:
            best = {setting["weight_decay"]: max(setting["top1"]) for setting in entry["grid"]}
            assert min(best) == 0
            inside = max(top1 for weight_decay, top1 in best.items() if weight_decay < max(best))
            lead = (best[max(best)] - inside) * entry[f"n_{entry['selected_on']}"]
            assert lead < 2.5, (path, entry["shots"], entry["selection"])


@pytest.mark.parametrize("transfer", ["linear_probe", "finetune", "two_stage"])
def test_all_methods_have_the_same_grids(demo: pd.DataFrame, transfer: str) -> None:
    """On each target."""
    grids = {
        (path.parts[-3], str([(setting["learning_rate"], setting["weight_decay"]) for setting in entry["grid"]]))
        for path in ROOT.glob(f"records/*/*/{transfer}.json")
        for entry in read_json(path)["facts"]["results"]
    }
    assert len(grids) == len({target for target, _ in grids}) >= 2


def tables_of(text: str) -> list[list[list[str]]]:
    """Cells of each Markdown table of a text that has a method column."""
    tables: list[list[list[str]]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("| method"):
            next(lines)
            rows = [line, *itertools.takewhile(lambda row: row.startswith("|"), lines)]
            tables.append([[cell.strip() for cell in row.strip("|").split("|")] for row in rows])
    return tables


Table = list[list[str]]


def shown_and_made() -> list[tuple[Table, Table]]:
    """Each table of the README beside that of the demo."""
    shown = tables_of((CLONE / "README.md").read_text())
    made = [tables_of((ROOT / f"{name}.md").read_text())[0] for name in ("table2", "table1")]
    return list(zip(shown, made, strict=True))


def test_the_readme_shows_the_rows_and_columns_that_the_demo_makes(demo: pd.DataFrame) -> None:
    for shown, made in shown_and_made():
        assert [row[:4] for row in shown] == [row[:4] for row in made] and shown[0] == made[0]


@exact
def test_the_readme_shows_the_numbers_that_the_demo_makes(demo: pd.DataFrame) -> None:
    for shown, made in shown_and_made():
        assert shown == made


def test_the_readme_shows_the_figure_that_the_demo_makes(demo: pd.DataFrame) -> None:
    """The same words: axes, panels, series. The marks move with the numbers, a little."""

    def words(path: Path) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]+)</text>", path.read_text())

    assert "](docs/demo.svg)" in (CLONE / "README.md").read_text()
    made = words(ROOT / "figures/accuracy.svg")
    series = [word for word in made if not word[0].isdigit()]
    assert series == [word for word in words(CLONE / "docs/demo.svg") if not word[0].isdigit()]
    assert {"ERM, CATn", "WIDE2", "JOINT4", "RANDOM4"} < set(series)


PICTURES = ("similarity", "networks", "gains")


@pytest.mark.parametrize("name", PICTURES)
def test_the_docs_show_the_pictures_that_the_demo_makes(demo: pd.DataFrame, name: str) -> None:
    """docs/why.md has them. The same words; their values are other ones without AVX2."""

    def words(path: Path) -> list[str]:
        found = re.findall(r"<text[^>]*>([^<]+)</text>", path.read_text())
        return [word for word in found if not re.match(r"[−.]?\d", word)]

    assert f"](why-{name}.svg)" in (CLONE / "docs/why.md").read_text()
    assert words(ROOT / f"figures/{name}.svg") == words(CLONE / f"docs/why-{name}.svg") != []


@exact
@pytest.mark.parametrize(("made", "shown"), [("accuracy", "demo"), *((name, f"why-{name}") for name in PICTURES)])
def test_the_pictures_of_the_docs_are_those_that_the_demo_makes(demo: pd.DataFrame, made: str, shown: str) -> None:
    """To the byte."""
    assert (ROOT / f"figures/{made}.svg").read_bytes() == (CLONE / f"docs/{shown}.svg").read_bytes()


@exact
def test_the_docs_have_the_similarities_that_the_demo_finds(demo: pd.DataFrame) -> None:
    """Means of the debiased CKA between networks of two groups."""
    rows = tables_after("networks", (CLONE / "docs/why.md").read_text())
    layout = read_json(ROOT / "figures/similarity.json")["settings"]["layout"]
    assert rows[0][1:] == [panel["target"] for panel in layout["panels"]] and len(rows) > 5
    for column, panel in enumerate(layout["panels"], start=1):
        cka = np.array(read_json(ROOT / f"similarities/{panel['target']}/similarity.json")["facts"]["cka"])
        groups = np.array([name.rpartition(" ")[0] for name in panel["networks"]])
        seeds = np.array([name.rpartition(" ")[2] for name in panel["networks"]])
        for pair, *values in rows[1:]:
            of = re.fullmatch(r"(.+?) and (.+?)(, same seed)?", pair)
            assert of
            chosen = (groups[:, None] == of[1]) & (groups == of[2]) & ~np.eye(len(groups), dtype=bool)
            chosen &= (seeds[:, None] == seeds) if of[3] else True
            found = "–" if not chosen.any() else float(cka[chosen].mean())
            shown = values[column - 1]
            assert shown == found == "–" or float(shown) == pytest.approx(found, abs=0.0051), (pair, panel["target"])


@exact
def test_the_docs_have_the_gains_that_the_demo_finds(demo: pd.DataFrame) -> None:
    """Means over sets of networks."""
    rows = tables_after("gain", (CLONE / "docs/why.md").read_text())
    points = pd.DataFrame(read_json(ROOT / "figures/gains.json")["facts"]["points"])
    points["column"] = points["target"] + " " + points["shots"].astype(str) + "-shot"
    points["row"] = points["series"] + " " + points["from"].astype(str) + " → " + points["to"].astype(str)
    found = points.groupby(["row", "column"])["gain"].mean()
    assert sorted(row[0] for row in rows[1:]) == sorted(points["row"].unique())
    for name, *values in rows[1:]:
        for column, value in zip(rows[0][1:], values, strict=True):
            assert float(value) == pytest.approx(found[name, column], abs=0.051), (name, column)


def tables_after(first: str, text: str) -> list[list[str]]:
    """Cells of the one Markdown table whose heading begins with `first`."""
    lines = iter(text.splitlines())
    head = next(line for line in lines if line.startswith(f"| {first} |"))
    rows = [head, *itertools.takewhile(lambda line: line.startswith("|"), lines)]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in [rows[0], *rows[2:]]]


def test_the_docs_count_the_jobs(demo: pd.DataFrame) -> None:
    """docs/workflow.md's table of jobs by rule is that of a dry run of the demo."""
    output = subprocess.run(
        [CLONE / ".venv/bin/snakemake", "--dry-run", "--forceall", "--quiet", "rules", "--configfile", "workflow/config/demo.yaml"],
        cwd=CLONE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    planned = dict(re.findall(r"^(\w+) +(\d+)$", output.stdout + output.stderr, flags=re.MULTILINE))
    text = (CLONE / "docs/workflow.md").read_text()
    shown = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, flags=re.MULTILINE))
    assert shown == {rule: count for rule, count in planned.items() if rule not in ("all", "total")}
    with_torch = re.findall(r"^\| `\w+` \| (\d+) \| yes \|", text, flags=re.MULTILINE)
    total = sum(map(int, with_torch))
    assert f"{total} jobs import torch" in text and total <= 195


def test_the_docs_say_which_stages_import_torch() -> None:
    text = (CLONE / "docs/workflow.md").read_text()
    for rule, says in re.findall(r"^\| `(\w+)` \| \d+ \| (\w*) ?\|", text, flags=re.MULTILINE):
        stage = {"finetune_kept": "finetune", "ensemble_finetune": "ensemble"}.get(rule, rule)
        code = f"import sys, rrl.{stage}; print('torch' in sys.modules)"
        result = subprocess.run([sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True, check=True)
        assert result.stdout.strip() == str(says == "yes"), rule


def top1(line: str) -> list[float]:
    """The accuracies in a line of a table, or of `rrl show`."""
    return [float(number) for number in re.findall(r"(\d+\.\d+) (?:±|%,|\[)", line)]


@dataclass(frozen=True)
class Followed:
    """docs/tutorial.md, followed in a copy of this clone and its demo: the lines that it shows, and those printed last
    by the commands before."""

    folder: Path
    shown: list[list[str]]
    printed: list[list[str]]


@pytest.fixture(scope="module")
def followed(demo: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Followed:
    folder = copy_clone(tmp_path_factory.mktemp("tutorial") / "clone")
    subprocess.run(["cp", "-a", CLONE / ".snakemake", folder], check=True)
    subprocess.run(["cp", "-a", ROOT, folder / "results"], check=True)
    records = [path for path in folder.glob("results/demo/records/*/*/*.json") if not path.name.endswith(".run.json")]
    before = {path: path.read_bytes() for path in records}
    table = folder / "results/demo/table2.md"
    blocks = re.findall(
        r"^```(sh|text)\n(.*?)^```$", (CLONE / "docs/tutorial.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    followed = Followed(folder, [], [])
    printed: list[str] = []
    for kind, text in blocks:
        if kind == "sh":
            script = f"source .venv/bin/activate\n{text}"
            result = subprocess.run(["bash", "-ec", script], cwd=folder, capture_output=True, text=True)
            assert result.returncode == 0, (text, (result.stdout + result.stderr)[-3000:])
            printed = result.stdout.splitlines()
            assert "KILL" not in text or not table.exists() or "6 seeds" not in table.read_text()
        else:
            followed.shown.append(text.splitlines())
            followed.printed.append(printed[-len(text.splitlines()) :])
    assert {path: path.read_bytes() for path in records} == before
    return followed


def test_the_tutorial_is_what_happens(followed: Followed) -> None:
    """The same words."""
    assert len(followed.shown) == 7
    for lines in zip(followed.shown, followed.printed, strict=True):
        shown, printed = ([re.sub(r"\d+\.\d+|epoch \d+|[ -]+", " ", line) for line in of] for of in lines)
        assert shown == printed
    assert "6 seeds" in (followed.folder / "results/demo/table2.md").read_text()


@exact
def test_the_numbers_of_the_tutorial_are_those_that_are_printed(followed: Followed) -> None:
    for shown, printed in zip(followed.shown, followed.printed, strict=True):
        assert [top1(line) for line in shown] == [top1(line) for line in printed]
