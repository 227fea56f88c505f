"""The pages of docs/: they build, their links hold, and what they say of the code is what the code says.

test_readme.py runs their commands, test_tutorial.py and test_demo.py follow the stories among them.
"""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs import reference
from rrl.cli import claims, claims_text
from rrl.cli.claims import Checked
from rrl.config.load import load_config, load_plan
from rrl.plan import Plan
from tests.helpers.clones import CLONE

PAGES = [*sorted(CLONE.glob("*.md")), *sorted((CLONE / "docs").glob("*.md"))]
FENCE = re.compile(r"^(`{3,}).*?^\1$", flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_plain_page_hold(page: Path) -> None:
    """Files of the repository, and headings in them, as on a page that shows the Markdown as it is."""
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if not re.match(r"https?:", link):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.is_relative_to(CLONE) and target.is_file(), link
            assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), flags=re.MULTILINE)
    slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return {f"{slug}-{slugs[:at].count(slug)}" if slug in slugs[:at] else slug for at, slug in enumerate(slugs)}


def test_the_index_names_every_page() -> None:
    text = FENCE.sub("", (CLONE / "docs/index.md").read_text())
    named = set(re.findall(r"\]\((\w[\w-]*\.md)", text))
    assert named == {path.name for path in PAGES if path.parent.name == "docs"} - {
        "index.md",
        "readme.md",
        "contributing.md",
        "changelog.md",
    }


CLAIMS = CLONE / "workflow/config/claims.yaml"


@pytest.fixture(scope="module")
def checked() -> list[Checked]:
    """The claims, decided anew from the accuracies that were committed."""
    return claims.check(
        load_plan(CLAIMS), claims_text.read_csv((CLONE / "docs/claims.csv").read_text(encoding="utf-8"))
    )


def test_the_committed_accuracies_are_those_that_the_claims_need() -> None:
    """All of them, and no other. To make them: make claims; rrl claims --output docs; python -m docs.reference."""
    plan, text = load_plan(CLAIMS), (CLONE / "docs/claims.csv").read_text(encoding="utf-8")
    top1 = claims_text.read_csv(text)
    assert claims_text.as_csv(claims.replicates(plan, top1)) == text
    assert {f"records/{target}/{name}/{transfer}" for target, _, name, transfer, _ in top1} == set(claims.needed(plan))


def test_the_committed_verdicts_follow_from_the_committed_accuracies(checked: list[Checked]) -> None:
    assert (CLONE / "docs/claims.md").read_text(encoding="utf-8") == claims_text.markdown(checked)
    assert (CLONE / "docs/claims.json").read_text(encoding="utf-8") == claims_text.as_json(checked)


def test_pages_quote_the_claims_as_they_came_out(checked: list[Checked]) -> None:
    """The README all of them, also what was expected and did not come out."""
    sentences = {claim.name: claim.sentence for claim in checked}
    assert sentences == reference.claimed()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text == reference.quoting(text, sentences), page.name
        assert (
            text.count("<!-- claims:") == text.count("<!-- end of claims -->") == len(reference.QUOTATION.findall(text))
        )
    quoted = " ".join(names for _, names, _ in reference.QUOTATION.findall((CLONE / "README.md").read_text()))
    assert sorted(quoted.split()) == sorted(sentences)


@pytest.mark.parametrize("name", ["config", "commands", "checkpoints"])
def test_made_pages_are_in_step_with_the_code(name: str) -> None:
    """To mend it: make docs."""
    assert (CLONE / f"docs/{name}.md").read_text(encoding="utf-8") == getattr(reference, f"{name}_page")()


def test_every_key_of_a_config_has_a_meaning() -> None:
    page = (CLONE / "docs/config.md").read_text()
    for name, model in {"Config": reference.SCHEMA, **reference.MODELS}.items():
        assert model.get("description"), name
        for key, about in model["properties"].items():
            assert about.get("description", "").endswith("."), f"{name}.{key}"
            assert f"| `{key}` |" in page


