"""Where a stage computes."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from rrl.arithmetic import PORTABLE

Item = TypeVar("Item")
AHEAD = 2  # items that are made before they are asked for
ERROR = 1e-5  # of a product of float32, relative to its largest value


def prepare(threads: int, arithmetic: str) -> torch.device:
    """Set the number of threads of this process; the device to compute on: a GPU where there is one, but for portable
    arithmetic.

    Deterministic algorithms are asked for on a GPU only: on the CPU the operations used here have no
    other, and asking imports a second of unrelated modules.
    """
    torch.set_num_threads(threads)
    if arithmetic == PORTABLE or not torch.cuda.is_available():
        _products().fp32_precision = "none"  # torch's own
        return torch.device("cpu")
    torch.use_deterministic_algorithms(True)
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Copied there without waiting for it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def ahead(items: Iterable[Item], device: torch.device) -> Iterator[Item]:
    """The items, in order. For a GPU, a thread makes the next ones while the GPU works; on the CPU, whose cores are
    all at work, they are made when they are asked for."""
    if device.type == "cpu":
        yield from items
        return
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield cast(Item, item)


def multiply_by_onednn(device: torch.device) -> None:
    """On the CPU, if that is the device, float32 products by oneDNN, twice as fast as torch's own, where it rounds no
    more than they do.

    For stages that multiply large matrices: probes and extraction. In training little is gained, and it would end
    elsewhere, as it does after any other rounding.

    torch chooses it only where bfloat16 is allowed inside a product. oneDNN makes use of that on processors with
    units for such products (AMX), hence the look at one.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return
    products = _products()
    products.fp32_precision = "bf16"
    random = torch.Generator().manual_seed(0)
    left, right = torch.randn(128, 512, generator=random), torch.randn(512, 128, generator=random)
    exact = left.double() @ right.double()
    if float(((left @ right) - exact).abs().max() / exact.abs().max()) > ERROR:
        products.fp32_precision = "none"


def _products() -> Any:
    """How oneDNN may round inside products of matrices; `none` leaves float32 products to torch's own."""
    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
