"""How fast the heads of six weight decays are trained together, against one by one; features in memory.

    python -m benchmarks.sweep --threads 1

One by one is torch.nn with torch.optim.SGD, each weight decay a training of its own. Both multiply matrices by oneDNN.
The largest difference of the weights is said beside the ratio, relative to the largest weight.
"""

import argparse

import torch
from torch import Tensor, nn

from benchmarks.ratios import interleaved, line, ratio
from rrl.arithmetic import NATIVE
from rrl.heads.sweep import Heads, Sweep
from rrl.heads.training import initial_head
from rrl.training.device import multiply_by_onednn, prepare

DECAYS = [0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
RATE, MOMENTUM, BATCH_SIZE = 0.01, 0.9, 256
WANTED = {(2048, 10): 2.0, (2048, 100): 1.5, (20480, 100): 1.2}


def together(head: tuple[Tensor, Tensor], batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The weights of all settings (S, C, D) after a step on each batch."""
    heads = Heads.create(*head, len(DECAYS), batch_norm=True)
    sweep = Sweep(heads, DECAYS, [1.0] * len(DECAYS), MOMENTUM, nesterov=True, batch_norm=True)
    for features, labels in batches:
        sweep.step(features, labels, RATE)
    return heads.weight


def one_by_one(head: tuple[Tensor, Tensor], batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    found = []
    for decay in DECAYS:
        classes, depth = head[0].shape
        norm, linear = nn.BatchNorm1d(depth), nn.Linear(depth, classes)
        linear.load_state_dict({"weight": head[0], "bias": head[1]})
        groups = [{"params": linear.parameters(), "weight_decay": decay}, {"params": norm.parameters()}]
        optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM, nesterov=True)
        for features, labels in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(linear(norm(features)), labels).backward()
            optimizer.step()
        found.append(linear.weight.detach())
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    prepare(arguments.threads, NATIVE)
    multiply_by_onednn(torch.device("cpu"))
    for (depth, classes), wanted in WANTED.items():
        torch.manual_seed(0)
        labels = torch.arange(BATCH_SIZE) % classes
        centres = torch.randn(classes, depth)
        batches = [(centres[labels] + 3 * torch.randn(BATCH_SIZE, depth), labels) for _ in range(arguments.steps)]
        head = initial_head(classes, depth, seed=0)
        expected, found = one_by_one(head, batches), together(head, batches)
        works = {"one by one": lambda: one_by_one(head, batches), "together": lambda: together(head, batches)}  # noqa: B023
        seconds = interleaved(works, arguments.rounds)
        error = float((found - expected).abs().max() / expected.abs().max())
        line(
            f"six weight decays, {depth} x {classes}, together / one by one",
            ratio(seconds, "together", "one by one"), wanted, f"error {error:.0e}",
        )  # fmt: skip


if __name__ == "__main__":
    main()
