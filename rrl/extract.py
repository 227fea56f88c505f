"""Stage `extract`: the penultimate features of one network on all splits of one target.

With one view the images are not augmented. With V > 1, train holds V augmented views, val its plain images
as view 0 and V augmented ones behind it (the paper's rule trains on val too), test its plain images.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from rrl.architectures import Trunk
from rrl.command import Command, run
from rrl.device import prepare
from rrl.features import create, finish, to_dtype, views_of
from rrl.files import canonical_json, write_json
from rrl.images import Split, inputs, load_split
from rrl.members import SPLITS
from rrl.stored_networks import load_trunk
from rrl.transforms import TRANSFORM_FLAG, Transform, parse_transform
from rrl.work import claim

BATCHES_PER_BLOCK = 16


@torch.inference_mode()
def extract_split(
    trunk: Trunk,
    data: Split,
    transform: Transform,
    draws: list[str | None],
    dtype: str,
    batch_size: int,
    path: Path,
    device: torch.device,
) -> None:
    """Fill the HDF5 file at `path` with the features of every view, block by block.

    draws : the augmentation of each view by name, None for the plain images.
    A block counts as done only after it was flushed to disk, in `{path}.done`; called again after
    any interruption, this goes on after the last such block.
    """
    done_path = path.with_name(path.name + ".done")
    block = batch_size * BATCHES_PER_BLOCK
    count = len(data.labels)
    if not (path.exists() and done_path.exists()):
        create(path, (len(draws), count, trunk.feature_dim), dtype, data.labels)
        write_json(done_path, 0)
    done = json.loads(done_path.read_text())
    blocks = [(view, start) for view in range(len(draws)) for start in range(0, count, block)]
    with h5py.File(path, "r+") as file:
        for number, (view, first) in enumerate(blocks[done:], start=done + 1):
            for start in range(first, min(first + block, count), batch_size):
                positions = np.arange(start, min(start + batch_size, count))
                images = inputs(data, positions, transform, draws[view])
                features = trunk(images.to(device)).float().cpu().numpy()
                file["features"][view, start : start + len(positions)] = to_dtype(features, dtype, start)
            file.flush()
            os.fsync(file.id.get_vfd_handle())
            write_json(done_path, number)


def main(argv: Sequence[str] | None = None) -> None:
    command = Command("extract", __doc__)
    command.card("--target", "card of the target")
    command.card("--network", "card of the network")
    command.setting("--transform", json.loads, TRANSFORM_FLAG)
    command.setting("--views", int, "augmented passes over the training split; 1 without augmentation")
    command.setting("--dtype", str, "type of the cache: float16 or float32")
    command.setting("--batch-size", int, "images of a forward pass")
    command.place("--data-root", Path, "folder of the data sets")
    command.place("--threads", int, "threads of each process")
    command.place("--output", Path, "card to write; the features are written into the folder beside it")
    arguments, job = command.parse(argv)

    device = prepare(arguments.threads)
    transform = parse_transform(arguments.transform)
    trunk = load_trunk(arguments.network, transform).to(device).to(memory_format=torch.channels_last)
    target, network = arguments.target, arguments.network
    name = f"{target.artifact.removeprefix('targets/')}/{network.artifact.removeprefix('networks/')}"
    content_key = hashlib.sha256(f"{job.key} {target.digest} {network.digest}".encode()).hexdigest()[:16]
    digests = {}
    with claim(target.root, f"features/{name}", content_key) as folder:
        for split in SPLITS:
            data = load_split(target, split, arguments.data_root)
            draws = views_of(split, target.artifact, arguments.views)
            path = folder / f"{split}.h5"
            extract_split(trunk, data, transform, draws, arguments.dtype, arguments.batch_size, path, device)
        about = {"target": target.digest, "network": network.digest, "key": job.key}
        for split in SPLITS:
            final = arguments.output.with_suffix("") / f"{split}.h5"
            attributes = {**about, "settings": canonical_json(job.settings)}
            digests[split] = finish(folder / f"{split}.h5", final, attributes)
    facts = {
        "digests": digests,
        "feature_dim": trunk.feature_dim,
        "parameters": network.facts["parameters"],
        "seed": network.facts["seed"],
        "counts": target.facts["counts"],
        "classes": target.facts["classes"],
        "views": arguments.views,
    }
    digest = hashlib.sha256(canonical_json(digests).encode()).hexdigest()
    job.write_card(arguments.output, f"features/{name}", digest, facts)


if __name__ == "__main__":
    run(main)
