"""Where a stage computes, and how it is kept at work."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from rrl.arithmetic import NATIVE
from rrl.training.device import ahead, multiply_by_onednn, prepare

CPU = torch.device("cpu")
GPU = torch.device("cuda")


def numbers(count: int, made: list[int]) -> Iterator[int]:
    for number in range(count):
        made.append(threading.get_ident())
        yield number


@pytest.mark.parametrize("count", [0, 1, 7])
def test_items_made_ahead_are_the_same_in_the_same_order(count: int) -> None:
    """As for a GPU, which the items themselves do not need. This thread makes the first."""
    made: list[int] = []
    assert list(ahead(numbers(count, made), GPU)) == list(range(count))
    assert [thread == threading.get_ident() for thread in made] == ([True] + [False] * (count - 1))[:count]
    assert list(ahead(numbers(count, made), CPU)) == list(range(count))
    assert made[count:] == [threading.get_ident()] * count


def test_no_more_are_made_than_two_ahead() -> None:
    made: list[int] = []
    items = ahead(numbers(100, made), GPU)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert len(made) <= 4


def test_an_error_comes_where_the_item_would() -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    items = ahead(fails(), GPU)
    assert next(items) == 1
    with pytest.raises(KeyError, match="broken"):
        next(items)


def products() -> Any:
    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="a torch without oneDNN")
def test_products_by_onednn_are_as_exact_as_others() -> None:
    multiply_by_onednn(CPU)
    random = torch.Generator().manual_seed(1)
    left, right = torch.randn(300, 2000, generator=random), torch.randn(2000, 70, generator=random)
    exact = left.double() @ right.double()
    assert float((left @ right - exact).abs().max() / exact.abs().max()) < 1e-5


def test_where_onednn_rounds_more_torchs_own_products_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrl.training.device.ERROR", 0.0)
    multiply_by_onednn(CPU)
    assert products().fp32_precision == "none"


def test_a_training_multiplies_by_torchs_own_products_whatever_ran_before_it() -> None:
    multiply_by_onednn(CPU)
    assert prepare(torch.get_num_threads(), NATIVE).type == "cuda" or products().fp32_precision == "none"
