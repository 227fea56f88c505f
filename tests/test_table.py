"""Tables from hand-made records, to the letter."""

from pathlib import Path

import pytest

from rrl.provenance import Card
from rrl.table import column_label, latex, markdown, parameters_text, summarise, wide


def record(representation: str, transfer: str, top1: dict[str, float]) -> Card:
    results = [
        {"shots": shots, "selection": selection, "top1": value + (0.01 if selection == "paper" else 0), "n_test": 1000}
        for shots, value in top1.items()
        for selection in ("heldout", "paper")
    ]
    facts = {
        "target": "mnist",
        "representation": representation,
        "transfer": transfer,
        "parameters": 23_508_032,
        "feature_dim": 2048,
        "seeds": [0],
        "results": results,
    }
    artifact = f"records/mnist/{representation}/{transfer}"
    return Card(Path("x.json"), artifact, "key", "probe", {}, "code", [], "digest", facts)


RECORDS = [
    record("erm-s0", "linear_probe", {"all": 0.5, "20": 0.4004}),
    record("erm-s1", "linear_probe", {"all": 0.6, "20": 0.4006}),
    record("cat2", "linear_probe", {"all": 0.7, "20": 0.5}),
    record("cat2", "ensemble", {"all": 0.65, "20": 0.55}),
]
ERM = {"method": "ERM", "transfer": "linear_probe", "representations": ["erm-s0", "erm-s1"]}
CAT = {"method": "CAT2", "transfer": "linear_probe", "representations": ["cat2"]}
SUB = {"method": "CAT2", "transfer": "ensemble", "representations": ["cat2"]}
LAYOUT = {
    "caption": "A caption.",
    "selections": ["heldout", "paper"],
    "columns": [{"target": "mnist", "shots": "all"}, {"target": "mnist", "shots": 20}],
    "rows": [
        {**ERM, "architecture": "resnet50", "spread": "seeds"},
        {**CAT, "architecture": "2 x resnet50", "spread": "windows"},
        {**SUB, "architecture": "2 x resnet50", "spread": "windows"},
    ],
}


def test_cells_are_mean_and_standard_deviation_over_the_group() -> None:
    cells = summarise(LAYOUT, RECORDS)
    assert (cells[0].mean, cells[0].std, cells[0].n) == (pytest.approx(55), pytest.approx(7.0710678), 2)
    assert all(cell.std is None for cell in cells if cell.method == "CAT2")
    assert next(cell.mean for cell in cells if cell.selection == "paper") == pytest.approx(56)


def test_csv() -> None:
    table = wide(summarise(LAYOUT, RECORDS))
    assert list(table.columns) == [
        "selection", "method", "architecture", "parameters", "n", "spread",
        "mnist mean", "mnist std", "mnist 20-shot mean", "mnist 20-shot std",
    ]  # fmt: skip
    assert list(table["method"]) == ["ERM", "CAT2", "CAT2^sub"] * 2
    assert list(table["selection"]) == ["heldout"] * 3 + ["paper"] * 3


def test_markdown() -> None:
    lines = markdown(summarise(LAYOUT, RECORDS), LAYOUT["caption"]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == ["method", "architecture", "parameters", "n", "mnist", "mnist 20-shot"]
    assert cells[2] == ["ERM", "resnet50", "23.5M", "2 seeds", "55.0 ± 7.1", "40.0 ± 0.0"]
    assert cells[3] == ["CAT2", "2 x resnet50", "23.5M", "1 window", "70.0", "50.0"]
    assert cells[4] == ["CAT2^sub", "2 x resnet50", "23.5M", "1 window", "65.0", "55.0"]
    assert cells[5 + 2] == ["ERM", "resnet50", "23.5M", "2 seeds", "56.0 ± 7.1", "41.0 ± 0.0"]
    text = "\n".join(lines)
    assert "mean ± standard deviation (ddof 1) over n seeds or windows" in text
    assert "picked on val, test read once" in text and "picked on test, as published" in text


def test_latex_is_escaped() -> None:
    text = latex(summarise(LAYOUT, RECORDS), "100% of a_caption.")
    assert r"55.0 $\pm$ 7.1" in text and r"CAT2$^{\mathrm{sub}}$" in text and r"100\% of a\_caption." in text
    assert text.count(r"\begin{table}") == 2 and "nan" not in text


def test_a_record_that_is_not_given_is_no_empty_cell() -> None:
    with pytest.raises(KeyError):
        summarise(LAYOUT, RECORDS[:-1])


def test_labels() -> None:
    assert [parameters_text(count) for count in (19_480, 23_508_032, 375_378_176)] == ["19.5k", "23.5M", "375.4M"]
    assert column_label({"target": "mnist", "shots": "all"}) == "mnist"
