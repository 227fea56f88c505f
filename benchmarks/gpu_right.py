"""Whether results on a device are right: against the CPU, in float64 where the code has it, and from run to run.

Errors are relative to the largest value. A training is chaotic: after twenty steps in float32 two processors have
different networks, and after two in bfloat16 half of where the weights went is rounding. So twenty steps are compared
in float64, where what is left is 1e-14, and in other precisions the first step, from several starts: its gradient, with
weight decay. The error is the norm over all weights of the difference, as a share of the norm of the step in float64.

The bounds are multiples of the CPU's own error in the same run. A gradient jumps where rounding moves one
activation across the kink of a ReLU, or max pooling picks another pixel: in float32, of the full size, one start in
three is off by 5e-3, the others by 1e-5. So float32 is judged by its best start. TF32 in its place is off by 0.1 at
each.
"""

import copy
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_made_up import (
    CPU,
    DECAYS,
    Double,
    Loop,
    Machine,
    digest_of,
    error_of,
    features,
    on_disk,
    quiet,
    random_trunk,
    transform_of,
)  # fmt: skip
from benchmarks.gpu_report import Row
from benchmarks.gpu_stages import make_pictures
from rrl.config.settings import Constant, Cosine, HeadTraining, Recipe, Step
from rrl.data.images import Split, inputs
from rrl.data.reading import read
from rrl.heads.lbfgs import fit_heads
from rrl.heads.picking import all_logits
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.networks.inference import for_inference
from rrl.networks.trunks import Network, build_trunk
from rrl.stages.distill import distillation, view_batches
from rrl.stages.finetune import BestEpoch, Evaluation
from rrl.training.batches import epoch_batches, step_batches
from rrl.training.device import on_device
from rrl.training.train import CLASSIFICATION, Objective, train

STARTS = 5
LEAST = 20  # times the CPU's error in float32, at most, at the best start
# Times the CPU's median error in bfloat16, at most. TF32 has three bits more: on CPUs it comes to 0.3.
MEDIAN = {"tf32": 0.6, "bfloat16": 1.5}


def made_inputs(machine: Machine) -> Iterator[Row]:
    """Pixels from other processes, normalised on the device."""
    images = np.random.default_rng(0).integers(0, 256, (100, 40, 40, 3), dtype=np.uint8)
    data, transform = Split(images, np.arange(100)), transform_of(32, 36)
    order = np.random.default_rng(1).permutation(100)
    wanted = [(part, draw) for draw in ("a", None) for part in (order[:70], order[70:])]
    there = [on_device(batch, machine.device) for batch in read(data, transform, wanted, machine.device)]
    here = [inputs(data, positions, transform, draw) for positions, draw in wanted]
    same = [torch.equal(ours.cpu(), one) for ours, one in zip(there, here, strict=True)]
    yield Row("inputs of a network: bytes of the CPU's", all(same), "yes")


