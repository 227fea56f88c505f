"""Stage `distill`: train one network, the student, to match several others, its teachers, at once on the source.

The student has one linear head per teacher. Its loss is the mean over teachers of T^2 times the cross-entropy of
softmax(head's logits / T) under softmax(teacher's logits / T). It has the gradient of T^2 KL, and T^2 times the
teachers' entropy is the least it can be. The heads are not kept.

Teachers do not run: their logits are their heads on their cached features. Epoch e trains on the very images behind
view e mod V of the cache, so the seed changes the initialisation and the batch order, nothing else.

Held in memory: the logits of all teachers on all views, V x images x teachers x classes numbers of the type of the
cache; while they are made, the features of one teacher at a time.

Source: a head per teacher, Zhang et al. 2022 (Rich Feature Construction); T^2, Hinton et al. 2015. The recipe of the
paper is not published.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load
from torch import Tensor, nn

from rrl.bars import Bar
from rrl.config.settings import Transform, keyed
from rrl.data.images import Split, load_split
from rrl.data.reading import CPU, Pixels, read
from rrl.errors import UserError
from rrl.job import Card, begin, remake, run
from rrl.networks.network_file import read_network_file
from rrl.networks.stored_networks import save_network
from rrl.networks.trunks import Network, build_trunk
from rrl.store.features import to_dtype, views_of
from rrl.store.read_features import read_split
from rrl.training.batches import Share, whole
from rrl.training.device import prepare
from rrl.training.processes import become_torchrun, meet
from rrl.training.randomness import generator, shuffled, stream
from rrl.training.train import Objective, train
from rrl.training.training_state import Saved

ROWS = 8192  # of features that a head is applied to at once


def distillation(temperature: float) -> Objective:
    """outputs : (B, K * C), logits of the student's heads side by side. wanted : (B, K, C), those of the teachers."""

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        students = outputs.view(-1, wanted.shape[2]) / temperature
        teachers = wanted.to(outputs.dtype).flatten(0, 1) / temperature
        return temperature**2 * nn.functional.cross_entropy(students, teachers.softmax(1))

    def agree(outputs: Tensor, wanted: Tensor) -> Tensor:
        return (outputs.view(wanted.shape).argmax(2) == wanted.argmax(2)).float().mean(1).sum()

    return Objective(loss, agree, "agreement")


def check_teachers(target: Card, features: Sequence[Card], networks: Sequence[Card], transform: dict[str, Any]) -> int:
    """The number of views of all teachers.

    Raises UserError if the features are not those of the networks on the target, or not of the same images.
    """
    if not networks:
        raise UserError("--inputs: found no network; at least one teacher is needed")
    names = [[source["artifact"] for source in card.inputs] for card in features]
    needed = [[target.artifact, network.artifact] for network in networks]
    if names != needed:
        raise UserError(f"--inputs: found features of {names}; needed are, in this order, those of {needed}")
    for card, network in zip(features, networks, strict=True):
        if [source["digest"] for source in card.inputs] != [target.digest, network.digest]:
            mismatch = f"not of the {target.artifact} or not of the {network.artifact} that were given"
            raise UserError(f"{card.path}: {mismatch}; {remake(card.path)}")
        if card.settings["transform"] != transform:
            own, planned = (json.dumps(each, sort_keys=True) for each in (card.settings["transform"], transform))
            raise UserError(f"{card.path}: of transform {own}; that of --settings is {planned} and must be the same")
    views = [card.facts["views"] for card in features]
    if len(set(views)) > 1:
        raise UserError(f"--inputs: found features of {views} views; must be the same number for all teachers")
    return int(views[0])


def read_heads(networks: Sequence[Card]) -> list[tuple[Tensor, Tensor]]:
    """weight (C, D) and bias (C,) of each. Raises UserError if one has no head, or they differ in C."""
    heads = []
    for card in networks:
        tensors = load(read_network_file(card))
        if not {"head.weight", "head.bias"} <= set(tensors):
            raise UserError(f"{card.path}: a network without a head cannot teach; teachers must have one")
        heads.append((tensors["head.weight"], tensors["head.bias"]))
    classes = {card.artifact: len(bias) for card, (_, bias) in zip(networks, heads, strict=True)}
    if len(set(classes.values())) > 1:
        raise UserError(f"--inputs: found heads of {classes} classes; must be the same number for all teachers")
    return heads


