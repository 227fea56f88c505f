"""Stage `represent`: features of several networks side by side, as virtual datasets of a few kilobytes."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py

from rrl.errors import UserError
from rrl.job import Card, begin, remake, run
from rrl.store.features import write_virtual
from rrl.store.files import canonical_json, complete
from rrl.store.members import SPLITS, parse_member


def describe(member: str, card: Card) -> dict[str, Any]:
    """A member's entry in the card: its features, its columns [start, stop, of], its digests.

    Raises UserError if the columns are not within the network's features.
    """
    depth = card.facts["feature_dim"]
    start, stop = parse_member(member).columns or (0, depth)
    if not 0 <= start < stop <= depth:
        raise UserError(f"member {member}: the network has {depth} features; columns must be within 0:{depth}")
    facts = {name: card.facts[name] for name in ("digests", "parameters", "seed")}
    return {"member": member, "features": card.artifact, "columns": [start, stop, depth], **facts}


def build_split(members: list[dict[str, Any]], cards: Sequence[Card], split: str, output: Path) -> None:
    """Write one virtual file. Raises UserError if a member's file is missing, short, or of another type."""
    sources, kinds = [], []
    for member, card in zip(members, cards, strict=True):
        path = card.folder / f"{split}.h5"
        try:
            with h5py.File(path, "r") as file:
                features = file["features"]
                kinds.append((features.shape[:2], features.dtype.name))
                digest = file.attrs["digest"]
        except (OSError, KeyError) as error:
            raise UserError(f"{path}: missing or unreadable ({error}); {remake(path)}") from None
        if digest != member["digests"][split]:
            raise UserError(f"{path}: not the file that {card.path} describes; {remake(path)}")
        if kinds[-1] != kinds[0]:
            raise UserError(f"{path}: (views, images), type are {kinds[-1]}, those of the first member {kinds[0]}")
        sources.append((path, *member["columns"][:2]))
    shape, dtype = kinds[0]
    with complete(output) as partial:
        write_virtual(partial, sources, shape, dtype)


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("represent", argv, __doc__)
    cards = job.inputs
    members = [describe(member, card) for member, card in zip(job.settings.members, cards, strict=True)]
    for split in SPLITS:
        build_split(members, cards, split, job.output.with_suffix("") / f"{split}.h5")
    networks = {card.artifact: card.facts for card in cards}
    facts = {
        "members": members,
        "feature_dim": sum(member["columns"][1] - member["columns"][0] for member in members),
        "parameters": sum(network["parameters"] for network in networks.values()),
        "seeds": [network["seed"] for network in networks.values()],
        "counts": cards[0].facts["counts"],
        "classes": cards[0].facts["classes"],
        "views": cards[0].facts["views"],
    }
    job.write_card(hashlib.sha256(canonical_json(members).encode()).hexdigest(), facts)


if __name__ == "__main__":
    run(main)
