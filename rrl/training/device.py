"""Where a stage computes, how exactly, and how batches get there and back without anybody waiting."""

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from rrl.arithmetic import PORTABLE

Item = TypeVar("Item")
AHEAD = 2  # items that are made before they are asked for
ERROR = 1e-5  # of a product of float32, relative to its largest value


def prepare(threads: int, arithmetic: str, precision: str = "float32") -> torch.device:
    """Set the number of threads of this process and how float32 numbers are multiplied; the device to compute on: a GPU
    where there is one, but for portable arithmetic.

    precision : float32, tf32 or bfloat16. With tf32 a GPU keeps 10 of the 23 bits of each factor, in convolutions and
    in products of matrices. With float32, and in what bfloat16 leaves in float32, it keeps all; torch's default is
    TF32 in convolutions, which puts features off by 8e-4 rather than 5e-7 of their size. A CPU has no TF32.

    Deterministic algorithms are asked for on a GPU only: on the CPU the operations used here have no
    other, and asking imports a second of unrelated modules.
    """
    torch.set_num_threads(threads)
    if arithmetic == PORTABLE or not torch.cuda.is_available():
        _products().fp32_precision = "none"  # torch's own
        if precision == "tf32":
            print("precision tf32: a CPU has none, it computes in float32", file=sys.stderr)
        return torch.device("cpu")
    torch.use_deterministic_algorithms(True)
    # Filling costs a tenth of a training step. It makes results repeatable of code that reads memory before anything
    # was written there: all tensors that are made empty here are written whole first.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # torch's older flags set the newer ones, `fp32_precision`, as well. After the newer ones alone, code that asks for
    # the older ones, some of it in torch, raises.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


class Movable(Protocol):
    """What becomes a tensor on a device."""

    def on(self, device: torch.device) -> Tensor: ...


def on_device(values: Tensor | Movable, device: torch.device) -> Tensor:
    """Copied there, where it is not there yet, without waiting for it."""
    if not isinstance(values, Tensor):
        return values.on(device)
    if device.type == "cpu" or values.is_cuda:
        return values
    return values.pin_memory().to(device, non_blocking=True)


def batches_on_device(
    batches: Iterable[tuple[Tensor | Movable, ...]], device: torch.device
) -> Iterator[tuple[Tensor, ...]]:
    """The batches, in order, on the device. For a GPU they are made, and copied, while it computes: by a thread of
    their own, on a stream of their own."""
    if device.type == "cpu":
        for batch in batches:
            yield tuple(on_device(part, device) for part in batch)
        return
    stream = torch.cuda.Stream(device)

    def copied() -> Iterator[tuple[tuple[Tensor, ...], torch.cuda.Event]]:
        for batch in batches:
            with torch.cuda.stream(stream):
                there = tuple(on_device(part, device) for part in batch)
                event = stream.record_event()
            yield there, event

    for batch, event in ahead(copied(), device):
        current = torch.cuda.current_stream(device)
        current.wait_event(event)
        for part in batch:
            part.record_stream(current)  # its memory is not used again before what is queued there is done
        yield batch


class Coming:
    """A tensor on its way from the device to the host; `get` waits until it is there."""

    def __init__(self, tensor: Tensor):
        self.values = tensor.to("cpu", non_blocking=True)  # into pinned memory, without waiting
        self.event = torch.cuda.current_stream(tensor.device).record_event() if tensor.is_cuda else None

    def get(self) -> Tensor:
        if self.event is not None:
            self.event.synchronize()
        return self.values


def on_host(tensors: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """The tensors, in order, on the CPU. Of a GPU some are computed before the first is waited for."""
    late = 0 if device.type == "cpu" else AHEAD
    coming: deque[Coming] = deque()
    for tensor in tensors:
        coming.append(Coming(tensor))
        if len(coming) > late:
            yield coming.popleft().get()
    for last in coming:
        yield last.get()


def ahead(items: Iterable[Item], device: torch.device) -> Iterator[Item]:
    """The items, in order. For a GPU, a thread makes the next ones while the GPU works; on the CPU, whose cores are
    all at work, they are made when they are asked for.

    For a GPU the first item is made at once, by the calling thread: processes that are started for it are then children
    of that thread, and inherit no file that the caller opens afterwards.
    """
    iterator = iter(items)
    if device.type == "cpu":
        return iterator
    end = object()
    return _made_by_a_thread(next(iterator, end), iterator, end)


def _made_by_a_thread(first: Any, iterator: Iterator[Item], end: object) -> Iterator[Item]:
    """first : the item, or `end` if there is none."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(AHEAD))
        item = first
        while item is not end:
            yield item
            item = waiting.popleft().result()
            waiting.append(thread.submit(next, iterator, end))


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
