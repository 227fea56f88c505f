"""Stage `pretrain`: train one network on the source by empirical risk minimisation.

The seed changes the initialisation, the batch order and the augmentation, nothing else.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rrl.architectures import Network, build_trunk
from rrl.command import Command, build, run
from rrl.images import TRANSFORM_FLAGS, Split, Transform, augment, load_split, normalise
from rrl.networks import save_network
from rrl.randomness import generator, stream
from rrl.train import RECIPE_FLAGS, Recipe, prepare, shuffled, train


def epoch_batches(
    data: Split, transform: Transform, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass in an order and with an augmentation that depend on (seed, epoch) only."""
    labels = torch.from_numpy(data.labels)
    for chosen in shuffled(len(labels), batch_size, generator("batches", seed, epoch)):
        images = augment(data.images[chosen.numpy()], chosen.numpy(), f"pretrain/{seed}/{epoch}", transform)
        yield torch.from_numpy(normalise(images, transform)), labels[chosen]


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("pretrain", __doc__)
    command.card("--target", "card of the source target")
    command.setting("--arch", str, "architecture")
    command.setting("--seed", int, "initialisation, batch order and augmentation")
    command.fields(Recipe, RECIPE_FLAGS)
    command.fields(Transform, TRANSFORM_FLAGS)
    command.place("--name", str, "name of the network")
    command.place("--data-root", Path, "folder of the data sets")
    command.place("--threads", int, "threads of torch")
    command.place("--output", Path, "card to write; the weights are written beside it")
    arguments, job = command.parse(argv)

    device = prepare(arguments.threads)
    recipe = build(Recipe, arguments)
    transform = build(Transform, arguments)
    data = load_split(arguments.target, "train", arguments.data_root)
    torch.manual_seed(stream("initialisation", arguments.seed))
    network = Network(build_trunk(arguments.arch), arguments.target.facts["classes"])
    network.to(device).to(memory_format=torch.channels_last)
    steps = -(-len(data.labels) // recipe.batch_size)
    train(
        network,
        lambda epoch: epoch_batches(data, transform, recipe.batch_size, arguments.seed, epoch),
        steps,
        recipe,
        device,
    )
    modules = {"trunk": network.trunk, "head": network.head}
    save_network(job, arguments.output, arguments.name, modules, arguments.arch, "pretrain", arguments.seed, {})


if __name__ == "__main__":
    run(main)
