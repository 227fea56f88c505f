"""A first look at a GPU: whether results are right there, how fast it is against what limits it, and in what memory.

    python -m benchmarks.gpu --out FOLDER
    python -m benchmarks.gpu --out FOLDER --device cpu --small

Everything is made up here: no data, no network, no Snakemake, no pydantic. The most important checks come first; each
may fail and the rest goes on. FOLDER/gpu.json and FOLDER/gpu.md are written again after every row, with the traceback
of what failed; the table is printed at the end.

right: against the CPU, in float64 where the code has it; same bytes where a computation runs twice, and where a
training that was stopped goes on in a new process. Errors are relative to the largest value. fast: speeds against
limits measured in the same run, each in turn; 1 is the limit. memory: the most that torch held in a check, of the GPU.
"""

import argparse
import contextlib
import copy
import functools
import gc
import hashlib
import importlib
import io
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.gpu_stages import is_missing, make_pictures, stand_in
from benchmarks.ratios import interleaved

LOCK_MISSING = stand_in()

from rrl.arithmetic import NATIVE  # noqa: E402
from rrl.artifacts.features import create  # noqa: E402
from rrl.distill import distillation, view_batches  # noqa: E402
from rrl.extract import extract_split  # noqa: E402
from rrl.finetune import BestEpoch, Evaluation  # noqa: E402
from rrl.lbfgs_probe import TrainingImages, fit_heads  # noqa: E402
from rrl.probing.cached import Columns, Data, OnDisk, open_features  # noqa: E402
from rrl.probing.heads import HeadTraining, Setting, all_scores, initial_head, train_heads  # noqa: E402
from rrl.probing.sweep import Heads, Sweep  # noqa: E402
from rrl.targets.images import Split, inputs  # noqa: E402
from rrl.targets.pictures import read_picture  # noqa: E402
from rrl.targets.transforms import Photographs  # noqa: E402
from rrl.training.batches import epoch_batches, step_batches  # noqa: E402
from rrl.training.device import ahead, prepare  # noqa: E402
from rrl.training.train import CLASSIFICATION, Batches, Objective, Recipe, train  # noqa: E402
from rrl.trunks.architectures import Network, build_trunk  # noqa: E402
from rrl.trunks.inference import compiles, folded, for_inference  # noqa: E402

CPU = torch.device("cpu")
LIBRARIES = ("pydantic", "snakemake", "click", "psutil", "threadpoolctl", "tabulate", "tqdm", "requests")
STEP = {"name": "step", "milestones": [8, 16, 24], "factor": 0.1}
DECAYS = [1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2]
STEPS = 20  # of each training that is compared
Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Size:
    """What is tried: on a GPU, and so small that a CPU is done in a minute."""

    matrix: int = 8192
    copied: int = 2**32  # bytes
    arch: str = "resnet50"
    extracted: tuple[str, ...] = ("resnet50", "vit_b16")
    pixels: int = 224
    forwarded: int = 256  # images of a forward pass
    files: int = 2048
    passes: int = 4  # over the files, in one extraction
    compared: tuple[str, int, int] = ("torchvision/resnet18", 48, 8)  # network, pixels, images of a step
    small: tuple[str, int, int] = ("cifar_resnet18", 32, 256)
    probed: tuple[int, int, int] = (4096, 512, 20)  # images, features, classes; in float64
    epoch: tuple[int, int, int, int] = (131072, 2048, 1000, 4)  # images, features, classes, settings
    large: tuple[int, int, int, int] = (8192, 20480, 8142, 3)
    trained: tuple[str, ...] = (
        "vit_b16", "torchvision/alexnet", "torchvision/vgg11_bn", "torchvision/densenet121", "torchvision/swin_t",
        "torchvision/squeezenet1_0", "torchvision/mobilenet_v3_small", "timm/efficientnet_b0", "timm/convnext_tiny",
    )  # fmt: skip
    rounds: int = 3


SMALL = Size(
    matrix=512, copied=2**24, arch="resnet8rgb", extracted=("resnet8rgb",), pixels=32, forwarded=16, files=64, passes=1,
    compared=("resnet8rgb", 32, 8), small=("resnet8rgb", 32, 32), probed=(512, 64, 5), epoch=(2048, 64, 10, 4),
    large=(512, 256, 50, 3), trained=("torchvision/mobilenet_v3_small",), rounds=2,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """found : a number, or whether it is so. wanted : what it must be, as a bound: `<= 1e-9`, `>= 0.9`, `yes`."""

    what: str
    found: Any
    wanted: str = ""
    note: str = ""

    @property
    def missed(self) -> bool:
        if self.wanted == "yes":
            return self.found is not True
        if not self.wanted:
            return False
        sign, bound = self.wanted.split()
        return not (self.found <= float(bound) if sign == "<=" else self.found >= float(bound))

    @property
    def text(self) -> str:
        if isinstance(self.found, bool):
            return "yes" if self.found else "no"
        return f"{self.found:.3g}" if isinstance(self.found, float) else str(self.found)


class OutOfTime(BaseException):
    """Not an Exception: code that goes on after any failure of a compiler must not go on after this."""


class Report:
    """What was seen. Written again after each row, so that whatever ends this process loses one row."""

    def __init__(self, folder: Path, seconds: float, device: torch.device):
        self.folder, self.device = folder, device
        self.begin, self.end = time.monotonic(), time.monotonic() + seconds
        self.checks: list[dict[str, Any]] = []
        self.environment: dict[str, Any] = {}
        signal.signal(signal.SIGALRM, _out_of_time)

    def run(self, name: str, check: Callable[[], Iterator[Row]], most: float, cuda_only: bool = False) -> None:
        """most : seconds that the check may take."""
        about: dict[str, Any] = {"check": name, "rows": []}
        self.checks.append(about)
        left = self.end - time.monotonic()
        if cuda_only and self.device.type != "cuda":
            about["skipped"] = "not without CUDA"
        elif left < 3:
            about["skipped"] = "no time left"
        if "skipped" in about:
            return self.write()
        _collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        print(f"{time.monotonic() - self.begin:6.1f} s  {name}", file=sys.stderr, flush=True)
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, min(most, left))
        try:
            for row in check():
                about["rows"].append({**asdict(row), "missed": row.missed, "text": row.text})
                self.write()
        except OutOfTime:
            about["error"] = f"cut off after {time.monotonic() - start:.0f} s"
        except Exception as error:
            about["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            about["traceback"] = traceback.format_exc()
            error.__traceback__ = None  # lets go of what is in its frames
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        about["seconds"] = round(time.monotonic() - start, 2)
        if self.device.type == "cuda":
            about["memory_bytes"] = torch.cuda.max_memory_allocated()
        self.write()
        return None

    def write(self) -> None:
        content = {"environment": self.environment, "checks": self.checks}
        for name, text in (("gpu.json", json.dumps(content, indent=1, default=str)), ("gpu.md", self.table())):
            partial = self.folder / f"{name}.partial"
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, self.folder / name)

    def table(self) -> str:
        lines = [f"{name}: {value}" for name, value in self.environment.items()]
        lines += ["", "| check | what | found | wanted | | note |", "|---|---|---|---|---|---|"]
        for check in self.checks:
            name = check["check"]
            for row in check["rows"]:
                missed = "**missed**" if row["missed"] else ""
                lines.append(f"| {name} | {row['what']} | {row['text']} | {row['wanted']} | {missed} | {row['note']} |")
            if "error" in check:
                lines.append(f"| {name} | **failed** | | | | {check['error'].replace('|', '/')} |")
            if "skipped" in check:
                lines.append(f"| {name} | not run | | | | {check['skipped']} |")
            if check.get("memory_bytes"):
                note = f"{check['seconds']:.0f} s"
                lines.append(f"| {name} | memory, GB | {check['memory_bytes'] / 1e9:.2f} | | | {note} |")
        return "\n".join(lines) + "\n"


