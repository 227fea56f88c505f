"""What `benchmarks.gpu` computes on: networks, features, pictures and trainings, all made up."""

import contextlib
import hashlib
import io
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.ratios import Seconds, interleaved
from rrl.arithmetic import NATIVE
from rrl.config.settings import Constant, Photographs, Recipe
from rrl.data.images import Split
from rrl.data.pictures import read_picture
from rrl.data.reading import Pixels
from rrl.heads.cached import Data, OnDisk
from rrl.networks.trunks import Network, Trunk, build_trunk
from rrl.store.features import create
from rrl.store.read_features import Columns, open_features
from rrl.training.device import prepare
from rrl.training.train import Batches, train

CPU = torch.device("cpu")
DECAYS = [1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2]
PICTURES = 256  # files; more images are the same files again


@dataclass(frozen=True)
class Size:
    """What is tried: on a GPU, or so small that a CPU is done in a minute."""

    matrix: int = 8192
    copied: int = 2**32  # bytes
    arch: str = "resnet50"
    extracted: tuple[str, ...] = ("resnet50", "vit_b16")
    pixels: int = 224
    batch: int = 256
    images: int = 8192  # of an extraction
    compared: tuple[str, int, int] = ("torchvision/resnet18", 48, 8)  # network, pixels, images of a step
    small: tuple[str, int] = ("cifar_resnet18", 32)  # network, pixels
    probed: tuple[int, int, int] = (4196, 512, 20)  # images, features, classes; in float64
    epoch: tuple[int, int, int, int] = (131072, 2048, 1000, 4)  # images, features, classes, settings
    large: tuple[int, int, int, int] = (8192, 20480, 8142, 3)
    trained: tuple[str, ...] = (
        "torchvision/alexnet", "torchvision/vgg11_bn", "vit_b16", "torchvision/densenet121", "torchvision/swin_t",
        "timm/efficientnet_b0", "timm/convnext_tiny",
    )  # fmt: skip
    steps: int = 20
    rounds: int = 3


SMALL = Size(
    matrix=256, copied=2**22, arch="resnet8rgb", extracted=("resnet8rgb",), pixels=32, batch=16, images=64,
    compared=("resnet8rgb", 32, 8), small=("resnet8rgb", 32), probed=(400, 64, 5), epoch=(2048, 64, 10, 4),
    large=(512, 256, 50, 3), trained=("torchvision/mobilenet_v3_small",), steps=4, rounds=1,
)  # fmt: skip


