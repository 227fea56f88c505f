"""How fast a device is used, as shares of limits that are measured in the same run, in turn; 1 is the limit."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu_made_up import (
    DECAYS,
    Loop,
    Machine,
    arrays,
    error_of,
    features,
    jpegs,
    quiet,
    random_trunk,
    share,
    transform_of,
    undetermined,
)  # fmt: skip
from benchmarks.gpu_report import ENOUGH, Row
from rrl.config.settings import Constant, HeadTraining, Photographs
from rrl.data.images import Split, pixels_of
from rrl.data.reading import Pixels, read
from rrl.heads.graphs import sweep_of
from rrl.heads.lbfgs import TrainingImages, fit_heads
from rrl.heads.sweep import Heads
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.networks.inference import folded, for_inference
from rrl.stages.extract import extract_split
from rrl.training.batches import epoch_batches
from rrl.training.device import batches_on_device, on_host

REACHED = f">= {ENOUGH}"
ONCE = Constant("constant")


def limits(machine: Machine) -> Iterator[Row]:
    """What the machine does at most."""
    size, device = machine.size, machine.device
    a, b = torch.randn(2, size.matrix, size.matrix, device=device)
    half = a.bfloat16(), b.bfloat16()
    source = torch.zeros(size.copied // 4, dtype=torch.int32, device=device)
    target = torch.empty_like(source)

    def product(precision: str) -> None:
        machine.prepare(precision)
        left, right = half if precision == "bfloat16" else (a, b)
        left @ right

    kinds = ("float32", "tf32", "bfloat16")
    works: dict[str, Callable[[], object]] = {kind: lambda kind=kind: product(kind) for kind in kinds}
    seconds = machine.turns(works | {"copy": lambda: target.copy_(source)}, 5)
    for kind in kinds:
        rate = 2 * size.matrix**3 / min(seconds[kind])
        yield Row(f"product of {size.matrix} x {size.matrix} matrices, {kind}, TFLOP/s", rate / 1e12)
    machine.prepare("float32")
    machine.limits["copy"] = 2 * size.copied / min(seconds["copy"])
    yield Row("copy on the device, GB/s read and written", machine.limits["copy"] / 1e9)


def forward(machine: Machine, precision: str) -> Iterator[Row]:
    """From pixels in the host's memory to features there, against the network alone, compiled, on the device. On a CPU,
    where it would take half a minute, nothing is compiled."""
    size, device = machine.size, machine.device
    machine.prepare(precision)
    trunk, batch, number = random_trunk(size.arch), size.batch, 8
    made = Pixels(torch.from_numpy(arrays(batch, size.pixels).images), transform_of(size.pixels))
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    bare = folded(trunk).to(device=device, dtype=kind).to(memory_format=torch.channels_last)
    there = made.on(device)
    start = time.perf_counter()
    features_of = machine.forwards[precision] = for_inference(trunk, precision, device, machine.cuda, batch)
    ours = features_of(there)
    machine.wait()
    took = time.perf_counter() - start
    inputs = there.to(kind)
    program = torch.compile(bare, dynamic=False) if machine.cuda else bare
    with torch.no_grad():
        error = error_of(ours, bare(inputs).float())

    def alone(run: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def work() -> None:
            with torch.no_grad():
                for _ in range(number):
                    run(inputs)

        return work

    def from_host() -> None:
        there = batches_on_device(((made,) for _ in range(number)), device)
        for _ in on_host((features_of(images) for (images,) in there), device):
            pass

    seconds = machine.turns({"bare": alone(bare), "compiled": alone(program), "ours": from_host})
    rate = machine.limits[precision] = number * batch / min(seconds["compiled"])
    name = f"forward, {size.arch}, {precision}"
    gain = share(seconds, "compiled", "bare")
    yield Row(f"{name}: compiled, images/s", rate, "", f"{gain:.2f} times as many as not compiled")
    note = f"first call {took:.0f} s; error {error:.0e}"
    yield Row(f"{name}: from and to the host's memory / compiled", share(seconds, "ours", "compiled"), REACHED, note)
    machine.prepare("float32")


def extraction(machine: Machine) -> Iterator[Row]:
    """rrl.stages.extract.extract_split into a file, against the slower of the compiled forward pass and reading alone.

    Reading and extraction take turns, and one whole pass of each comes first, unmeasured: by then every process that
    reads has started and made its first images. Timed after one batch, which reached half of 16 processes, reading
    seemed half as fast as extraction, of which it is a part."""
    size, device = machine.size, machine.device
    trunk, path = random_trunk(size.arch), machine.folder / "features.h5"
    files, resized = jpegs(machine.folder / "jpegs", size.images), transform_of(size.pixels, size.pixels * 8 // 7)
    sources = (("JPEG files", files, resized), ("memory", arrays(size.images, size.pixels), transform_of(size.pixels)))
    few = np.arange(min(64, size.images))
    parts = np.arange(size.images)
    batches = [parts[start : start + size.batch] for start in range(0, size.images, size.batch)]
    programs = {}
    for precision in ("tf32", "bfloat16"):
        machine.prepare(precision)
        compiled = machine.forwards.get(precision)
        programs[precision] = compiled or for_inference(trunk, precision, device, False, size.batch)
    for source, data, transform in sources:

        def reading(data: Split = data, transform: Photographs = transform) -> None:
            deque_of(read(data, transform, ((part, None) for part in batches), device))

        def extracted(precision: str, data: Split = data, transform: Photographs = transform) -> None:
            machine.prepare(precision)
            run = programs[precision]
            with quiet():
                extract_split(run, trunk.feature_dim, data, transform, [None], "float16", size.batch, path, device)
            path.unlink()
            path.with_name(path.name + ".done").unlink()

        works: dict[str, Callable[[], object]] = {name: partial(extracted, name) for name in programs}
        seconds = machine.turns({"reading": reading, **works}, min(2, size.rounds))
        start = time.perf_counter()
        pixels_of(data, few, transform, None)
        one = len(few) / (time.perf_counter() - start)
        rate = size.images / min(seconds["reading"])
        name = f"pictures of 400 x 300 from {source}" if source == "JPEG files" else f"images from {source}"
        what = f"{name}, read by {machine.cores} processes / so many times one"
        yield Row(what, rate / one / machine.cores, "", f"{rate:,.0f} images/s; one process {one:,.0f}")
        for precision in programs:
            ours, most = size.images / min(seconds[precision]), machine.limits.get(precision, math.nan)
            slower = "reading" if rate < most else "forward"
            note = f"{ours:,.0f} images/s; {slower} is the limit; {ours / most:.2f} of the forward pass"
            yield Row(f"extraction from {source}, {precision} / its limit", ours / min(rate, most), REACHED, note)
    machine.prepare("float32")


def deque_of(items: Iterator[object]) -> None:
    for _ in items:
        pass


def training(machine: Machine, arch: str, pixels: int, steps: int, precision: str) -> Iterator[Row]:
    """The training loop, from pixels in the host's memory, against a plain one whose inputs are on the device."""
    size = machine.size
    loop = Loop(arch, pixels, size.batch, steps, machine.device, precision)

    def fastest() -> None:
        with undetermined() if machine.cuda else nullcontext():
            loop.bare()

    works = {"bare": loop.bare, "ours": loop.ours, "reading": lambda: loop.bare(read=True), "fastest": fastest}
    seconds = machine.turns(works)
    rate, name = steps * size.batch / min(seconds["bare"]), f"training, {arch}, {pixels} px x {size.batch}, {precision}"
    yield Row(f"{name}: bare loop, images/s", rate, "", "deterministic, loss not read")
    yield Row(f"{name}: rrl / bare loop", share(seconds, "ours", "bare"), REACHED)
    yield Row(f"{name}: bare loop that waits for each loss / bare loop", share(seconds, "reading", "bare"))
    yield Row(f"{name}: bare loop, not deterministic / bare loop", share(seconds, "fastest", "bare"))
    machine.prepare("float32")


