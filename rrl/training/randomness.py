"""Random streams that have a name, so that one purpose never disturbs another."""

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor


def stream(*name: str | int) -> int:
    """A seed (63 bits) for the purpose that `name` tells, such as ("batches", 3)."""
    digest = hashlib.sha256("/".join(str(part) for part in name).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*name: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(stream(*name))


def shuffled(count: int, batch_size: int, random: torch.Generator) -> Iterator[Tensor]:
    """Positions of one pass over `count` images in random order; the last, smaller batch is used."""
    yield from torch.randperm(count, generator=random).split(batch_size)
