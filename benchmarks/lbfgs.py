"""How fast linear probes by L-BFGS are at their objective, against SGD by the paper's protocol.

    python -m benchmarks.lbfgs --threads 1

Features are made up, like those of a network: class means and noise, negative values cut off, float16. L-BFGS starts at
zero, standardises by itself and ends by its tolerance. SGD is given standardised features in float32, and the protocol
of the paper (batches of 256, Nesterov momentum 0.9, rate divided by ten after 8, 16 and 24 of 28 epochs), longer or
shorter, with the length and the learning rate that come within 1e-3 of the objective of L-BFGS after the fewest epochs;
these alone are timed, without evaluations. Where --most epochs are not enough, these are timed and the ratio is larger.
One weight decay at a time; then all, which L-BFGS follows from the largest to the smallest and SGD trains together,
until the last is there. Ratios are medians over rounds in turn.
"""

import argparse
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.ratios import interleaved, line, ratio
from rrl.arithmetic import NATIVE
from rrl.config.settings import Step
from rrl.heads.cached import Data
from rrl.heads.lbfgs import TrainingImages, fit_heads
from rrl.heads.sweep import EPSILON, Heads, Sweep, evaluate
from rrl.heads.training import initial_head
from rrl.training.device import multiply_by_onednn, prepare
from rrl.training.randomness import generator, shuffled
from rrl.training.schedule import learning_rates

RATES = [0.003, 0.01, 0.03, 0.1, 0.3]
WITHIN = 1e-3  # of the objective
ITERATIONS, TOLERANCE = 500, 1e-4


def made_up(images: int, depth: int, classes: int) -> Data:
    random = torch.Generator().manual_seed(0)
    labels = torch.randperm(images, generator=random) % classes
    means = torch.randn(classes, depth, generator=random) * 0.1
    features = (means[labels] + torch.randn(images, depth, generator=random)).relu()
    return Data(features.half()[None], labels)


def sgd(
    x: Tensor, labels: Tensor, settings: Sequence[tuple[float, float]], classes: int, length: int
) -> Iterator[Heads]:
    """The heads of all settings, pairs of learning rate and weight decay, after each of `length` epochs."""
    heads = Heads.create(*initial_head(classes, x.shape[1], 0), len(settings), batch_norm=False)
    factors, decays = zip(*settings, strict=True)
    sweep = Sweep(heads, decays, factors, 0.9, True, batch_norm=False)
    steps = -(-len(x) // 256)
    milestones = [round(length * at / 28) for at in (8, 16, 24)]
    rates = iter(learning_rates(Step("step", milestones, 0.1), 1.0, length, steps))
    order = generator("probe batches", 0)
    for _ in range(length):
        for chosen in shuffled(len(x), 256, order):
            sweep.step(x[chosen], labels[chosen], next(rates))
        yield heads


def objectives(heads: Heads, x: Tensor, labels: Tensor, decays: Tensor) -> Tensor:
    """Of each head, (S,), float64."""
    squares = heads.weight.double().square().sum((1, 2)) + heads.bias.double().square().sum(1)
    return evaluate(heads, Data(x[None], labels).slices(heads.rows()))[1] + decays.double() / 2 * squares


def shortest(
    x: Tensor, labels: Tensor, decays: list[float], wanted: list[float], classes: int, most: int
) -> tuple[int, int, float]:
    """Length and epochs of the training, and its learning rate, by which all weight decays had their wanted objectives
    after the fewest epochs. No epochs if they had not after `most`."""
    settings = [(rate, decay) for rate in RATES for decay in decays]
    goals = torch.tensor(wanted, dtype=torch.float64) * (1 + WITHIN)
    best = (most, 0, RATES[0])
    for length in [round(most / 2 ** (number / 2)) for number in range(8)]:
        there = torch.zeros(len(RATES), len(decays), dtype=torch.bool)
        epoch = 0
        for heads in sgd(x, labels, settings, classes, length):
            epoch += 1
            found = objectives(heads, x, labels, torch.tensor(decays).repeat(len(RATES)))
            there |= found.view(len(RATES), -1) <= goals
            if there.all(1).any():
                break
        if not there.all(1).any():
            break  # shorter ones are even further off
        if not best[1] or epoch < best[1]:
            best = length, epoch, RATES[int(there.all(1).nonzero()[0])]
    return best


def compare(data: Data, classes: int, decays: list[float], rounds: int, most: int) -> None:
    images = TrainingImages.prepare(data, batch_norm=True)
    x = (data.features[0].float() - images.mean) * torch.rsqrt(images.variance + EPSILON)

    def by_lbfgs() -> object:
        return fit_heads(data, classes, decays, ITERATIONS, TOLERANCE, batch_norm=True)

    _, fits = fit_heads(data, classes, decays, ITERATIONS, TOLERANCE, batch_norm=True)
    length, epochs, rate = shortest(x, data.labels, decays, [fit.objective for fit in fits], classes, most)

    def by_sgd() -> None:
        for number, _ in enumerate(sgd(x, data.labels, [(rate, decay) for decay in decays], classes, length), start=1):
            if number == epochs:
                break

    seconds = interleaved({"L-BFGS": by_lbfgs, "SGD": by_sgd}, rounds)
    iterations = sum(fit.iterations for fit in fits)
    epochs_text = f"{epochs} of {length} epochs" if epochs else f"not there after {length} epochs"
    what = f"weight decay {decays[0]:g}" if len(decays) == 1 else f"{len(decays)} weight decays"
    line(
        f"L-BFGS / SGD to the objective, {classes} classes, {what}",
        ratio(seconds, "L-BFGS", "SGD"),
        4.0,
        f"{min(seconds['L-BFGS']):.2f} s, {iterations} iterations; SGD: rate {rate:g}, {epochs_text}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=112, help="epochs of SGD")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--depth", type=int, default=2048)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--weight-decays", type=float, nargs="+", default=[1e-2, 1e-3, 1e-4])
    arguments = parser.parse_args()
    prepare(arguments.threads, NATIVE)
    multiply_by_onednn(torch.device("cpu"))
    for classes in arguments.classes:
        data = made_up(arguments.images, arguments.depth, classes)
        for decay in arguments.weight_decays:
            compare(data, classes, [decay], arguments.rounds, arguments.most)
        compare(data, classes, arguments.weight_decays, arguments.rounds, arguments.most)


if __name__ == "__main__":
    main()