@dataclass
class Machine:
    """limits : numbers per second that were measured; forwards : compiled forward passes; by name."""

    device: torch.device
    size: Size
    folder: Path
    cores: int
    limits: dict[str, float] = field(default_factory=dict)
    forwards: dict[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def precisions(self) -> tuple[str, ...]:
        return ("float32", "tf32", "bfloat16") if self.cuda else ("float32", "bfloat16")

    def prepare(self, precision: str) -> None:
        """As a stage does at its start."""
        prepare(self.cores, NATIVE, precision)

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def turns(self, works: Mapping[str, Callable[[], object]], rounds: int | None = None) -> Seconds:
        """Seconds of works that take their turn, the GPU's part included."""

        def whole(work: Callable[[], object]) -> Callable[[], None]:
            def run() -> None:
                work()
                self.wait()

            return run

        return interleaved({name: whole(work) for name, work in works.items()}, rounds or self.size.rounds)


def share(seconds: Seconds, name: str, limit: str) -> float:
    """Of the speed of `limit`, what `name` reaches: the median over rounds."""
    return statistics.median(least / took for least, took in zip(seconds[limit], seconds[name], strict=True))


def error_of(ours: Tensor, exact: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    exact = exact.detach().cpu().double()
    return float((ours.detach().cpu().double() - exact).abs().max() / exact.abs().max())


def digest_of(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return digest.hexdigest()[:16]


def quiet() -> Any:
    return contextlib.redirect_stderr(io.StringIO())


@contextlib.contextmanager
def undetermined() -> Iterator[None]:
    """As fast as torch can: algorithms that need not give the same bytes twice, the fastest of them."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(torch.cuda.is_available())


def transform_of(pixels: int, resize: int | None = None) -> Photographs:
    return Photographs(pixels, resize or pixels, [0.5, 1.0], "bilinear", True, [0.5] * 3, [0.25] * 3)


def random_trunk(arch: str) -> Trunk:
    """With batch norms that are not the identity."""
    torch.manual_seed(0)
    trunk = build_trunk(arch).eval()
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return trunk


def features(count: int, depth: int, classes: int, seed: int, device: torch.device) -> Data:
    """Of classes that can be told apart, but for some images; the same on every device where they are few."""
    where = CPU if count * depth < 2**24 else device
    shared, random = (torch.Generator(where).manual_seed(number) for number in (0, seed + 1))
    centres = torch.randn(classes, depth, generator=shared, device=where, dtype=torch.float32)
    labels = torch.arange(count, device=where) % classes
    made = torch.empty(1, count, depth, dtype=torch.float16, device=where)
    for start in range(0, count, 8192):
        part = labels[start : start + 8192]
        noise = torch.randn(len(part), depth, generator=random, device=where, dtype=torch.float32)
        made[0, start : start + 8192] = (centres[part] * 0.2 + noise).relu_()
    return Data(made.to(device), labels.to(device))


def on_disk(data: Data, path: Path, device: torch.device) -> Data:
    assert isinstance(data.features, Tensor)
    create(path, tuple(data.features.shape), "float16", data.labels.cpu().numpy())
    with h5py.File(path, "r+") as file:
        file["features"][:] = data.features.cpu().numpy()
    return Data(OnDisk([[Columns(open_features(path), 0, data.features.shape[2])]], 1, device), data.labels)


def arrays(count: int, pixels: int) -> Split:
    """Images in memory."""
    few = np.random.default_rng(0).integers(0, 256, (min(count, PICTURES), pixels, pixels, 3), dtype=np.uint8)
    return Split(np.resize(few, (count, pixels, pixels, 3)), np.arange(count) % 10)


def jpegs(folder: Path, count: int) -> Split:
    """JPEG files of 400 x 300 with some structure, made once; opened as the package opens them."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.jpg" for number in range(min(count, PICTURES))]
    for number, path in enumerate(paths):
        if not path.exists():
            coarse = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC).save(path, quality=90)
    every = np.empty(count, dtype=object)
    every[:] = [paths[number % PICTURES] for number in range(count)]
    return Split(every, np.arange(count) % 10, read_picture)


class Double(nn.Module):
    """A network in float64 that takes images in float32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.double()

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(images.double())
        return outputs


class Loop:
    """A training of some steps on one batch, by rrl.training.train.train and by hand."""

    def __init__(self, arch: str, pixels: int, batch: int, steps: int, device: torch.device, precision: str):
        self.steps, self.device, self.mixed = steps, device, precision == "bfloat16"
        prepare(torch.get_num_threads(), NATIVE, precision)
        self.recipe = Recipe(1, batch, 0.001, 0.9, False, 1e-4, True, Constant("constant"), precision)
        torch.manual_seed(0)
        self.network = Network(build_trunk(arch), 1000).to(device).to(memory_format=torch.channels_last)
        values = torch.from_numpy(arrays(batch, pixels).images)
        self.batch = Pixels(values, transform_of(pixels)), torch.arange(batch) % 1000
        self.there = self.batch[0].on(device), self.batch[1].to(device)

    def ours(self, batches: Batches | None = None) -> None:
        """Of batches, or of pixels that were made before."""
        made: Batches = batches or (lambda epoch, skipped: iter([self.batch] * self.steps))
        with quiet():
            train(self.network, made, self.steps, self.recipe, self.device, lambda epoch: None)

    def bare(self, read: bool = False) -> None:
        """Inputs are on the device; the loss is read after each step, or never."""
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
