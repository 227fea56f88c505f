"""What the smoke experiment reads: images, networks and a server of checkpoints, made below .cache/smoke of a tree.

The same bytes each time. Those that the config names by sha256 or fingerprint are the same on any machine: weights are
Python's random bytes and no product rounds; pictures are not compressed, as their sizes count.
"""

import math
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from rrl.jobs import STAGES
from rrl.networks.trunks import build_trunk
from tests.helpers.clones import copy_clone, shared, snakemake
from tests.helpers.jobs import Printed, printed
from tests.helpers.paper_data import make_imagenet

MAINS = [*STAGES, "download"]  # whose flags people type too
CONFIG = Path("workflow/config/smoke.yaml")
RESULTS = Path("results/smoke")
INPUTS = Path(".cache/smoke")
DATA = ("fashion-mnist", "mnist-5k")  # that are fetched, once for all trees
MODEL = "shufflenet_v2_x0_5"  # of torchvision
CHECKPOINT = "supervised-distill5"  # of the config; in a tree this one:
SERVED = {
    "arch": f"torchvision/{MODEL}",
    "format": "rrl",
    "files": ["smoke.pth.tar"],
    "archive": False,
    "trained_on": "imagenet",
    "licence": "none",
}


@contextmanager
def smoke_inputs(tree: Path) -> Iterator[dict[str, str]]:
    """The inputs are in the tree, and the checkpoint can be downloaded; the environment that Snakemake needs.

    tree : a copy of the clone, with the config and the folder `data`. Its list of checkpoints names the server of this
    call.
    """
    folder = tree / INPUTS
    if not folder.exists():
        partial_folder = folder.with_name("smoke.partial")
        shutil.rmtree(partial_folder, ignore_errors=True)
        make_inputs(partial_folder)
        partial_folder.rename(folder)
    for name in DATA:
        (tree / "data" / name).mkdir(exist_ok=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder / "site"))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            register(tree, f"http://127.0.0.1:{server.server_port}/checkpoint")
            yield {"TORCH_HOME": str(folder / "torch"), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        finally:
            server.shutdown()


def finished_smoke(code: str) -> Path:
    """A clone in which the smoke experiment was run, with what Snakemake said in smoke.log. It is shared and must not be
    changed: work in a `duplicate`."""
    return shared(f"smoke-{code}", run_smoke)


def run_smoke(folder: Path) -> None:
    copy_clone(folder)
    with smoke_inputs(folder) as environment:
        said = snakemake(
            folder,
            options=("--printshellcmds",),
            config="smoke",
            quiet=False,
            PYTHONHASHSEED="1",
            **environment,
        )
    (folder / "smoke.log").write_text(said)


def ran(smoke: Path) -> list[Printed]:
    """All jobs of the finished smoke experiment."""
    return printed((smoke / "smoke.log").read_text())


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def register(tree: Path, source: str) -> None:
    """In a tree, the checkpoint of a source takes the place of a published one."""
    path = tree / "rrl/networks/checkpoints.yaml"
    content = yaml.safe_load(path.read_text()) | {CHECKPOINT: SERVED | {"sources": [source]}}
    path.write_text(yaml.safe_dump(content))


def make_inputs(folder: Path) -> None:
    for name in DATA:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "data" / name).symlink_to(Path("../../../data", name))
    make_imagenet(folder / "data", classes=3, train_per_class=8, val_per_class=4, size=40)
    make_pictures(folder / "data/pictures")
    save_file(drawn(build_trunk("resnet8rgb"), "mine"), folder / "mine.safetensors")
    trunk, head = drawn(build_trunk(f"torchvision/{MODEL}"), "published"), drawn(nn.Linear(1024, 10), "head")
    state = {f"module.model0.{key.removeprefix('model.')}": value for key, value in trunk.items()}
    state |= {f"module.classifier.linear.{key}": value for key, value in head.items()}
    (folder / "site").mkdir()
    torch.save({"epoch": 90, "state_dict": state}, folder / "site/checkpoint")
    cache = folder / "torch/hub/checkpoints"
    cache.mkdir(parents=True)
    name = get_model_weights(MODEL).DEFAULT.url.rpartition("/")[2]
    torch.save(drawn(get_model(MODEL), "library"), cache / name)


def make_pictures(folder: Path) -> None:
    """PNG files of three classes: dark, grey and bright."""
    for label, level in (("dark", 0), ("grey", 80), ("bright", 160)):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            noise = np.frombuffer(random.Random(f"{label}/{number}").randbytes(36 * 36 * 3), np.uint8) % 90
            pixels = (noise + level).reshape(36, 36, 3).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number:02}.png", compress_level=0)


def drawn(module: nn.Module, seed: str) -> dict[str, Tensor]:
    """The state of a network: weights by chance, biases and batch norm as they begin."""
    state = module.state_dict()
    for key, value in state.items():
        if value.dim() > 1:
            numbers = np.frombuffer(random.Random(f"{seed}/{key}").randbytes(value.numel()), np.int8)
            scale = 2.0 ** -round(math.log2(value[0].numel()) / 2 + 6)  # a power of two: nothing is rounded
            state[key] = torch.from_numpy(numbers * np.float32(scale)).reshape(value.shape)
        else:
            value.fill_(1 if key.endswith(("weight", "running_var")) else 0)
    return state
