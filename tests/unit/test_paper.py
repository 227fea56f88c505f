"""The paper's values are all there, once each, as they were published."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from rrl.config.paper import COLUMNS, FILE, TABLES, TRANSFERS, PaperValue, paper_value, paper_values, read
from rrl.errors import UserError

# Values of each published collection and the sum of their top-1, added up before they were written in our words.
SUPERVISED, VISION_TRANSFORMERS, SELF_SUPERVISED = 110, 13, 106
SUPERVISED_SUM, VISION_TRANSFORMERS_SUM, SELF_SUPERVISED_SUM = "8546.14", "1095.03", "7960.22"
VALUES = list(paper_values().values())


def of(*tables: int) -> list[PaperValue]:
    return [value for value in VALUES if value.table in tables]


@pytest.mark.parametrize(
    ("tables", "count", "total"),
    [
        ((1, 2), SUPERVISED, SUPERVISED_SUM),
        ((3,), VISION_TRANSFORMERS, VISION_TRANSFORMERS_SUM),
        ((4,), SELF_SUPERVISED, SELF_SUPERVISED_SUM),
    ],
)
def test_every_published_value_is_there(tables: tuple[int, ...], count: int, total: str) -> None:
    assert len(of(*tables)) == count
    assert sum(Decimal(str(value.top1)) for value in of(*tables)) == Decimal(total)


def test_how_many_values_each_kind_of_cell_has() -> None:
    assert Counter((value.table, value.transfer, value.target) for value in VALUES) == {
        **{(1, "finetune", target): 10 for target in ("cifar10", "cifar100", "inaturalist18")},
        **{(1, transfer, target): 4 for transfer in ("two_stage", "averaged_head") for target in ("cifar10", "cifar100", "inaturalist18")},
        **{(2, "linear_probe", target): 8 for target in ("imagenet", "inaturalist18", "cifar100", "cifar10")},
        **{(2, "ensemble", target): 6 for target in ("imagenet", "inaturalist18", "cifar100", "cifar10")},
        (3, "linear_probe", "imagenet-384-vit"): 6,
        (3, "averaged_head", "imagenet-384-vit"): 5,
        (3, "two_stage", "imagenet-384-vit"): 2,
        **{(4, "linear_probe", target): 15 for target in ("imagenet", "inaturalist18", "cifar100", "cifar10")},
        **{(4, "ensemble", target): 7 for target in ("imagenet", "inaturalist18", "cifar100", "cifar10")},
        (4, "finetune", "imagenet"): 7,
        (4, "two_stage", "imagenet"): 4,
        (4, "averaged_head", "imagenet-384"): 4,
        (4, "two_stage", "imagenet-384"): 3,
    }  # fmt: skip


# Typed by hand: table, method, target, transfer, top-1, reading error, rounding.
BY_HAND = [
    (1, "ERM", "cifar10", "finetune", 97.54, 0.0, 0.005),
    (1, "JOINT4", "inaturalist18", "finetune", 61.58, 0.0, 0.005),
    (1, "DISTILL5", "cifar100", "finetune", 85.31, 0.0, 0.005),
    (1, "CAT4", "cifar100", "two_stage", 88.0, 0.0, 0.005),
    (1, "CAT2", "inaturalist18", "averaged_head", 66.82, 0.1, 0.0),
    (1, "CAT10", "cifar10", "averaged_head", 98.07, 0.01, 0.0),
    (2, "WIDE4", "imagenet", "linear_probe", 78.46, 0.01, 0.0),
    (2, "WIDE4", "inaturalist18", "ensemble", 34.9, 0.04, 0.0),
    (2, "CAT5", "cifar100", "linear_probe", 78.52, 0.04, 0.0),
    (2, "CAT10", "inaturalist18", "ensemble", 44.4, 0.04, 0.0),
    (3, "VIT-B16", "imagenet-384-vit", "linear_probe", 82.5, 0.02, 0.0),
    (3, "AUGREG-L16", "imagenet-384-vit", "averaged_head", 85.58, 0.01, 0.0),
    (3, "AUGREG-CAT2", "imagenet-384-vit", "two_stage", 86.59, 0.01, 0.0),
    (4, "SWAV-WIDE5", "imagenet", "finetune", 80.4, 0.02, 0.0),
    (4, "SWAV-CAT2", "inaturalist18", "ensemble", 44.92, 0.08, 0.0),
    (4, "SWAV-CAT7", "imagenet", "two_stage", 81.25, 0.02, 0.0),
    (4, "SEER-CAT3", "cifar100", "ensemble", 78.06, 0.03, 0.0),
    (4, "SEER-256", "imagenet-384", "averaged_head", 85.2, 0.0, 0.05),
    (4, "SEER-CAT4", "imagenet-384", "two_stage", 85.5, 0.01, 0.0),
]


@pytest.mark.parametrize(("table", "method", "target", "transfer", "top1", "reading_error", "rounding"), BY_HAND)
def test_values_typed_by_hand(
    table: int, method: str, target: str, transfer: str, top1: float, reading_error: float, rounding: float
) -> None:
    value = paper_value(table, method, target, transfer)
    assert value is not None
    assert (value.top1, value.reading_error, value.rounding) == (top1, reading_error, rounding)
    assert value.error == reading_error + rounding


@pytest.mark.parametrize(
    "cell",
    [
        (1, "CAT2", "cifar10", "linear_probe"),
        (2, "JOINT2", "imagenet", "linear_probe"),
        (4, "SWAV-CAT8", "imagenet", "finetune"),
    ],
)
def test_there_is_none_where_the_paper_has_none(cell: tuple[int, str, str, str]) -> None:
    assert paper_value(*cell) is None


def test_values_lie_where_the_targets_have_them() -> None:
    ranges = {"imagenet": (73, 82), "imagenet-384": (80, 87), "imagenet-384-vit": (80, 87), "inaturalist18": (34, 70), "cifar10": (89, 99), "cifar100": (71, 89)}  # fmt: skip
    for value in VALUES:
        low, high = ranges[value.target]
        assert low < value.top1 < high, value
        assert value.std is None, value  # none is published in these tables
        assert value.table in TABLES and value.transfer in TRANSFERS


def test_a_value_is_read_from_a_figure_or_copied_from_text() -> None:
    for value in VALUES:
        if value.source.startswith("text: "):
            assert value.reading_error == 0 and value.rounding in (0.005, 0.05), value
        else:
            assert value.source.startswith("read from the figure of "), value
            assert 0.01 <= value.reading_error <= 0.1 and value.rounding == 0, value
    assert sum(value.source.startswith("text: ") for value in of(1, 2)) == 42
    assert sum(value.source.startswith("text: ") for value in of(4)) == 4
    assert not any(value.source.startswith("text: ") for value in of(3))


def test_each_value_names_its_own_published_entry() -> None:
    assert len({value.line for value in VALUES}) == len(VALUES)
    for value in VALUES:
        separate = value.transfer == "ensemble" or (value.table == 1 and value.transfer == "averaged_head")
        assert ("^sub" in value.line) == separate, value


def test_only_the_largest_vision_transformer_has_no_cell() -> None:
    assert [value.method for value in VALUES if value.excluded] == ["VIT-H14"]


GOOD = dict(
    zip(COLUMNS, ["1", "ERM", "cifar10", "finetune", "97.54", "", "0.0", "0.005", "text", "ERM", ""], strict=True)
)


def written(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> Path:
    path = folder / "values.csv"
    path.write_text("".join(",".join(row) + "\n" for row in (columns, *(row.values() for row in rows))))
    return path


def test_a_good_line_is_read(tmp_path: Path) -> None:
    (value,) = read(written(tmp_path, GOOD | {"std": "0.2"})).values()
    assert value == PaperValue(1, "ERM", "cifar10", "finetune", 97.54, 0.2, 0.0, 0.005, "text", "ERM", "")


@pytest.mark.parametrize(
    ("column", "found", "allowed"),
    [
        ("table", "5", "must be one of: 1, 2, 3, 4"),
        ("method", "", "must be a text"),
        ("method", "CAT2^sub", "without ^sub"),
        ("target", "cifar", "inaturalist18, cifar10, cifar100"),
        ("transfer", "fine-tuning", "linear_probe, finetune, two_stage, ensemble"),
        ("top1", "", "a number from 0 to 100"),
        ("top1", "nan", "a number from 0 to 100"),
        ("top1", "100.5", "a number from 0 to 100"),
        ("top1", "97,5", "found 12 fields"),
        ("std", "-0.1", "a number from 0 to 100"),
        ("reading_error", "+-0.01", "a number from 0 to 100"),
        ("rounding", "", "a number from 0 to 100"),
        ("source", "", "must be a text"),
        ("line", "", "must be a text"),
    ],
)
def test_a_malformed_line_is_refused(tmp_path: Path, column: str, found: str, allowed: str) -> None:
    with pytest.raises(UserError) as error:
        read(written(tmp_path, GOOD | {"method": "WIDE2"}, GOOD | {column: found}))
    assert "values.csv, line 3: " in str(error.value) and allowed in str(error.value)


def test_a_cell_with_two_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 3: found .* a second time"):
        read(written(tmp_path, GOOD, GOOD | {"top1": "97.55"}))


def test_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found columns method"):
        read(written(tmp_path, GOOD, columns=COLUMNS[1:]))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UserError, match="found columns ;"):
        read(tmp_path / "empty.csv")


def test_the_file_stands_beside_its_module() -> None:
    assert FILE.name == "paper_values.csv" and FILE.parent.name == "config"
