"""docs/checkpoints.md, made from the list of published networks."""

from rrl.trunks.checkpoints import Checkpoint, Pin, checkpoints, pins, url

INTRODUCTION = """\
# Published networks

This page is made from `rrl/trunks/checkpoints.yaml` by `python -m docs.reference`; do not edit it.

No checksums are published for any of these files. The size and sha256 that a file has when it is first used are pinned
in `rrl/trunks/checkpoint_pins.json`, and checked whenever it is used after that; commit that file. The sha256 below are
those of the files that were used before the page was made.

Download the six supervised networks, or those that are named, or a single file:

```
python -m rrl.download
python -m rrl.download vit-b16-i21k swav-resnet50 --checkpoints checkpoints
python -m rrl.download --file supervised_pretrain/resnet50w2_imagenet1k_supervised.pth.tar
```

By hand: open the URL in a browser and save what it gives as the file named below, below the folder `checkpoints`. If
several files have the same URL, it gives one archive (tar, tar.gz or zip) that holds them all: unpack it, and move each
file to its place. Files that are already in their place are checked and never replaced.

| network | architecture | format | file | URL | size (bytes) | sha256 | licence |
|---|---|---|---|---|---|---|---|
"""


def checkpoints_page() -> str:
    """How to download, and a table of all files with the pins of those that were used."""
    pinned = pins()
    return INTRODUCTION + "".join(
        _row(name, checkpoint, file, pinned.get(file))
        for name, checkpoint in checkpoints().items()
        for file in checkpoint.files
    )


def _row(name: str, checkpoint: Checkpoint, file: str, pinned: Pin | None) -> str:
    urls = " or ".join(f"<{url(source)}>" for source in checkpoint.sources)
    size, sha256 = (str(pinned.size), f"`{pinned.sha256}`") if pinned else ("not used yet", "not used yet")
    cells = [name, checkpoint.arch, checkpoint.format, f"`{file}`", urls, size, sha256, checkpoint.licence]
    return f"| {' | '.join(cells)} |\n"