def _out_of_time(number: int, frame: Any) -> None:
    raise OutOfTime


def _collect() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def error_of(found: Tensor, exact: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    exact = exact.detach().cpu().double()
    return float((found.detach().cpu().double() - exact).abs().max() / exact.abs().max())


def digest_of(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Of convolutions and products on the GPU."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def undetermined() -> Iterator[None]:
    """As fast as torch can, for limits: algorithms that need not give the same bytes twice, the fastest of them."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(torch.cuda.is_available())


class Look:
    """The checks. Each gives rows, one after the other."""

    def __init__(self, device: torch.device, size: Size, folder: Path, cores: int):
        self.device, self.size, self.folder, self.cores = device, size, folder, cores
        self.cuda = device.type == "cuda"
        self.limits: dict[str, float] = {}
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.transform = replace(transform_of(size.pixels), resize=size.pixels * 8 // 7)

    # Time

    def turns(self, works: dict[str, Callable[[], object]], rounds: int | None = None) -> Seconds:
        """Seconds of works that take their turn, the GPU's work included."""

        def whole(work: Callable[[], object]) -> Callable[[], object]:
            def run() -> None:
                work()
                self.wait()

            return run

        return interleaved({name: whole(work) for name, work in works.items()}, rounds or self.size.rounds)

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    # The machine

    def environment(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "cores": self.cores, "device": str(self.device), "filelock": "missing" if LOCK_MISSING else "there",
            "g++": shutil.which("g++") or "missing", "gcc": shutil.which("gcc") or "missing",
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }  # fmt: skip
        if self.cuda:
            card = torch.cuda.get_device_properties(self.device)
            found |= {
                "card": card.name, "memory": f"{card.total_memory / 1e9:.1f} GB",
                "multiprocessors": card.multi_processor_count, "cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(), "driver": driver(),
                "TF32 in convolutions": torch.backends.cudnn.allow_tf32,
                "TF32 in products": torch.backends.cuda.matmul.allow_tf32,
                "CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG", "not set"),
            }  # fmt: skip
        return found

    def imports(self) -> Iterator[Row]:
        """Modules of rrl that cannot be imported here, and why."""
        failed: dict[str, list[str]] = {}
        package = Path(__file__).parents[1] / "rrl"
        modules = sorted(path.relative_to(package.parent).with_suffix("") for path in package.rglob("*.py"))
        for path in modules:
            name = ".".join(path.parts).removesuffix(".__init__")
            try:
                importlib.import_module(name)
            except Exception as error:
                failed.setdefault(f"{type(error).__name__}: {error}", []).append(name)
        yield Row("modules of rrl that cannot be imported", sum(map(len, failed.values())), "", f"of {len(modules)}")
        for reason, names in failed.items():
            yield Row(reason, len(names), "", ", ".join(names))
        absent = [name for name in LIBRARIES if name not in sys.modules and is_missing(name)]
        yield Row("libraries that are missing", len(absent), "", ", ".join(absent))

    def determinism(self) -> Iterator[Row]:
        """Whether a product of matrices runs at all as rrl asks for it."""
        a = torch.randn(256, 256, device=self.device)
        try:
            a @ a
            works, note = True, ""
        except RuntimeError as error:
            works, note = False, " ".join(str(error).split())[:200]
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # for the rest
            note += "; set to :4096:8 for what follows"
        yield Row("products of matrices run as rrl.training.device.prepare leaves the process", works, "yes", note)

    def measured_limits(self) -> Iterator[Row]:
        """What the machine does at most, in numbers per second; the rest is compared with these."""
        side = self.size.matrix
        a, b = torch.randn(side, side, device=self.device), torch.randn(side, side, device=self.device)
        bfloat16 = a.bfloat16(), b.bfloat16()
        source = torch.empty(self.size.copied // 4, dtype=torch.int32, device=self.device).zero_()
        target = torch.empty_like(source)

        def exact() -> None:
            with tf32(False):
                a @ b

        def rounded() -> None:
            with tf32(True):
                a @ b

        seconds = self.turns(
            {
                "float32": exact, "tf32": rounded, "bfloat16": lambda: bfloat16[0] @ bfloat16[1],
                "copy": lambda: target.copy_(source),
            }, 5,
        )  # fmt: skip
        for name in ("float32", "tf32", "bfloat16"):
            self.limits[name] = 2 * side**3 / min(seconds[name])
            yield Row(f"product of {side} x {side} matrices, {name}, TFLOP/s", self.limits[name] / 1e12)
        self.limits["copy"] = 2 * self.size.copied / min(seconds["copy"])
        yield Row("copy on the device, GB/s read and written", self.limits["copy"] / 1e9)
        if self.cuda:
            del a, b, bfloat16, target
            source = source[: 2**26]
            pinned, pageable = (
                torch.empty_like(source, device="cpu").pin_memory(),
                torch.zeros(2**26, dtype=torch.int32),
            )
            seconds = self.turns(
                {
                    "pinned": lambda: source.copy_(pinned, non_blocking=True),
                    "pageable": lambda: source.copy_(pageable),
                    "pinning": lambda: source.copy_(pageable.pin_memory(), non_blocking=True),
                }
            )
            for name, times in seconds.items():
                yield Row(f"copy to the device, {name}, GB/s", 2**28 / min(times) / 1e9)

    # Right

    def extraction(self, arch: str) -> Iterator[Row]:
        count, pixels = min(8, self.size.forwarded), self.size.pixels
        trunk = random_trunk(arch)
        images = torch.randn(count, 3, pixels, pixels, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            exact = copy.deepcopy(trunk).double()(images.double())
        own = error_of(for_inference(trunk, "float32", CPU, False, count)(images), exact)
        wanted, note = f"<= {20 * own:.1e}", f"CPU {own:.1e}"
        features_of = for_inference(trunk, "float32", self.device, False, count)
        first = features_of(images)
        yield Row(f"{arch}, float32 as it is: features against float64", error_of(first, exact), wanted, note)
        yield Row(f"{arch}, float32, twice: same bytes", digest_of(first) == digest_of(features_of(images)), "yes")
        parts = torch.cat([features_of(part) for part in images.split(count // 2)])
        yield Row(f"{arch}, float32, in batches of half the size: same bytes", digest_of(first) == digest_of(parts))
        with tf32(False):
            error = error_of(features_of(images), exact)
        yield Row(f"{arch}, float32 without TF32: features against float64", error, wanted, note)
        bfloat16 = for_inference(trunk, "bfloat16", self.device, False, count)
        first = bfloat16(images)
        yield Row(f"{arch}, bfloat16: features against float64", error_of(first, exact), "<= 0.05")
        yield Row(f"{arch}, bfloat16, twice: same bytes", digest_of(first) == digest_of(bfloat16(images)), "yes")
        yield Row(f"{arch}: compiled for a million images, on this device", compiles(trunk, 10**6, self.device))

    def probes(self) -> Iterator[Row]:
        """The sweep of all settings, with batch norm as a probe has it and without as the second stage has it."""
        count, depth, classes = self.size.probed
        settings = [Setting(rate, decay) for rate in (0.01, 0.1) for decay in DECAYS[:3]]
        training = HeadTraining(3, 0, 256, 0.9, True, STEP, 0)
        head = initial_head(classes, depth, 0)
        exact_head = head[0].double(), head[1].double()

        def by(
            device: torch.device, head: tuple[Tensor, Tensor], norm: bool, disk: bool = False
        ) -> tuple[Any, Any, Any]:
            data = {
                split: made_up(count // share, depth, classes, seed, device)
                for seed, (split, share) in enumerate({"train": 1, "val": 4, "test": 4}.items())
            }
            images = on_disk(data["train"], self.folder / "train.h5", device) if disk else data["train"]
            selections, curves = train_heads(head, images, data, ["heldout", "paper"], settings, training, norm)
            picked = selections["heldout"]
            assert picked.head is not None
            return picked.head.weight, curves["val"], torch.from_numpy(all_scores(picked, data)["test"])

        for norm, name in ((True, "probe"), (False, "two-stage head")):
            exact, curves, scores = by(CPU, exact_head, norm)
            found, there, logits = by(self.device, exact_head, norm)
            yield Row(f"{name}, float64: weights against the CPU", error_of(found, exact), "<= 1e-9")
            yield Row(f"{name}, float64: logits of test", error_of(logits, scores), "<= 1e-9")
            yield Row(f"{name}, float64: correct images after each epoch", there["correct"] == curves["correct"], "yes")
            own = error_of(by(CPU, head, norm)[0], exact)
            found = by(self.device, head, norm)[0]
            error = error_of(found, exact)
            yield Row(f"{name}, float32: weights against float64", error, f"<= {20 * own + 1e-7:.1e}", f"CPU {own:.1e}")
            again = by(self.device, head, norm)[0]
            yield Row(f"{name}, float32, twice: same bytes", digest_of(found) == digest_of(again), "yes")
            stored = by(self.device, head, norm, disk=True)[0]
            yield Row(f"{name}, features from disk: same bytes", digest_of(found) == digest_of(stored), "yes")

    def lbfgs(self) -> Iterator[Row]:
        count, depth, classes = self.size.probed
        decays = [1e-4, 1e-2]

        def by(device: torch.device) -> tuple[Tensor, list[Any]]:
            heads, fits = fit_heads(made_up(count, depth, classes, 0, device), classes, decays, 200, 1e-6, True)
            return heads.weight, fits

        torch.set_default_dtype(torch.float64)
        try:
            exact, fits = by(CPU)
            found, there = by(self.device)
        finally:
            torch.set_default_dtype(torch.float32)
        for one, other in zip(fits, there, strict=True):
            note = f"{other.iterations} iterations, CPU {one.iterations}"
            difference = abs(other.objective / one.objective - 1)
            yield Row(f"L-BFGS, float64, decay {one.weight_decay}: objective", difference, "<= 1e-6", note)
        yield Row("L-BFGS, float64: weights against the CPU", error_of(found, exact), "<= 1e-3")
        found, there = by(self.device)
        for one, other in zip(fits, there, strict=True):
            note = f"{other.iterations} iterations, CPU in float64 {one.iterations}"
            difference = abs(other.objective / one.objective - 1)
            yield Row(f"L-BFGS, float32, decay {one.weight_decay}: objective", difference, "<= 1e-4", note)
        again = by(self.device)[0]
        yield Row("L-BFGS, float32, twice: same bytes", digest_of(found) == digest_of(again), "yes")

    def training(self, protocol: str) -> Iterator[Row]:
        """Twenty steps of a protocol by the one training loop."""
        arch, pixels, batch = self.size.compared

        def by(device: torch.device, double: bool = False, precision: str = "float32") -> tuple[Tensor, list[float]]:
            return trained(protocol, arch, pixels, batch, device, double, precision)

        exact, curve = by(CPU, double=True)
        found, there = by(self.device, double=True)
        yield Row(f"{protocol}, {STEPS} steps, float64: weights against the CPU", error_of(found, exact), "<= 1e-7")
        if curve:
            yield Row(f"{protocol}: loss of evaluation after the epoch", abs(there[0] / curve[0] - 1), "<= 1e-5")
        own = error_of(by(CPU)[0], exact)
        found = by(self.device)[0]
        wanted = f"<= {20 * own:.1e}"
        yield Row(
            f"{protocol}, float32 as it is: weights against float64", error_of(found, exact), wanted, f"CPU {own:.1e}"
        )
        again = by(self.device)[0]
        yield Row(f"{protocol}, float32, twice: same bytes", digest_of(found) == digest_of(again), "yes")
        with tf32(False):
            error = error_of(by(self.device)[0], exact)
        yield Row(f"{protocol}, float32 without TF32: weights against float64", error, wanted, f"CPU {own:.1e}")
        mixed = by(self.device, precision="bfloat16")[0]
        yield Row(f"{protocol}, bfloat16: weights against float64", error_of(mixed, exact), "<= 0.1")
        again = by(self.device, precision="bfloat16")[0]
        yield Row(f"{protocol}, bfloat16, twice: same bytes", digest_of(mixed) == digest_of(again), "yes")

    def architectures(self) -> Iterator[Row]:
        """Whether other networks can be trained at all: what torch has no deterministic algorithm for is an error."""
        for arch in self.size.trained:
            try:
                loop = Loop(arch, 224, 4, 2, self.device, "float32")
                loop.ours()
                first = digest_of(*loop.network.parameters())
                loop = Loop(arch, 224, 4, 2, self.device, "float32")
                loop.ours()
                same = first == digest_of(*loop.network.parameters())
                yield Row(f"{arch}: two steps", True, "yes", f"the same bytes twice: {'yes' if same else 'no'}")
            except Exception as error:
                yield Row(f"{arch}: two steps", False, "yes", " ".join(str(error).split())[:250])

    # All stages, in other processes

    def start_stages(self) -> None:
        """Three times: on the device; there, stopped in a training and started again; on the CPU."""
        make_pictures(self.folder / "pictures", 4, 75)
        self.start("first", self.device)
        self.start("stopped", self.device, "--stop-at", "5")
        if self.cuda:
            self.start("cpu", CPU)

        def go_on() -> None:
            self.status = self.children["stopped"].wait()
            if self.status == 143:  # and not killed, as at the end of all
                self.start("stopped-on", self.device)

        self.going_on = threading.Thread(target=go_on, daemon=True)
        self.going_on.start()

    def start(self, name: str, device: torch.device, *options: str) -> None:
        words = ["--folder", str(self.folder / name.removesuffix("-on")), "--pictures", str(self.folder / "pictures")]
        words += ["--threads", str(max(1, self.cores // 8)), *options]
        with open(self.folder / f"{name}.log", "w") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu_stages", *words], stdout=log, stderr=log,
                env=os.environ | ({} if device.type == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}),
            )  # fmt: skip

    def stages(self) -> Iterator[Row]:
        from safetensors.torch import load_file

        self.going_on.join()
        yield Row("a training that gets SIGTERM ends with status", self.status == 143, "yes", str(self.status))
        for name, child in self.children.items():
            if child.wait() not in (0, 143):
                text = (self.folder / f"{name}.log").read_text()
                yield Row(f"stages, {name}: status", child.returncode, "<= 0", " ".join(text[-400:].split()))
        first, again = (json.loads((self.folder / name / "stages.json").read_text()) for name in ("first", "stopped"))
        for artifact, about in first.items():
            error = about.get("error", "").strip()
            note = f"{about.get('seconds', 0):.1f} s" if not error else error.splitlines()[-1][:300]
            yield Row(f"stage {about['stage']}: {artifact}", not error, "yes", note)
        log = (self.folder / "stopped-on.log").read_text()
        yield Row("the stopped training goes on in a new process", "goes on at epoch" in log, "yes")
        for artifact, about in first.items():
            same = about.get("digest") is not None and about.get("digest") == again.get(artifact, {}).get("digest")
            yield Row(f"{artifact}: same bytes as in another process, there stopped and gone on", same, "yes")
        tracebacks = [about["error"] for about in first.values() if "Traceback" in about.get("error", "")]
        if tracebacks:
            yield Row("traceback of the first stage that failed", False, "", tracebacks[0][-3000:].replace("\n", " / "))
        if not self.cuda:
            return
        here, there = self.folder / "first/results", self.folder / "cpu/results"
        for path in sorted(here.glob("networks/*.safetensors")):
            ours, theirs = load_file(path), load_file(there / path.relative_to(here))
            floats = [name for name, value in ours.items() if value.is_floating_point()]
            error = max(error_of(ours[name], theirs[name]) for name in floats)
            yield Row(f"{path.stem}: largest error of a tensor against the CPU, float32", error)
        for path in sorted(here.glob("records/**/*.json")):
            if ".run." not in path.name:
                tops = [[round(100 * entry["top1"], 2) for entry in results_of(root / path.relative_to(here))]
                        for root in (here, there)]  # fmt: skip
                worst = max(abs(a - b) for a, b in zip(*tops, strict=True))
                yield Row(
                    f"{path.stem}: points of top-1 from the CPU, 60 images", worst, "", f"{tops[0]}, CPU {tops[1]}"
                )

    # Waiting

    def syncs(self) -> Iterator[Row]:
        """How often the host waits for the GPU."""
        arch, pixels, batch = self.size.small
        for precision in ("float32", "bfloat16"):
            loop = Loop(arch, pixels, batch, STEPS, self.device, precision)
            loop.ours()
            yield Row(f"training, {arch}, {precision}: waits of a step", counted(loop.ours) / STEPS)
        count, depth, classes = self.size.probed
        data = made_up(count, depth, classes, 0, self.device)
        steps = -(-count // 256)
        once = HeadTraining(1, 0, 256, 0.9, True, {"name": "constant"}, 0)
        settings = [Setting(0.01, decay) for decay in DECAYS]

        def epoch(evaluated: bool) -> None:
            rules = ["heldout"] if evaluated else []
            train_heads(initial_head(classes, depth, 0), data, {"val": data}, rules, settings, once, True)

        epoch(True)
        yield Row("probe: waits of a step", counted(lambda: epoch(False)) / steps)
        yield Row(
            "probe: waits of the evaluation of an epoch",
            float(counted(lambda: epoch(True)) - counted(lambda: epoch(False))),
        )
        fitted: list[Any] = []
        waits = counted(lambda: fitted.extend(fit_heads(data, classes, [1e-3], 20, 0.0, True)[1]))
        yield Row("L-BFGS: waits of an iteration", waits / fitted[0].iterations)
        trunk = random_trunk(arch)
        features_of = for_inference(trunk, "float32", self.device, False, batch)
        images = torch.randn(batch, 3, pixels, pixels)
        features_of(images)
        yield Row("extraction: waits of a batch", float(counted(lambda: features_of(images))))

    def busy(self) -> Iterator[Row]:
        """What share of the time the GPU computes, by torch's profiler, and what the host waits for."""
        arch, pixels, batch = self.size.small
        loop = Loop(arch, pixels, batch, STEPS, self.device, "float32")
        count, depth, classes, number = self.size.epoch
        data = made_up(min(count, 256 * STEPS), depth, classes, 0, self.device)
        once = HeadTraining(1, 0, 256, 0.9, True, {"name": "constant"}, 0)
        settings = [Setting(0.01, decay) for decay in DECAYS[:number]]
        works = {
            f"training, {arch}": loop.ours,
            f"bare loop, {arch}": loop.bare,
            f"probe, {depth} x {classes}": lambda: train_heads(
                initial_head(classes, depth, 0), data, {}, [], settings, once, True
            ),
        }
        kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        for name, work in works.items():
            work()
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            unwatched = time.perf_counter() - start
            with torch.profiler.profile(activities=kinds) as profile:
                work()
                self.wait()
            averages = profile.key_averages()
            on_gpu = [event for event in averages if event.device_type != torch.autograd.DeviceType.CPU]
            computing = [event for event in on_gpu if not event.key.startswith("Mem")]
            kernels = sum(event.self_device_time_total for event in computing) / 1e6
            calls = {event.key: event for event in averages if event.key.startswith("cu")}
            waiting = [calls[key] for key in calls if "Synchronize" in key]
            note = ", ".join(
                f"{event.key} {event.count}x {event.self_cpu_time_total / 1e3:.1f} ms" for event in waiting
            )
            yield Row(f"{name}: share of the time in kernels", kernels / unwatched, "", note)
            launches = sum(event.count for key, event in calls.items() if "Launch" in key)
            yield Row(f"{name}: launches of a step", launches / STEPS)
            largest = sorted(on_gpu, key=lambda event: -event.self_device_time_total)[:6]
            told = "; ".join(f"{event.key[:60]} {event.self_device_time_total / 1e3:.1f} ms" for event in largest)
            yield Row(f"{name}: milliseconds of a step", 1000 * unwatched / STEPS, "", told)

    # Fast

    def forwards(self, precision: str) -> Iterator[Row]:
        """for_inference, from images in the host's memory to features there, against the network alone on the GPU."""
        size = self.size
        trunk = random_trunk(size.arch)
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        images = torch.randn(4 * size.forwarded, 3, size.pixels, size.pixels)
        for batch in (size.forwarded // 4, size.forwarded):
            batches = images.split(batch)
            bare = folded(trunk).to(device=self.device, dtype=kind).to(memory_format=torch.channels_last)
            there = batches[0].to(self.device, kind).contiguous(memory_format=torch.channels_last)
            features_of = for_inference(trunk, precision, self.device, False, batch)

            def alone(bare: nn.Module = bare, there: Tensor = there, times: int = len(batches)) -> None:
                with torch.no_grad():
                    for _ in range(times):
                        bare(there)

            def ours(features_of: Any = features_of, batches: Any = batches) -> None:
                for _ in ahead((features_of(part) for part in ahead(batches, self.device)), self.device):
                    pass

            def benchmarked(alone: Callable[[], None] = alone) -> None:
                with undetermined():
                    alone()

            def exact(alone: Callable[[], None] = alone) -> None:
                with tf32(False):
                    alone()

            works = {"bare": alone, "ours": ours, "fastest": benchmarked, "exact": exact}
            seconds = self.turns(works, 2)
            rate = len(images) / min(seconds["bare"])
            name = f"extraction, {size.arch}, {precision}, batches of {batch}"
            self.limits[f"{precision} {batch}"] = rate
            yield Row(f"{name}: bare forward, images/s", rate, "", "TF32 in convolutions where torch's default is")
            yield Row(f"{name}: for_inference / bare forward", ratio(seconds, "ours", "bare"), ">= 0.9")
            yield Row(f"{name}: bare, cudnn.benchmark / bare", ratio(seconds, "fastest", "bare"))
            if precision == "float32":
                yield Row(f"{name}: bare without TF32 / bare", ratio(seconds, "exact", "bare"))

    def compiled(self) -> Iterator[Row]:
        """What torch's compiler would make of it, on its own and as rrl.trunks.inference calls it on a CPU."""
        size = self.size
        trunk, batch = random_trunk(size.arch), size.forwarded
        images = torch.randn(4 * batch, 3, size.pixels, size.pixels)
        batches = images.split(batch)
        for precision, kind in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
            bare = folded(trunk).to(device=self.device, dtype=kind).to(memory_format=torch.channels_last)
            there = batches[0].to(self.device, kind).contiguous(memory_format=torch.channels_last)
            program = torch.compile(bare, dynamic=False)
            start = time.perf_counter()
            with torch.no_grad():
                found = program(there)
                self.wait()
                took = time.perf_counter() - start
                error = error_of(found, bare(there))

            def alone(run: Any = bare, there: Tensor = there) -> None:
                with torch.no_grad():
                    for _ in batches:
                        run(there)

            features_of = for_inference(trunk, precision, self.device, False, batch)
            works: dict[str, Callable[[], object]] = {
                "bare": alone,
                "compiled": lambda program=program, alone=alone: alone(program),
                "ours": lambda features_of=features_of: [
                    None for _ in ahead((features_of(part) for part in ahead(batches, self.device)), self.device)
                ],
            }
            seconds = self.turns(works)
            note = f"{len(images) / min(seconds['compiled']):,.0f} images/s; first call {took:.0f} s; error {error:.0e}"
            yield Row(f"compiled forward / bare, {precision}", ratio(seconds, "compiled", "bare"), "", note)
            yield Row(f"for_inference / compiled forward, {precision}", ratio(seconds, "ours", "compiled"), ">= 0.9")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                start = time.perf_counter()
                by_rrl = for_inference(trunk, precision, self.device, True, batch)
                difference = error_of(by_rrl(batches[0]), features_of(batches[0]))
                took = time.perf_counter() - start
            seconds = self.turns(
                {"compiled": lambda by_rrl=by_rrl: by_rrl(batches[0]), "plain": lambda f=features_of: f(batches[0])}
            )
            note = f"first call {took:.0f} s; error {difference:.0e}"
            yield Row(f"for_inference, compiled / not, {precision}", ratio(seconds, "compiled", "plain"), "", note)

    def end_to_end(self) -> Iterator[Row]:
        """rrl.extract.extract_split into a file, from images in memory that need no change of size and from JPEGs."""
        size, number = self.size, iter(range(100))
        trunk, batch = random_trunk(size.arch), size.forwarded // 4
        files = jpegs(self.folder / "jpegs", size.files, self.cores)
        every = np.tile(np.arange(size.files), size.passes)
        random = np.random.default_rng(0)
        arrays = Split(random.integers(0, 256, (size.files, size.pixels, size.pixels, 3), dtype=np.uint8), files.labels)
        plain = replace(self.transform, resize=size.pixels)

        def decoded(data: Split, transform: Photographs, threads: int) -> float:
            torch.set_num_threads(threads)
            few = np.arange(min(len(data.labels), 32 * threads))
            start = time.perf_counter()
            inputs(data, few, transform, None)
            return len(few) / (time.perf_counter() - start)

        decoded(files, self.transform, self.cores)
        one, all_cores = (decoded(files, self.transform, threads) for threads in (1, self.cores))
        yield Row("JPEGs of 400 x 300, decoded and resized, images/s of a thread", one)
        yield Row(
            f"the same by {self.cores} threads / by one",
            all_cores / one,
            f">= {0.7 * self.cores:.1f}",
            f"{all_cores:,.0f}/s",
        )
        prepared = decoded(arrays, plain, self.cores)
        yield Row("images in memory, normalised, images/s of all threads", prepared)
        torch.set_num_threads(self.cores)
        for precision in ("float32", "bfloat16"):
            features_of = for_inference(trunk, precision, self.device, False, batch)
            features_of(inputs(arrays, np.arange(batch), plain, None))
            limit = self.limits.get(f"{precision} {batch}", math.nan)
            for name, data, transform, reached in (
                ("JPEG files", files, self.transform, all_cores),
                ("memory", arrays, plain, prepared),
            ):
                many = data.take(every)
                start = time.perf_counter()
                with quiet():
                    path = self.folder / f"{next(number)}.h5"
                    extract_split(
                        features_of, trunk.feature_dim, many, transform, [None], "float16", batch, path, self.device
                    )
                rate = len(every) / (time.perf_counter() - start)
                path.unlink()
                yield Row(
                    f"extraction from {name}, {precision} / bare forward", rate / limit, "", f"{rate:,.0f} images/s"
                )
                slower = min(limit, reached)
                yield Row("the same / the slower of bare forward and decoding", rate / slower, ">= 0.9")

    def training_speed(self, arch: str, pixels: int, batch: int, steps: int, precision: str) -> Iterator[Row]:
        loop = Loop(arch, pixels, batch, steps, self.device, precision)

        def fastest() -> None:
            with undetermined():
                loop.bare()

        def unfilled() -> None:
            torch.utils.deterministic.fill_uninitialized_memory = False
            try:
                loop.bare()
            finally:
                torch.utils.deterministic.fill_uninitialized_memory = True

        works = {
            "bare": loop.bare,
            "unfilled": unfilled,
            "reading": lambda: loop.bare(read=True),
            "ours": loop.ours,
            "fastest": fastest,
        }
        if precision == "float32":
            works["exact"] = lambda: _with(tf32(False), loop.bare)
        seconds = self.turns(works)
        name = f"training, {arch}, {pixels} px x {batch}, {precision}"
        rate = steps * batch / min(seconds["bare"])
        milliseconds = 1000 * statistics.median(seconds["ours"]) / steps
        yield Row(f"{name}: bare loop, images/s", rate, "", "inputs on the device, loss not read, deterministic")
        yield Row(
            f"{name}: rrl / bare loop", ratio(seconds, "ours", "bare"), ">= 0.95", f"{milliseconds:.1f} ms a step"
        )
        yield Row(f"{name}: bare, memory not filled before use / bare", ratio(seconds, "unfilled", "bare"))
        yield Row(f"{name}: bare loop that reads its loss / bare loop", ratio(seconds, "reading", "bare"))
        yield Row(f"{name}: bare, neither deterministic nor by heuristics / bare", ratio(seconds, "fastest", "bare"))
        if precision == "float32":
            yield Row(f"{name}: bare without TF32 / bare", ratio(seconds, "exact", "bare"))

    def training_from_files(self) -> Iterator[Row]:
        """Augmented pictures from files, as pretraining reads them, against the same loop with inputs prepared."""
        size, batch = self.size, self.size.forwarded
        files = jpegs(self.folder / "jpegs", size.files, self.cores)
        torch.set_num_threads(self.cores)
        steps = min(6, len(files.labels) // batch)
        data = files.take(np.arange(steps * batch))
        loop = Loop(size.arch, size.pixels, batch, steps, self.device, "bfloat16")

        def from_files() -> None:
            loop.ours(lambda epoch, skipped: epoch_batches(data, self.transform, batch, 0, epoch, skipped))

        def read() -> None:
            for _ in epoch_batches(data, self.transform, batch, 0, 0):
                pass

        seconds = self.turns({"files": from_files, "prepared": loop.ours, "reading": read}, 2)
        rate = steps * batch / min(seconds["files"])
        yield Row(
            "training from JPEG files, bfloat16 / inputs prepared",
            ratio(seconds, "files", "prepared"),
            "",
            f"{rate:,.0f} images/s",
        )
        yield Row(
            "training from JPEG files / reading alone",
            ratio(seconds, "files", "reading"),
            "",
            "1: reading is the limit",
        )

    def probe_epoch(self, shape: tuple[int, int, int, int]) -> Iterator[Row]:
        """An epoch of the sweep against its two products and the bytes that an update moves: weights and velocities
        read and written."""
        count, depth, classes, number = shape
        data = made_up(count, depth, classes, 0, self.device)
        settings = [Setting(0.01, decay) for decay in DECAYS[:number]]
        once = HeadTraining(1, 0, 256, 0.9, True, {"name": "constant"}, 0)
        steps = -(-count // 256)
        head = tuple(part.to(self.device) for part in initial_head(classes, depth, 0))
        x = torch.randn(256, depth, device=self.device)
        weights = torch.randn(number, classes, depth, device=self.device)
        errors = torch.randn(256, classes, device=self.device)

        def products() -> None:
            for _ in range(steps):
                for weight in weights:
                    x @ weight.T
                    errors.T @ x

        def rounded() -> None:
            with tf32(True):
                products()

        def epoch() -> None:
            train_heads(head, data, {}, [], settings, once, True)

        def epoch_rounded() -> None:
            with tf32(True):
                epoch()

        works = {"ours": epoch, "products": products, "tf32": rounded, "ours tf32": epoch_rounded}
        seconds = self.turns(works, 2)
        moved = steps * 4 * 4 * number * classes * depth / self.limits["copy"]
        ours, alone = min(seconds["ours"]), min(seconds["products"])
        name = f"probe, {number} settings, {depth:,} x {classes:,}"
        yield Row(
            f"{name}: products and update alone / an epoch",
            (alone + moved) / ours,
            ">= 0.7",
            f"{1000 * ours / steps:.2f} ms a step",
        )
        yield Row(f"{name}: products alone / an epoch", alone / ours, "", f"update {moved / ours:.2f}")
        yield Row(f"{name}: with TF32 / without", ratio(seconds, "ours tf32", "ours"))
        images = TrainingImages.of(data, True)
        weight, bias = head
        big = torch.randn(images.rows, depth, device=self.device)
        many = torch.randn(images.rows, classes, device=self.device)

        def alone_lbfgs() -> None:
            for _ in range(-(-count // images.rows)):
                big @ weight.T
                many.T @ big

        seconds = self.turns({"ours": lambda: images.cross_entropy(weight, bias), "products": alone_lbfgs}, 2)
        yield Row(
            f"L-BFGS, {depth:,} x {classes:,}: products alone / objective and gradient",
            ratio(seconds, "ours", "products"),
            ">= 0.7",
        )

    def sweeps(self) -> Iterator[Row]:
        """All settings together, against one by one by the same code and by torch.nn."""
        steps = STEPS
        shapes = [(self.size.epoch[1], 10), self.size.epoch[1:3], (self.size.large[1], 100)]
        for depth, classes in shapes:
            x = torch.randn(256, depth, device=self.device)
            labels = torch.arange(256, device=self.device) % classes
            weight, bias = (part.to(self.device) for part in initial_head(classes, depth, 0))

            def sweep(
                decays: list[float],
                weight: Tensor = weight,
                bias: Tensor = bias,
                x: Tensor = x,
                labels: Tensor = labels,
            ) -> Tensor:
                heads = Heads.create(weight, bias, len(decays), True)
                one = Sweep(heads, weight.new_tensor(decays), weight.new_ones(len(decays)), 0.9, True, True)
                for _ in range(steps):
                    one.step(x, labels, 0.01)
                return heads.weight

            def torch_nn(
                weight: Tensor = weight, bias: Tensor = bias, x: Tensor = x, labels: Tensor = labels
            ) -> Tensor:
                found = []
                for decay in DECAYS:
                    norm = nn.BatchNorm1d(x.shape[1], device=self.device)
                    linear = nn.Linear(x.shape[1], len(weight), device=self.device)
                    linear.load_state_dict({"weight": weight, "bias": bias})
                    groups = [{"params": linear.parameters(), "weight_decay": decay}, {"params": norm.parameters()}]
                    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)
                    for _ in range(steps):
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(linear(norm(x)), labels).backward()
                        optimizer.step()
                    found.append(linear.weight.detach())
                return torch.stack(found)

            error = error_of(sweep(DECAYS), torch_nn())
            works: dict[str, Callable[[], object]] = {
                "together": lambda sweep=sweep: sweep(DECAYS),
                "one by one": lambda sweep=sweep: [sweep([decay]) for decay in DECAYS],
                "torch.nn": torch_nn,
            }
            seconds = self.turns(works)
            name = f"six weight decays, {depth:,} x {classes:,}, together"
            yield Row(
                f"{name} / one by one, torch.nn", ratio(seconds, "together", "torch.nn"), ">= 1", f"error {error:.0e}"
            )
            yield Row(f"{name} / one by one, the same code", ratio(seconds, "together", "one by one"), ">= 1")


def ratio(seconds: Seconds, name: str, of: str) -> float:
    """How many times as fast `name` is as `of`."""
    return statistics.median(slow / fast for slow, fast in zip(seconds[of], seconds[name], strict=True))


def _with(context: contextlib.AbstractContextManager[None], work: Callable[[], None]) -> None:
    with context:
        work()


def driver() -> str:
    try:
        words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


def results_of(record: Path) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads(record.read_text())["facts"]["results"]
    return results


def transform_of(pixels: int) -> Photographs:
    return Photographs(pixels, pixels, (0.5, 1.0), "bilinear", True, (0.5,) * 3, (0.25,) * 3)


def random_trunk(arch: str) -> Any:
    """With batch norms that are not the identity."""
    torch.manual_seed(0)
    trunk = build_trunk(arch).eval()
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return trunk


def made_up(count: int, depth: int, classes: int, seed: int, device: torch.device) -> Data:
    """Features of classes that can be told apart, but for some images; the same on every device where few."""
    where = CPU if count * depth < 2**24 else device
    centres = torch.randn(
        classes, depth, generator=torch.Generator(where).manual_seed(0), device=where, dtype=torch.float32
    )
    random = torch.Generator(where).manual_seed(seed + 1)
    labels = torch.arange(count, device=where) % classes
    features = torch.empty(1, count, depth, dtype=torch.float16, device=where)
    for start in range(0, count, 8192):
        part = labels[start : start + 8192]
        noise = torch.randn(len(part), depth, generator=random, device=where, dtype=torch.float32)
        features[0, start : start + 8192] = (centres[part] * 0.2 + noise).relu_()
    return Data(features.to(device), labels.to(device))


def on_disk(data: Data, path: Path, device: torch.device) -> Data:
    import h5py

    assert isinstance(data.features, Tensor)
    create(path, tuple(data.features.shape), "float16", data.labels.cpu().numpy())
    with h5py.File(path, "r+") as file:
        file["features"][:] = data.features.cpu().numpy()
    return Data(OnDisk([[Columns(open_features(path), 0, data.features.shape[2])]], 1, device), data.labels)


def jpegs(folder: Path, count: int, threads: int) -> Split:
    """Pictures of 400 x 300 with some structure, as files, made once; opened as the package opens them."""

    def one(number: int) -> None:
        coarse = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        whole = Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC)
        whole.save(folder / f"{number}.jpg", quality=90)

    if not folder.exists():
        folder.mkdir()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(count)))
    paths = np.empty(count, dtype=object)
    paths[:] = [folder / f"{number}.jpg" for number in range(count)]
    return Split(paths, np.arange(count) % 10, read_picture)


class Double(nn.Module):
    """A network in float64 that takes images in float32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.double()

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(images.double())
        return outputs


def trained(
    protocol: str, arch: str, pixels: int, batch: int, device: torch.device, double: bool, precision: str
) -> tuple[Tensor, list[float]]:
    """The weights after STEPS steps, as one vector, and the losses that were seen in evaluation."""
    classes, teachers = 10, 2
    images = np.random.default_rng(0).integers(0, 256, (STEPS * batch, pixels, pixels, 3), dtype=np.uint8)
    data, transform = Split(images, np.arange(len(images)) % classes), transform_of(pixels)
    recipe = Recipe(1, batch, 0.02, 0.9, False, 1e-4, True, {"name": "constant"}, precision)
    objective: Objective = CLASSIFICATION

    def batches(epoch: int, skipped: int) -> Iterator[tuple[Tensor, Tensor]]:
        return epoch_batches(data, transform, batch, 0, epoch, skipped)

    if protocol == "finetune":
        recipe = replace(recipe, weight_decay=5e-4, decay_norm=False, schedule={"name": "cosine", "final": 1e-7})

        def batches(epoch: int, skipped: int) -> Iterator[tuple[Tensor, Tensor]]:
            return step_batches(data, transform, batch, 0, epoch, STEPS, skipped)

    if protocol == "distill":
        random = torch.Generator().manual_seed(0)
        wanted = torch.randn(1, len(images), teachers, classes, generator=random).half()
        objective = distillation(4.0)

        def batches(epoch: int, skipped: int) -> Iterator[tuple[Tensor, Tensor]]:
            return view_batches(data, transform, ["source/train/0"], wanted, batch, 0, epoch, skipped)

    torch.manual_seed(0)
    network: Any = Network(build_trunk(arch), classes * (teachers if protocol == "distill" else 1))
    network = Double(network) if double else network
    network.to(device).to(memory_format=torch.channels_last)
    after = BestEpoch(network, data.take(np.arange(2 * batch)), Evaluation(transform, batch, device))
    with quiet():
        train(
            network, batches, STEPS, recipe, device,
            after_epoch=after if protocol == "finetune" else lambda epoch: None, objective=objective,
        )  # fmt: skip
    return torch.cat([parameter.detach().flatten().cpu() for parameter in network.parameters()]), after.loss


class Loop:
    """A training of some steps, by rrl.training.train.train and by hand; inputs are prepared before."""

    def __init__(self, arch: str, pixels: int, batch: int, steps: int, device: torch.device, precision: str):
        self.steps, self.device, self.mixed = steps, device, precision == "bfloat16"
        self.recipe = Recipe(1, batch, 0.001, 0.9, False, 1e-4, True, {"name": "constant"}, precision)
        torch.manual_seed(0)
        self.network = Network(build_trunk(arch), 1000).to(device).to(memory_format=torch.channels_last)
        self.batch = torch.randn(batch, 3, pixels, pixels), torch.arange(batch) % 1000
        self.there = [part.to(device) for part in self.batch]

    def ours(self, batches: Batches | None = None) -> None:
        prepared: Batches = lambda epoch, skipped: iter([self.batch] * self.steps)  # noqa: E731
        with quiet():
            train(self.network, batches or prepared, self.steps, self.recipe, self.device, lambda epoch: None)

    def bare(self, read: bool = False) -> None:
        self.network.train()
        optimizer = torch.optim.SGD(self.network.parameters(), 0.001, 0.9, weight_decay=1e-4, foreach=True)
        images, labels = self.there
        for _ in range(self.steps):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                loss = nn.functional.cross_entropy(self.network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if read:
                loss.item()


def counted(work: Callable[[], object]) -> int:
    """How often the host waited for the GPU in it."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught, quiet():
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--seconds", type=float, default=330, help="that all of it may take")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="so small that a CPU is done in a minute")
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        parser.error("there is no CUDA here; --device cpu --small tries the checks themselves")
    arguments.out.mkdir(parents=True, exist_ok=True)
    # On a CPU this is a trial run, beside other work: threads would wait for each other.
    cores = 1 if arguments.device == "cpu" else len(os.sched_getaffinity(0))
    device = prepare(max(1, cores // 2), NATIVE)  # beside other processes
    report = Report(arguments.out, arguments.seconds, device)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        look = Look(device, SMALL if arguments.small else Size(), Path(folder), cores)

        def give_up() -> None:
            """Whatever hangs: a process that is stuck in the driver gets no signal."""
            print(report.table(), flush=True)
            for child in list(look.children.values()):
                child.kill()
            os._exit(3)

        watchdog = threading.Timer(arguments.seconds + 15, give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            everything(report, look)
        finally:
            for child in list(look.children.values()):
                child.kill()
                child.wait()
            watchdog.cancel()
    print(report.table())


def everything(report: Report, look: Look) -> None:
    size = look.size
    report.environment = look.environment()
    report.run("determinism", look.determinism, 20)
    look.start_stages()
    report.run("right: probes", look.probes, 30)
    for arch in size.extracted:
        report.run("right: extraction", lambda arch=arch: look.extraction(arch), 25)
    for protocol in ("pretrain", "finetune", "distill"):
        report.run(f"right: {protocol}", lambda protocol=protocol: look.training(protocol), 25)
    report.run("right: L-BFGS", look.lbfgs, 25)
    report.run("right: all stages", look.stages, 60)
    torch.set_num_threads(look.cores)
    report.run("limits", look.measured_limits, 20)
    report.run("fast: forward, float32", lambda: look.forwards("float32"), 30)
    report.run("fast: probe", lambda: look.probe_epoch(size.epoch), 30)
    for precision in ("float32", "bfloat16"):
        small = functools.partial(look.training_speed, *size.small, STEPS, precision)
        report.run(f"fast: small training, {precision}", small, 20)
        large = functools.partial(look.training_speed, size.arch, size.pixels, size.forwarded, 4, precision)
        report.run(f"fast: training, {precision}", large, 40)
    report.run("waits", look.syncs, 30, cuda_only=True)
    report.run("fast: forward, bfloat16", lambda: look.forwards("bfloat16"), 30)
    report.run("fast: extraction from files", look.end_to_end, 40)
    report.run("fast: large probe", lambda: look.probe_epoch(size.large), 30)
    report.run("fast: sweep", look.sweeps, 20)
    report.run("busy", look.busy, 30, cuda_only=True)
    report.run("fast: training from files", look.training_from_files, 30)
    report.run("imports", look.imports, 30)
    report.run("right: other architectures", look.architectures, 40)
    report.run("fast: compiled", look.compiled, 120, cuda_only=True)


if __name__ == "__main__":
    main()
