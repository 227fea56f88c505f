"""How fast portable arithmetic is, against native: steps of training, and of probes. One thread.

    python -m benchmarks.arithmetic

Two processes, one of each arithmetic, compute in turn. A training step is that of the demo's networks: batches of 128
images of 28 pixels, prepared before. Probes: six weight decays together, batches of 128, 10 classes, as many
features as one and as four of these networks have.
"""

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.ratios import interleaved, line, ratio
from benchmarks.sweep import together
from benchmarks.training import CASES, Batch, by_rrl, network_of, pretraining, some_images
from rrl.arithmetic import NATIVE, PORTABLE, VARIABLES, has_avx2, variables
from rrl.config.settings import Recipe
from rrl.heads.training import initial_head
from rrl.networks.trunks import Network, build_trunk
from rrl.training.batches import epoch_batches
from rrl.training.device import multiply_by_onednn, prepare

NETWORKS = ("resnet8", "4xresnet8")
CLASSES, BATCH_SIZE = 10, 128
DONE = "done"


def works(steps: int) -> dict[str, Callable[[], object]]:
    case = CASES["resnet8"]
    made: dict[str, Callable[[], object]] = {}
    batches = list(epoch_batches(some_images(case, steps), case.transform, case.batch_size, 0, 0))
    for arch in NETWORKS:
        network, recipe = network_of(dataclasses.replace(case, arch=arch)), pretraining(case.batch_size)

        def train(network: Network = network, recipe: Recipe = recipe) -> None:
            prepare(1, NATIVE)  # torch's own products, as in a job
            by_rrl(network, lambda *_: iter(batches), steps, recipe)

        made[f"training step, {arch}"] = train
        depth = build_trunk(arch).feature_dim
        labels = torch.arange(BATCH_SIZE) % CLASSES
        features = [(torch.randn(BATCH_SIZE, depth), labels) for _ in range(steps)]

        def probe(
            head: tuple[Tensor, Tensor] = initial_head(CLASSES, depth, 0), features: list[Batch] = features
        ) -> None:
            multiply_by_onednn(prepare(1, PORTABLE))
            together(head, features)

        made[f"probe step, {depth} features"] = probe
    return made


def serve(steps: int) -> None:
    """Do each work whose name comes in."""
    made = works(steps)
    for name in sys.stdin:
        made[name.strip()]()
        print(DONE, flush=True)


@contextlib.contextmanager
def process(arithmetic: str, steps: int) -> Iterator[Callable[[str], None]]:
    """A function that has a work done by a process of this arithmetic."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | variables(arithmetic)
    command = [sys.executable, "-m", "benchmarks.arithmetic", "--serve", "--steps", str(steps)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None and worker.stdout is not None

        def ask(name: str) -> None:
            assert worker.stdin is not None and worker.stdout is not None
            worker.stdin.write(f"{name}\n")
            worker.stdin.flush()
            answer = worker.stdout.readline().strip()
            assert answer == DONE, answer

        yield ask
        worker.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.steps)
        return
    if not has_avx2():
        print("arithmetic: no Linux on x86-64 with AVX2, where nothing differs")
        return
    with process(PORTABLE, arguments.steps) as portable, process(NATIVE, arguments.steps) as native:
        for name in works(1):
            asked = {PORTABLE: lambda: portable(name), NATIVE: lambda: native(name)}  # noqa: B023
            seconds = interleaved(asked, arguments.rounds)
            step = f"{1000 * min(seconds[NATIVE]) / arguments.steps:.2f} ms natively"
            line(f"{name}, portable / native", ratio(seconds, PORTABLE, NATIVE), None, step)


if __name__ == "__main__":
    main()
