"""What `make claims` makes is what the docs show. Forty minutes are too long for a test: where it has run, its results
are compared; tests/workflow/test_docs.py compares the docs with the accuracies that were committed.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rrl.cli import claims, claims_text
from rrl.errors import UserError
from rrl.store.files import read_json
from tests.helpers.clones import CLONE
from tests.helpers.documented import exact, tables_of

CONFIG = CLONE / "workflow/config/claims.yaml"


@pytest.fixture(scope="module")
def made() -> Path:
    """The results folder of `make claims`. Skips the test where it did not run to its end with this code."""
    root = CLONE / "results/claims"
    try:
        _, _, missing = claims.results_of(CONFIG, root)
    except UserError as error:
        pytest.skip(f"needs the results of make claims: {error}")
    if missing:
        pytest.skip(f"needs the results of make claims; {len(missing)} are missing or of other code")
    return root


@exact
def test_the_claims_of_the_docs_are_those_of_the_results(made: Path, tmp_path: Path) -> None:
    plan, top1, _ = claims.results_of(CONFIG, made)
    for path in claims_text.write(tmp_path, plan, top1):
        assert path.read_bytes() == (CLONE / "docs" / path.name).read_bytes()


PICTURES = ("similarity", "networks", "gains")


@exact
@pytest.mark.parametrize(("name", "shown"), [("accuracy", "demo"), *((name, f"why-{name}") for name in PICTURES)])
def test_the_pictures_of_the_docs_are_those_that_the_claims_make(made: Path, name: str, shown: str) -> None:
    """To the byte."""
    assert (made / f"figures/{name}.svg").read_bytes() == (CLONE / f"docs/{shown}.svg").read_bytes()


@exact
def test_the_docs_have_the_similarities_of_the_claims(made: Path) -> None:
    """Means of the debiased CKA between networks of two groups."""
    (rows,) = tables_of((CLONE / "docs/why.md").read_text(), "networks")
    layout = read_json(made / "figures/similarity.json")["settings"]["layout"]
    assert rows[0][1:] == [panel["target"] for panel in layout["panels"]] and len(rows) > 5
    for column, panel in enumerate(layout["panels"], start=1):
        cka = np.array(read_json(made / f"similarities/{panel['target']}/similarity.json")["facts"]["cka"])
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
def test_the_docs_have_the_gains_of_the_claims(made: Path) -> None:
    """Means over sets of networks."""
    (rows,) = tables_of((CLONE / "docs/why.md").read_text(), "gain")
    points = pd.DataFrame(read_json(made / "figures/gains.json")["facts"]["points"])
    points["column"] = points["target"] + " " + points["shots"].astype(str) + "-shot"
    points["row"] = points["series"] + " " + points["from"].astype(str) + " → " + points["to"].astype(str)
    found = points.groupby(["row", "column"])["gain"].mean()
    assert sorted(row[0] for row in rows[1:]) == sorted(points["row"].unique())
    for name, *values in rows[1:]:
        for column, value in zip(rows[0][1:], values, strict=True):
            assert float(value) == pytest.approx(found[name, column], abs=0.051), (name, column)
