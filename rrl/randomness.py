"""Random streams that have a name, so that one purpose never disturbs another."""

import hashlib

import torch


def stream(*name: str | int) -> int:
    """A seed (63 bits) for the purpose that `name` tells, such as ("batches", 3)."""
    digest = hashlib.sha256("/".join(str(part) for part in name).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*name: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(stream(*name))