def extraction(machine: Machine, arch: str) -> Iterator[Row]:
    size, device, count = machine.size, machine.device, 8
    trunk = random_trunk(arch)
    images = torch.randn(count, 3, size.pixels, size.pixels, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = copy.deepcopy(trunk).double()(images.double())
    own = error_of(for_inference(trunk, "float32", CPU, False, count)(images), exact)
    bounds = {"float32": 20 * own, "tf32": 0.01, "bfloat16": 0.05}
    for precision in machine.precisions:
        machine.prepare(precision)
        features_of = for_inference(trunk, precision, device, False, count)
        ours = features_of(images)
        note = f"CPU {own:.1e}" if precision == "float32" else ""
        yield Row(
            f"{arch}, {precision}: features against float64",
            error_of(ours, exact),
            f"<= {bounds[precision]:.1e}",
            note,
        )
        yield Row(f"{arch}, {precision}: same bytes twice", digest_of(ours) == digest_of(features_of(images)), "yes")
    machine.prepare("float32")


def probes(machine: Machine) -> Iterator[Row]:
    """The sweep of all settings, with batch norm as a probe has it and without as the second stage has it."""
    (count, depth, classes), device = machine.size.probed, machine.device
    settings = [Setting(rate, decay) for rate in (0.01, 0.1) for decay in DECAYS[:3]]
    schedule = Step("step", [2, 4], 0.1)
    training = HeadTraining(5, 0, 256, 0.9, True, schedule, 0)
    head = initial_head(classes, depth, 0)
    exact_head = head[0].double(), head[1].double()

    def by(device: torch.device, head: tuple[Tensor, Tensor], norm: bool, disk: bool = False) -> tuple[Any, Any, Any]:
        """Weights, correct images of val after each epoch, and logits of test of what was picked."""
        parts = {"train": count, "val": count // 4, "test": count // 4}
        data = {name: features(part, depth, classes, seed, device) for seed, (name, part) in enumerate(parts.items())}
        images = on_disk(data["train"], machine.folder / "train.h5", device) if disk else data["train"]
        selections, curves = train_heads(head, images, data, ["heldout", "paper"], settings, training, norm)
        picked = selections["heldout"]
        assert picked.head is not None
        return picked.head.weight, curves["val"]["correct"], torch.from_numpy(all_logits(picked.head, data)["test"])

    for norm, name in ((True, "probe"), (False, "two-stage head")):
        exact, correct, scores = by(CPU, exact_head, norm)
        ours, there, logits = by(device, exact_head, norm)
        yield Row(f"{name}, float64: weights against the CPU", error_of(ours, exact), "<= 1e-9")
        yield Row(f"{name}, float64: logits of test", error_of(logits, scores), "<= 1e-9")
        yield Row(f"{name}, float64: correct images after each epoch", there == correct, "yes")
        own = error_of(by(CPU, head, norm)[0], exact)
        ours = by(device, head, norm)[0]
        bound = f"<= {20 * own + 1e-6:.1e}"
        yield Row(f"{name}, float32: weights against float64", error_of(ours, exact), bound, f"CPU {own:.1e}")
        again = by(device, head, norm)[0]
        yield Row(f"{name}, float32: same bytes twice", digest_of(ours) == digest_of(again), "yes")
        stored = by(device, head, norm, disk=True)[0]
        yield Row(f"{name}, float32: same bytes from features on disk", digest_of(ours) == digest_of(stored), "yes")


def lbfgs(machine: Machine) -> Iterator[Row]:
    (count, depth, classes), device = machine.size.probed, machine.device
    decays = [1e-4, 1e-2]

    def by(device: torch.device) -> tuple[Tensor, list[Any]]:
        heads, fits = fit_heads(features(count, depth, classes, 0, device), classes, decays, 200, 1e-6, True)
        return heads.weight, fits

    torch.set_default_dtype(torch.float64)
    try:
        (exact, fits), (ours, there) = by(CPU), by(device)
    finally:
        torch.set_default_dtype(torch.float32)
    single, in_single = by(device)
    for kind, fitted, bound in (("float64", there, "<= 1e-6"), ("float32", in_single, "<= 1e-4")):
        for one, other in zip(fits, fitted, strict=True):
            note = f"{other.iterations} iterations, CPU in float64 {one.iterations}"
            off = abs(other.objective / one.objective - 1)
            yield Row(f"L-BFGS, {kind}, weight decay {one.weight_decay}: objective", off, bound, note)
    yield Row("L-BFGS, float64: weights against the CPU", error_of(ours, exact), "<= 1e-3")
    yield Row("L-BFGS, float32: same bytes twice", digest_of(single) == digest_of(by(device)[0]), "yes")


def training(machine: Machine, protocol: str) -> Iterator[Row]:
    """A protocol by the one training loop."""
    device, steps = machine.device, 20
    exact, losses = trained(machine, protocol, CPU, steps, double=True)
    ours, there = trained(machine, protocol, device, steps, double=True)
    yield Row(f"{protocol}, {steps} steps in float64: weights against the CPU", error_of(ours, exact), "<= 1e-7")
    if losses:
        yield Row(f"{protocol}: loss of evaluation after the epoch", abs(there[0] / losses[0] - 1), "<= 1e-5")
    exact_ends = exact_steps(machine, protocol)
    own = {precision: errors(machine, protocol, CPU, precision, exact_ends) for precision in ("float32", "bfloat16")}
    for precision in machine.precisions:
        off = errors(machine, protocol, device, precision, exact_ends)
        note = f"of {STARTS} starts; most {max(off):.1e}"
        if precision == "float32":
            bound = f"<= {LEAST * min(own['float32']):.1e}"
            note += f"; CPU {min(own['float32']):.1e} to {max(own['float32']):.1e}"
            yield Row(f"{protocol}, first step in float32: least error", min(off), bound, note)
        else:
            usual = statistics.median(own["bfloat16"])
            bound = f"<= {MEDIAN[precision] * usual:.2g}"
            note += f"; CPU in bfloat16 {usual:.2g}"
            yield Row(f"{protocol}, first step in {precision}: median error", statistics.median(off), bound, note)
        ends = {digest_of(trained(machine, protocol, device, steps, precision=precision)[0]) for _ in range(2)}
        yield Row(f"{protocol}, {steps} steps in {precision}: same bytes twice", len(ends) == 1, "yes")
    machine.prepare("float32")


def exact_steps(machine: Machine, protocol: str) -> list[tuple[Tensor, Tensor]]:
    """The weights before and after one step from each start, by the CPU in float64."""
    ends = [
        [trained(machine, protocol, CPU, steps, double=True, seed=seed)[0] for steps in (0, 1)]
        for seed in range(STARTS)
    ]
    return [(before, after) for before, after in ends]


def errors(
    machine: Machine, protocol: str, device: torch.device, precision: str, exact: list[tuple[Tensor, Tensor]]
) -> list[float]:
    """Of one step from each start, against what is exact, as a share of its length."""
    ends = [trained(machine, protocol, device, 1, precision=precision, seed=seed)[0] for seed in range(STARTS)]
    return [
        float((end.double() - after).norm() / (after - before).norm())
        for end, (before, after) in zip(ends, exact, strict=True)
    ]


def trained(
    machine: Machine, protocol: str, device: torch.device, steps: int, double: bool = False,
    precision: str = "float32", seed: int = 0,
) -> tuple[Tensor, list[float]]:  # fmt: skip
    """The weights after so many steps, as one vector, and the losses that were seen in evaluation.

    seed : of the weights at the start. The images are the same.
    """
    (arch, pixels, batch), classes, teachers, length = machine.size.compared, 10, 2, 20
    if device.type == machine.device.type:
        machine.prepare(precision)
    images = np.random.default_rng(0).integers(0, 256, (length * batch, pixels, pixels, 3), dtype=np.uint8)
    data, transform = Split(images, np.arange(len(images)) % classes), transform_of(pixels)
    recipe = Recipe(1, batch, 0.02, 0.9, False, 1e-4, True, Constant("constant"), precision)
    objective: Objective = CLASSIFICATION

    def batches(epoch: int, skipped: int) -> Iterator[Any]:
        """Of an epoch of twenty steps, however many are taken."""
        if protocol == "pretrain":
            return epoch_batches(data, transform, batch, 0, epoch, skipped, device=device)
        if protocol == "finetune":
            return step_batches(data, transform, batch, 0, epoch, length, skipped, device=device)
        return view_batches(data, transform, ["source/train/0"], wanted, batch, 0, epoch, skipped, device=device)

    if protocol == "finetune":
        recipe = replace(recipe, weight_decay=5e-4, decay_norm=False, schedule=Cosine("cosine", 1e-7))
    if protocol == "distill":
        random = torch.Generator().manual_seed(0)
        wanted = torch.randn(1, len(images), teachers, classes, generator=random).half()
        objective = distillation(4.0)

    def first(epoch: int, skipped: int) -> Iterator[Any]:
        return itertools.islice(batches(epoch, skipped), steps)

    torch.manual_seed(seed)
    network: Any = Network(build_trunk(arch), classes * (teachers if protocol == "distill" else 1))
    network = Double(network) if double else network
    network.to(device).to(memory_format=torch.channels_last)
    after = BestEpoch(network, data.take(np.arange(2 * batch)), Evaluation(transform, batch, device))
    evaluated = protocol == "finetune" and steps == length
    if steps:
        with quiet():
            train(
                network, first, steps, recipe, device, after_epoch=after if evaluated else lambda epoch: None,
                objective=objective,
            )  # fmt: skip
    return torch.cat([parameter.detach().flatten().cpu() for parameter in network.parameters()]), after.loss


def architectures(machine: Machine) -> Iterator[Row]:
    """What torch has no deterministic algorithm for is an error."""
    for arch in machine.size.trained:
        try:
            ends = set()
            for _ in range(2):
                loop = Loop(arch, 224, 4, 2, machine.device, "float32")
                loop.ours()
                ends.add(digest_of(*loop.network.parameters()))
            yield Row(f"{arch}, two steps: same bytes twice", len(ends) == 1, "yes")
        except Exception as error:
            yield Row(f"{arch}, two steps", False, "yes", " ".join(str(error).split())[:200])


class Stages:
    """All stages by their command lines, in processes of their own: on the device; there, stopped in a training and
    started again; and on the CPU. They run while other sections do."""

    def __init__(self, machine: Machine, wanted: bool):
        self.machine, self.folder = machine, machine.folder
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.status: int | None = None
        if not wanted:
            return
        make_pictures(self.folder / "pictures", 4, 75)
        self.start("first", machine.device)
        self.start("stopped", machine.device, "--stop-at", "5")
        if machine.cuda:
            self.start("cpu", CPU)
        self.going_on = threading.Thread(target=self._go_on, daemon=True)
        self.going_on.start()

    def _go_on(self) -> None:
        self.status = self.children["stopped"].wait()
        if self.status == 143:  # and not killed, as at the end of all
            self.start("stopped-on", self.machine.device)

    def start(self, name: str, device: torch.device, *options: str) -> None:
        words = ["--folder", str(self.folder / name.removesuffix("-on")), "--pictures", str(self.folder / "pictures")]
        words += ["--threads", str(max(1, self.machine.cores // 8)), *options]
        with open(self.folder / f"{name}.log", "w") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu_stages", *words], stdout=log, stderr=log,
                env=os.environ | ({} if device.type == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}),
            )  # fmt: skip

    def stop(self) -> None:
        for child in list(self.children.values()):
            child.kill()
            child.wait()

    def rows(self) -> Iterator[Row]:
        self.going_on.join()
        yield Row("a training that gets SIGTERM ends with status 143", self.status == 143, "yes", str(self.status))
        for name, child in self.children.items():
            if child.wait() not in (0, 143):
                text = (self.folder / f"{name}.log").read_text()
                yield Row(f"stages, {name}", False, "yes", " ".join(text[-400:].split()))
        first, again = (json.loads((self.folder / name / "stages.json").read_text()) for name in ("first", "stopped"))
        for artifact, made in first.items():
            error = made.get("error", "").strip()
            memory = f", {made['memory'] / 1e6:.0f} MB" if made.get("memory") else ""
            note = f"{made.get('seconds', 0):.1f} s{memory}" if not error else error.splitlines()[-1][:300]
            same = "digest" in made and made["digest"] == again.get(artifact, {}).get("digest")
            yield Row(f"{made['stage']}, {artifact}: same bytes in another process", same, "yes", note)
        log = (self.folder / "stopped-on.log").read_text()
        yield Row("there the first training was stopped, and went on", "goes on at epoch" in log, "yes")
        if self.machine.cuda:
            yield from self._against_cpu()

    def _against_cpu(self) -> Iterator[Row]:
        here, there = self.folder / "first/results", self.folder / "cpu/results"
        for path in sorted(here.glob("records/**/*.json")):
            if ".run." not in path.name:
                tops = [
                    [entry["top1"] for entry in results_of(root / path.relative_to(here))] for root in (here, there)
                ]
                worst = 100 * max(abs(a - b) for a, b in zip(*tops, strict=True))
                yield Row(f"{path.stem}: points of top-1 from the CPU", worst, "", "60 images, networks of other bits")


def results_of(record: Path) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads(record.read_text())["facts"]["results"]
    return results