def test_the_messages_are_those_of_the_code() -> None:
    """Between `...` each part stands in the source; apart from those that are Snakemake's own."""
    code = "\n".join(path.read_text() for of in ("rrl", "workflow") for path in sorted((CLONE / of).rglob("*.py")))
    code = re.sub(r"\"\s*\+?\s*\(?f?\"", "", code)
    page = (CLONE / "docs/failures.md").read_text()
    shown = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(shown) > 20
    of_snakemake = {
        "LockException",
        "IncompleteFilesException",
        "older modification time",
        "FileNotFoundError",
        "Config file is not valid JSON or YAML",
    }
    for message in set(shown) - of_snakemake:
        for part in message.split("..."):
            assert part.strip(" ;:") in code, message


YAML = [
    (page.name, number, block)
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))
]


def pasted(page: str, block: str) -> Plan:
    """The config that a page is about, with a block of it in place: its entries are new, or replace those of their name."""
    config = CLONE / ("workflow/config/claims.yaml" if page == "workflow.md" else "config.yaml")
    content, sections = yaml.safe_load(config.read_text()), yaml.safe_load(block)
    for section, entries in sections.items() if set(sections) <= set(content) else [("networks", sections)]:
        content[section] |= entries
    return Plan(load_config(content, []), yaml.safe_load((CLONE / "workflow/pins.yaml").read_text()))


@pytest.mark.parametrize(("page", "number", "block"), YAML, ids=[f"{page}-{number}" for page, number, _ in YAML])
def test_blocks_of_a_config_can_be_pasted_into_one(page: str, number: int, block: str) -> None:
    assert pasted(page, block).jobs


def test_the_student_of_the_page_is_that_of_the_papers_tables() -> None:
    ((_, _, block),) = [of for of in YAML if of[0] == "paper.md"]
    plan = pasted("paper.md", block)
    (student,) = [job for job in plan.jobs if job.stage == "distill"]
    assert student.artifact == "networks/distill5-s10"
    inputs = {source.artifact for table in ("table1", "table2") for source in plan.table(table).inputs}
    for transfer in ("linear_probe", "finetune"):
        assert f"records/cifar10/distill5-s10/{transfer}" in inputs


# The words of docs/method.md for the transfers of the list.
TRANSFERS = {
    "linear probing": "linear_probe",
    "linear probing, separate heads (^sub)": "ensemble",
    "fine-tuning at once": "finetune",
    "fine-tuning in two stages": "two_stage",
}


def test_the_published_numbers_are_those_of_the_list() -> None:
    with (CLONE / "rrl/config/paper_values.csv").open(encoding="utf-8") as file:
        values = {
            (row["table"], row["method"], row["transfer"], row["target"]): row["top1"] for row in csv.DictReader(file)
        }
    page = (CLONE / "docs/method.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\d) \| ([^|]+) \| ([\d.]+) \| ([\d.]+) \|$", page, flags=re.MULTILINE)
    assert len(rows) == 8 and f"{len(values)} values" in page
    for method, table, transfer, *numbers in rows:
        published = [values[table, method, TRANSFERS[transfer], target] for target in ("cifar100", "inaturalist18")]
        assert numbers == published
    for method in ("CAT10", "WIDE4"):
        assert values["2", method, "linear_probe", "imagenet"] in page


def test_results_are_read_as_the_page_says(tiny: Path) -> None:
    """docs/python.md, on the tiny experiment."""
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (CLONE / "docs/python.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    code = code.replace("results/demo", "results/tiny").replace("cat4", "cat2") + "print(features.shape, labels.shape)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tiny, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    top1, *shapes = re.findall(r"[\d.]+", result.stdout)
    assert 0 < float(top1) <= 1 and shapes == ["1", "4700", "64", "4700"], result.stdout
