"""What stands beside a number so that it is not taken for more than it is; decided from records, cards and plans."""

from collections.abc import Iterable
from typing import Any, Protocol

from rrl.networks.checkpoints import checkpoints

VAL = "val: the best of all settings and epochs tried, so optimistic; test was read once"  # of a pick on val


class Made(Protocol):
    """A card, or a job that is planned."""

    @property
    def artifact(self) -> str: ...
    @property
    def keyed(self) -> dict[str, Any]: ...


def of_pick(result: dict[str, Any]) -> str:
    """How many were tried for one pick, and which accuracy is too high for that.

    result : of a record, with its grid.
    """
    split, grid = result["selected_on"], result["grid"]
    end = f"so {split} is optimistic{'; test was read once' if split == 'val' else ''}"
    if grid is None:
        return f"each member was picked on {split}, {end}"
    if "members" in grid[0]:
        return f"best of all subsets, settings and epochs tried on {split}, {end}"
    epochs = [len(row["top1"]) if isinstance(row["top1"], list) else 1 for row in grid]
    if sum(epochs) == 1:
        return "nothing was picked"
    tried = f"{len(grid)} setting{'s' if len(grid) > 1 else ''}"
    if max(epochs) > 1:
        tried += f" x {epochs[0]} epochs" if len(set(epochs)) == 1 else f" with {sum(epochs)} epochs in all"
    return f"best of {tried} on {split}, {end}"


def trained_on_imagenet(made: Made) -> bool:
    """Whether a network was published after training on ImageNet's images; of the libraries' any may have been."""
    source = _source(made)
    if source.get("origin") != "download":
        return source.get("origin") == "library"
    return any(
        checkpoint.trained_on.startswith("imagenet")
        for checkpoint in checkpoints().values()
        if source["file"] in checkpoint.files
    )


def _source(made: Made) -> dict[str, Any]:
    """Where a target or a network comes from; nothing for what is made here."""
    source: dict[str, Any] = made.keyed.get("source", {})
    return source


def known_val(record: str, behind: Iterable[Made]) -> list[str]:
    """The published networks behind a record that were trained on the val images of its target; all if it is ImageNet.

    record : records/{target}/...; behind : all that it is made from.
    """
    sources = {source.artifact: source for source in behind}
    target = sources.get(f"targets/{record.split('/')[1]}")
    if target is None or _source(target).get("dataset") != "imagenet":
        return []
    return [name.removeprefix("networks/") for name, source in sources.items() if trained_on_imagenet(source)]


def of_val(known: Iterable[str]) -> str:
    """known : networks or methods, as they are called where this stands."""
    return (
        "Selection heldout picks on val, which is cut from ImageNet's training images, and published networks were "
        f"trained on these: val is not new to {', '.join(dict.fromkeys(known))}; test is."
    )
