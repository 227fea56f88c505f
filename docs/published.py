"""docs/checkpoints.md, made from the list of published networks."""

from urllib.parse import urlsplit

from rrl.networks.checkpoints import Checkpoint, Pin, checkpoints, pins, url

INTRODUCTION = """\
# Published networks

This page is made from `rrl/networks/checkpoints.yaml` by `python -m docs.reference`; do not edit it.

No checksums are published for any of these files. The size and sha256 that a file has when it is first used are pinned
in `rrl/networks/checkpoint_pins.json`, and checked whenever it is used after that; commit that file. {pinned}

Download the six supervised networks, or those that are named, or a single file:

```
rrl fetch 'supervised-*'
rrl fetch vit-b16-i21k swav-resnet50 --checkpoints checkpoints
rrl fetch supervised_pretrain/resnet50w2_imagenet1k_supervised.pth.tar
```

By hand: open the link in a browser and save what it gives as the file named below, below the folder `checkpoints`. If
several files have the same link, it gives one archive (tar, tar.gz or zip) that holds them all: unpack it, and move
each file to its place. Files that are already in their place are checked and never replaced.

"""
NONE_PINNED = "None was\nused before this page was made."
SOME_PINNED = "Size and\nsha256 below are those of the files that were used before this page was made."
HEAD = ["network", "architecture", "trained on", "format", "file", "from", "licence"]
OF_PINS = ["size (bytes)", "sha256"]  # columns that are left out while no file has a pin


def checkpoints_page() -> str:
    """How to download, and a table of all files with the pins of those that were used."""
    files = [(name, checkpoint, file) for name, checkpoint in checkpoints().items() for file in checkpoint.files]
    pinned = {file: pin for file, pin in pins().items() if file in {file for *_, file in files}}
    head = [*HEAD, *(OF_PINS if pinned else [])]
    rows = [head, ["---"] * len(head)]
    for name, checkpoint, file in files:
        rows.append(_cells(name, checkpoint, file) + (_of_pin(pinned.get(file)) if pinned else []))
    introduction = INTRODUCTION.replace("{pinned}", SOME_PINNED if pinned else NONE_PINNED)
    return introduction + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cells(name: str, checkpoint: Checkpoint, file: str) -> list[str]:
    links = " or ".join(f"[{urlsplit(url(source)).netloc}]({url(source)})" for source in checkpoint.sources)
    return [name, checkpoint.arch, checkpoint.trained_on, checkpoint.format, f"`{file}`", links, checkpoint.licence]


def _of_pin(pin: Pin | None) -> list[str]:
    return [str(pin.size), f"`{pin.sha256}`"] if pin else ["not used yet", "not used yet"]