def training_from_files(machine: Machine) -> Iterator[Row]:
    """Augmented pictures from files, as pretraining reads them."""
    size, steps = machine.size, 8
    data = jpegs(machine.folder / "jpegs", steps * size.batch)
    transform = transform_of(size.pixels, size.pixels * 8 // 7)
    loop = Loop(size.arch, size.pixels, size.batch, steps, machine.device, "bfloat16")

    def batches(epoch: int, skipped: int) -> Iterator[Any]:
        return epoch_batches(data, transform, size.batch, 0, epoch, skipped, device=machine.device)

    works = {"files": lambda: loop.ours(batches), "reading": lambda: deque_of(batches(0, 0)), "bare": loop.bare}
    seconds = machine.turns(works)
    reads, computes = (min(seconds[name]) for name in ("reading", "bare"))
    note = (
        f"{steps * size.batch / min(seconds['files']):,.0f} images/s; reading alone {steps * size.batch / reads:,.0f}"
    )
    reached = max(reads, computes) / min(seconds["files"])
    yield Row("training from JPEG files, bfloat16 / the slower of reading and the bare loop", reached, REACHED, note)
    machine.prepare("float32")


def probe_epoch(machine: Machine, shape: tuple[int, int, int, int]) -> Iterator[Row]:
    """An epoch of a sweep against its two products and the bytes that an update moves: weights and velocities, read
    and written; and objective and gradient of L-BFGS against theirs."""
    (count, depth, classes, number), device = shape, machine.device
    data = features(count, depth, classes, 0, device)
    settings = [Setting(0.01, decay) for decay in DECAYS[:number]]
    head = initial_head(classes, depth, 0)
    steps = -(-count // 256)
    x, errors = torch.randn(256, depth, device=device), torch.randn(256, classes, device=device)
    weights = torch.randn(number, classes, depth, device=device)

    def products() -> None:
        for _ in range(steps):
            for weight in weights:
                x @ weight.T
                errors.T @ x

    epochs = 4  # the start, some steps one by one and the recording, is a small part
    training = HeadTraining(epochs, 0, 256, 0.9, True, Constant("constant"), 0)
    works = {"ours": lambda: train_heads(head, data, {}, [], settings, training, True), "products": products}
    seconds = machine.turns(works, 2)
    moved = steps * 16 * number * classes * depth / machine.limits.get("copy", math.inf)
    ours, alone = min(seconds["ours"]) / epochs, min(seconds["products"])
    note = (
        f"{1000 * ours / steps:.2f} ms a step; products {1000 * alone / steps:.2f}, update {1000 * moved / steps:.2f}"
    )
    name = f"{depth:,} x {classes:,}"
    yield Row(
        f"probe, {number} settings, {name}: products and update / an epoch", (alone + moved) / ours, REACHED, note
    )
    images = TrainingImages.prepare(data, True)
    weight, bias = (part.to(device) for part in head)
    big = torch.randn(images.rows, depth, device=device)
    many = torch.randn(images.rows, classes, device=device)

    def alone_lbfgs() -> None:
        for _ in range(-(-count // images.rows)):
            big @ weight.T
            many.T @ big

    seconds = machine.turns({"ours": lambda: images.cross_entropy(weight, bias), "products": alone_lbfgs})
    yield Row(f"L-BFGS, {name}: products / objective and gradient", share(seconds, "ours", "products"), REACHED)


def sweeps(machine: Machine, errors: bool) -> Iterator[Row]:
    """All settings together, against one after the other by torch.nn: the error, or the time."""
    size, device, steps = machine.size, machine.device, 50
    for depth, classes in ((size.epoch[1], 10), size.epoch[1:3], (size.large[1], 100)):
        x = torch.randn(256, depth, device=device)
        labels = torch.arange(256, device=device) % classes
        head = [part.to(device) for part in initial_head(classes, depth, 0)]

        def together(head: Any = head, x: Tensor = x, labels: Tensor = labels) -> Tensor:
            heads = Heads.create(*head, len(DECAYS), True)
            sweep = sweep_of(heads, DECAYS, [1.0] * len(DECAYS), 0.9, True, True)
            for _ in range(steps):
                sweep.step(x, labels, 0.01)
            return heads.weight

        def one_by_one(head: Any = head, x: Tensor = x, labels: Tensor = labels) -> Tensor:
            heads = []
            for decay in DECAYS:
                norm = nn.BatchNorm1d(x.shape[1], device=device)
                linear = nn.Linear(x.shape[1], len(head[1]), device=device)
                linear.load_state_dict({"weight": head[0], "bias": head[1]})
                groups = [{"params": linear.parameters(), "weight_decay": decay}, {"params": norm.parameters()}]
                optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)
                for _ in range(steps):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(linear(norm(x)), labels).backward()
                    optimizer.step()
                heads.append(linear.weight.detach())
            return torch.stack(heads)

        name = f"six weight decays, {depth:,} x {classes:,}"
        if errors:
            yield Row(f"{name}: error against torch.nn", error_of(together(), one_by_one()), "<= 1e-5")
        else:
            seconds = machine.turns({"together": together, "one by one": one_by_one})
            yield Row(f"{name}: together / one by one by torch.nn", share(seconds, "together", "one by one"), ">= 1")


def waits(machine: Machine) -> Iterator[Row]:
    """How often the host waits for the GPU."""
    size, device = machine.size, machine.device
    if not machine.cuda:
        return
    for precision in ("tf32", "bfloat16"):
        loop = Loop(*size.small, size.batch, size.steps, device, precision)
        loop.ours()
        yield Row(f"training, {size.small[0]}, {precision}: waits of a step", counted(loop.ours) / size.steps, "<= 0.2")
    machine.prepare("float32")
    count, depth, classes = size.probed
    data, head = features(count, depth, classes, 0, device), initial_head(classes, depth, 0)
    settings = [Setting(0.01, decay) for decay in DECAYS]

    def epochs(number: int, rules: list[str]) -> int:
        training = HeadTraining(number, 0, 256, 0.9, True, Constant("constant"), 0)
        return counted(lambda: train_heads(head, data, {"val": data}, rules, settings, training, True))

    steps = -(-count // 256)
    epochs(1, ["heldout"])
    yield Row("probe: waits of a step", (epochs(20, []) - epochs(10, [])) / 10 / steps, "<= 0.2")
    yield Row("probe: waits of an evaluation", (epochs(10, ["heldout"]) - epochs(10, [])) / 10)
    fitted: list[Any] = []
    number = counted(lambda: fitted.extend(fit_heads(data, classes, [1e-3], 20, 0.0, True)[1]))
    yield Row("L-BFGS: waits of an iteration", number / fitted[0].iterations)
    trunk, batches = random_trunk(size.small[0]), 20
    made = Pixels(torch.from_numpy(arrays(size.batch, size.small[1]).images), transform_of(size.small[1]))
    features_of = for_inference(trunk, "float32", device, False, size.batch)

    def extracted() -> None:
        there = batches_on_device(((made,) for _ in range(batches)), device)
        deque_of(on_host((features_of(images) for (images,) in there), device))

    extracted()
    yield Row("extraction: waits of a batch", counted(extracted) / batches, "<= 0.2")


def counted(work: Callable[[], object]) -> int:
    """How often the host waited for the GPU in it; for an event, which is some steps late, it may."""
    torch.cuda.synchronize()
    silent: AbstractContextManager[Any] = quiet()
    with warnings.catch_warnings(record=True) as caught, silent:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught)
