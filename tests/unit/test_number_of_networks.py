"""Figures over the number of networks: their numbers are those of the tables and of `rrl compare-records`."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rrl.differences import compare_records
from rrl.job import read_card


def points(tiny: Path, figure: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_card(tiny / f"results/tiny/figures/{figure}.json").facts["points"]
    return found


def test_accuracies_and_intervals_are_those_of_the_table(tiny: Path) -> None:
    table = pd.read_csv(tiny / "results/tiny/table2.csv")
    rows = table[table["selection"] == "heldout"].set_index("method")
    names = {("CATn", 1): "ERM", ("CATn", 2): "CAT2", ("CATn^sub", 1): "ERM", ("CATn^sub", 2): "CAT2^sub"}
    names |= {("RANDOM", 1): "RANDOM"}
    found = points(tiny, "networks")
    assert len(found) == len(names) * 2
    for point in found:
        row, column = rows.loc[names[point["series"], point["networks"]]], f"mnist {point['shots']}-shot"
        assert point["mean"] == pytest.approx(row[f"{column} mean"])
        assert point["interval"] == pytest.approx([row[f"{column} test low"], row[f"{column} test high"]])
        assert len(point["top1"]) == row["n"] and point["n_test"] == 4700


def test_gains_are_those_of_the_records_on_the_same_images(tiny: Path) -> None:
    found = points(tiny, "gains")
    # cat2 is seeds 0 and 1: what seed 1 adds to seed 0. One network is its own ensemble.
    records = {
        "CATn": ("cat2/linear_probe", "erm-s0/linear_probe"),
        "CATn^sub": ("cat2/ensemble", "erm-s0/linear_probe"),
    }
    assert [(of["series"], of["shots"]) for of in found] == [(name, shots) for shots in (5, 10) for name in records]
    for point in found:
        after, before = (
            read_card(tiny / f"results/tiny/records/mnist/{name}.json") for name in records[point["series"]]
        )
        (entry,) = [
            entry
            for entry in compare_records(after, [before])
            if (entry["shots"], entry["selection"]) == (str(point["shots"]), "heldout")
        ]
        assert point["gain"] == pytest.approx(100 * entry["difference"])
        assert point["interval"] == pytest.approx([100 * bound for bound in entry["difference_interval"]])
        assert point["interval"][0] < point["gain"] < point["interval"][1]
        assert (point["before"], point["after"], point["from"], point["to"]) == ("erm-s0", "cat2", 1, 2)


@pytest.mark.parametrize("figure", ["networks", "gains"])
def test_pictures_have_their_words(tiny: Path, figure: str) -> None:
    folder = tiny / "results/tiny/figures"
    text = (folder / f"{figure}.svg").read_text()
    shared = ["CATn", "CATn^sub", "Linear probing: mnist, 5 images per class"]
    for words in shared + {"networks": ["number of networks", "RANDOM"], "gains": ["1 → 2"]}[figure]:
        assert f">{words}</text>" in text, words
    picture = (folder / f"{figure}.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
    layout = json.loads((folder / f"{figure}.json").read_text())["settings"]["layout"]
    assert layout["kind"] == figure
