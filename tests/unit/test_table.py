"""Tables from hand-made records, to the letter."""

from pathlib import Path

import pytest

from rrl.cells import column_label, parameters_text, summarise
from rrl.job import Card
from rrl.stages.table import latex, markdown, wide


def record(representation: str, transfer: str, top1: dict[str, float]) -> Card:
    results = [
        {
            "shots": shots,
            "selection": selection,
            "top1": value + (0.01 if selection == "paper" else 0),
            "n_train": 10,
            "n_test": 1000,
        }
        for shots, value in top1.items()
        for selection in ("heldout", "paper")
    ]
    facts = {
        "target": "mnist",
        "representation": representation,
        "transfer": transfer,
        "of": None,
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
ERM = {
    "method": "ERM",
    "ensemble": False,
    "representations": ["erm-s0", "erm-s1"],
    "transfers": ["linear_probe"] * 2,
    "paper": [None] * 2,
}
CAT = {**ERM, "method": "CAT2", "representations": ["cat2"]}
SUB = {**CAT, "ensemble": True, "transfers": ["ensemble"] * 2}
LAYOUT = {
    "caption": "A caption.",
    "selections": ["heldout", "paper"],
    "grid": "own",
    "views": 1,
    "columns": [
        {"transfer": "linear_probe", "target": "mnist", "shots": "all"},
        {"transfer": "linear_probe", "target": "mnist", "shots": 20},
    ],
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
    table = wide(LAYOUT, summarise(LAYOUT, RECORDS))
    assert list(table.columns) == [
        "selection", "method", "architecture", "parameters", "n", "spread",
        "mnist mean", "mnist std", "mnist test low", "mnist test high",
        "mnist 20-shot mean", "mnist 20-shot std", "mnist 20-shot test low", "mnist 20-shot test high",
    ]  # fmt: skip
    assert list(table["method"]) == ["ERM", "CAT2", "CAT2^sub"] * 2
    assert list(table["selection"]) == ["heldout"] * 3 + ["paper"] * 3


def test_markdown() -> None:
    lines = markdown(LAYOUT, summarise(LAYOUT, RECORDS)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == ["method", "architecture", "parameters", "n", "mnist", "mnist 20-shot"]
    assert cells[2] == ["ERM", "resnet50", "23.5M", "2 seeds", "55.0 ± 7.1 [51.9, 58.1]", "40.0 ± 0.0 [37.0, 43.1]"]
    assert cells[3] == ["CAT2", "2 x resnet50", "23.5M", "1 window", "70.0 [67.1, 72.8]", "50.0 [46.9, 53.1]"]
    assert cells[4] == ["CAT2^sub", "2 x resnet50", "23.5M", "1 window", "65.0 [62.0, 67.9]", "55.0 [51.9, 58.1]"]
    assert cells[5 + 2] == ["ERM", "resnet50", "23.5M", "2 seeds", "56.0 ± 7.1 [52.9, 59.0]", "41.0 ± 0.0 [38.0, 44.1]"]
    text = "\n".join(lines)
    assert "mean ± standard deviation (ddof 1) over n seeds or windows" in text
    assert "picked on val, test read once" in text and "picked on test, as published" in text


def test_latex_is_escaped() -> None:
    text = latex({**LAYOUT, "caption": "100% of a_caption."}, summarise(LAYOUT, RECORDS))
    assert (
        r"55.0 $\pm$ 7.1 [51.9, 58.1]" in text and r"CAT2$^{\mathrm{sub}}$" in text and r"100\% of a\_caption." in text
    )
    assert text.count(r"\begin{table}") == 2 and "nan" not in text


def test_text_of_the_user_stays_text_in_markdown_and_latex() -> None:
    rows = [{**LAYOUT["rows"][0], "method": method} for method in ("a|b\\|c", "[1ex] <b>", "x & y_1 ~^{2} #%$ \\")]
    layout = {**LAYOUT, "caption": "`a` <img> ![x](y) a\\b", "rows": rows}
    text = markdown(layout, summarise(layout, RECORDS))
    assert text.startswith("\\`a\\` \\<img> !\\[x](y) a\\\\b Top-1")
    assert [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.startswith("|")][2:5] == [
        "a\\|b\\\\\\|c", "\\[1ex] \\<b>", "x & y_1 ~^{2} #%$ \\\\",
    ]  # fmt: skip
    text = latex(layout, summarise(layout, RECORDS))
    for row in (
        r"a\textbar{}b\textbackslash{}\textbar{}c & ",
        r"{[}1ex] \textless{}b\textgreater{} & ",
        r"x \& y\_1 \textasciitilde{}\textasciicircum{}\{2\} \#\%\$ \textbackslash{} & ",
    ):
        assert f"\n{row}resnet50 & " in text


def test_a_record_that_is_not_given_is_no_empty_cell() -> None:
    with pytest.raises(KeyError):
        summarise(LAYOUT, RECORDS[:-1])


def test_a_cell_that_does_not_exist_is_blank_and_no_number() -> None:
    columns = [{"transfer": transfer, "target": "mnist", "shots": "all"} for transfer in ("finetune", "two_stage")]
    rows = [
        {**LAYOUT["rows"][0], "transfers": ["finetune", None]},
        {**LAYOUT["rows"][1], "transfers": ["finetune", "two_stage"]},
        {**LAYOUT["rows"][2], "transfers": ["ensemble_finetune", "averaged_head"]},
    ]
    layout = {**LAYOUT, "columns": columns, "rows": rows}
    transfers = ["finetune", "two_stage", "ensemble_finetune", "averaged_head"]
    records = [record(name, "finetune", {"all": 0.5}) for name in ("erm-s0", "erm-s1")]
    records += [record("cat2", transfer, {"all": 0.6 + 0.01 * n}) for n, transfer in enumerate(transfers)]
    cells = summarise(layout, records)
    table = wide(layout, cells)
    initial, two_stage = "initial fine-tuning: mnist", "two-stage: mnist"
    assert list(table.columns[6:]) == [
        f"{name} {kind}" for name in (initial, two_stage) for kind in ("mean", "std", "test low", "test high")
    ]
    assert table[f"{two_stage} mean"].isna().tolist() == [True, False, False] * 2
    lines = [line for line in markdown(layout, cells).splitlines() if line.startswith("|")]
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[4:] for row in shown[:5]] == [
        [initial, two_stage], shown[1][4:], ["50.0 ± 0.0 [46.9, 53.1]", "–"],
        ["60.0 [56.9, 63.0]", "61.0 [57.9, 64.0]"], ["62.0 [59.0, 65.0]", "63.0 [60.0, 65.9]"],
    ]  # fmt: skip
    assert "averaged heads, untrained" in markdown(layout, cells) and "& -- \\" in latex(layout, cells)


def test_the_papers_values_stand_beside_ours_and_marks_where_they_are_beyond_error_and_spread() -> None:
    """Under the rule paper alone. 56.0 ± 7.1 and 41.0 ± .01; 71.0 and 51.0 of one window."""
    rows = [
        {**LAYOUT["rows"][0], "paper": [{"top1": 50.0, "error": 0.02}, {"top1": 40.97, "error": 0.01}]},
        {**LAYOUT["rows"][1], "paper": [{"top1": 71.02, "error": 0.02}, {"top1": 51.021, "error": 0.02}]},
        LAYOUT["rows"][2],
    ]
    layout = {**LAYOUT, "rows": rows, "grid": "recommended"}
    cells = summarise(layout, RECORDS)
    lines = [line for line in markdown(layout, cells).splitlines() if line.startswith("|")]
    shown = [[cell.strip() for cell in line.strip("|").split("|")][4:] for line in lines]
    assert shown[2:5] == [["55.0 ± 7.1 [51.9, 58.1]", "40.0 ± 0.0 [37.0, 43.1]"], shown[3], shown[4]]
    assert shown[7:] == [
        ["56.0 ± 7.1 [52.9, 59.0]; paper 50.00, +6.00", "41.0 ± 0.0 [38.0, 44.1]; paper 40.97, +0.08*"],
        ["71.0 [68.1, 73.7]; paper 71.02, -0.02", "51.0 [47.9, 54.1]; paper 51.02, -0.02*"],
        ["66.0 [63.0, 68.9]", "56.0 [52.9, 59.0]"],
    ]
    table = wide(layout, cells)
    assert list(table.columns[6:14]) == [
        "mnist mean", "mnist std", "mnist test low", "mnist test high",
        "mnist paper", "mnist paper error", "mnist difference", "mnist beyond",
    ]  # fmt: skip
    assert table["mnist difference"].iloc[3] == pytest.approx(6.0) and table["mnist difference"].isna().sum() == 4
    assert table["mnist 20-shot beyond"].tolist()[3:5] == [True, True]
    text = markdown(layout, cells)
    assert "the published value, and ours minus it" in text and "1 cached views" in text
    assert "Grid" not in text  # which is about fine-tuning


def test_the_note_names_the_grid_of_fine_tuning() -> None:
    columns = [{"transfer": "finetune", "target": "mnist", "shots": "all"}]
    rows = [{**LAYOUT["rows"][0], "transfers": ["finetune"], "paper": [None]}]
    records = [record(name, "finetune", {"all": 0.5}) for name in ("erm-s0", "erm-s1")]
    for grid, words in (("recommended", "Grid `recommended`: the learning rate"), ("published", "all settings that")):
        layout = {**LAYOUT, "columns": columns, "rows": rows, "grid": grid}
        assert words in markdown(layout, summarise(layout, records))


def test_labels() -> None:
    assert [parameters_text(count) for count in (19_480, 23_508_032, 375_378_176)] == ["19.5k", "23.5M", "375M"]
    assert column_label({"transfer": "linear_probe", "target": "mnist", "shots": "all"}) == "mnist"
    assert column_label({"transfer": "two_stage", "target": "mnist", "shots": 5}) == "two-stage: mnist 5-shot"