def teacher_logits(features: Sequence[Card], networks: Sequence[Card], device: torch.device) -> Tensor:
    """Logits (V, N, K, C) of K teachers on the training split, in the type of the cache, on the CPU."""
    heads = read_heads(networks)
    dtype = np.result_type(*(card.settings["features"]["dtype"] for card in features))
    views, count, classes = features[0].facts["views"], features[0].facts["counts"]["train"], len(heads[0][1])
    logits = np.empty((views, count, len(heads), classes), dtype)
    with Bar("logits of teachers", "image", views * count * len(heads)) as bar:
        for teacher, (card, network, head) in enumerate(zip(features, networks, heads, strict=True)):
            for view, start, block in logits_of(card, head, device):
                try:
                    logits[view, start : start + len(block), teacher] = to_dtype(block, dtype.name, start)
                except UserError as error:
                    raise UserError(f"logits of {network.artifact}: {error}") from None
                bar.add(len(block))
    return torch.from_numpy(logits)


def logits_of(
    features: Card, head: tuple[Tensor, Tensor], device: torch.device
) -> Iterator[tuple[int, int, npt.NDArray[np.float32]]]:
    """View, first row and logits (rows, C), block by block."""
    weight, bias = (part.to(device) for part in head)
    cached = torch.from_numpy(read_split(features, "train")[0])
    for view, rows in enumerate(cached):
        for start in range(0, len(rows), ROWS):
            block = rows[start : start + ROWS].to(device).float()
            yield view, start, nn.functional.linear(block, weight, bias).cpu().numpy()


def view_batches(
    data: Split, transform: Transform, draws: list[str | None], logits: Tensor, batch_size: int, seed: int, epoch: int,
    skipped: int = 0, share: Share = whole, device: torch.device = CPU,
) -> Iterator[tuple[Tensor | Pixels, Tensor]]:  # fmt: skip
    """One pass over the view of an epoch: images (B, channels, height, width) and teachers' logits (B, K, C).

    share : the part of each batch that is made.
    skipped : number of batches that are left out at the beginning.
    device : that the batches are for.
    """
    view = epoch % len(draws)
    order = shuffled(len(data.labels), batch_size, generator("batches", seed, epoch))
    parts = list(map(share, itertools.islice(order, skipped, None)))
    images = read(data, transform, ((part.numpy(), draws[view]) for part in parts), device)
    yield from ((made, logits[view, part]) for made, part in zip(images, parts, strict=True))


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("distill", argv, __doc__)
    settings, (target,) = job.settings, job.cards("targets")
    features, teachers = job.cards("features"), job.cards("networks")
    become_torchrun(job)

    processes = meet()
    recipe, transform, seed = settings.recipe, settings.transform, settings.seed
    device = prepare(job.threads, settings.arithmetic, recipe.precision)
    views = check_teachers(target, features, teachers, keyed(transform))
    data = load_split(target, "train", job.data_root)
    logits = teacher_logits(features, teachers, device)
    draws = views_of("train", target.artifact, views)
    torch.manual_seed(stream("initialisation", seed))
    trunk = build_trunk(settings.arch, getattr(transform, "size", None))
    student = Network(trunk, logits.shape[2] * logits.shape[3])  # a linear head per teacher, side by side
    student.to(device).to(memory_format=torch.channels_last)
    with Saved(job, processes) as saved:
        train(
            student,
            lambda epoch, skipped: view_batches(
                data, transform, draws, logits, recipe.batch_size, seed, epoch, skipped, processes.share, device
            ),
            -(-len(data.labels) // recipe.batch_size),
            recipe,
            device,
            after_epoch=lambda epoch: None,
            objective=distillation(settings.temperature),
            saved=saved,
        )
        facts = {"teachers": [card.name for card in teachers], "temperature": settings.temperature}
        if processes.first:
            save_network(job, {"trunk": trunk}, settings.arch, "distill", seed, facts)


if __name__ == "__main__":
    run(main)
