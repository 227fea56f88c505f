"""Stage `extract`: the penultimate features of one network on all splits of one target.

With one view the images are not augmented. With V > 1, train holds V augmented views, val its plain images
as view 0 and V augmented ones behind it (the paper's rule trains on val too), test its plain images.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrl.arithmetic import NATIVE
from rrl.bars import Bar
from rrl.config.settings import Transform
from rrl.data.images import Split, load_split
from rrl.data.reading import read
from rrl.job import begin, run
from rrl.networks.inference import compiles, for_inference
from rrl.networks.stored_networks import load_trunk
from rrl.store.features import check_fits, create, finish, labels_digest, views_of
from rrl.store.files import canonical_json, write_text
from rrl.store.hdf5 import UNREADABLE
from rrl.store.members import SPLITS
from rrl.store.work import claim
from rrl.training.device import ahead, batches_on_device, multiply_by_onednn, on_host, prepare

BATCHES_PER_BLOCK = 16
SECONDS = 1.0  # of work that may be lost, besides a block


def extract_split(
    features_of: Callable[[Tensor], Tensor],
    feature_dim: int,
    data: Split,
    transform: Transform,
    draws: list[str | None],
    dtype: str,
    batch_size: int,
    path: Path,
    device: torch.device,
) -> str:
    """Fill the HDF5 file at `path` with the features of every view, block by block; returns its content digest.

    features_of : images (B, channels, height, width) to features (B, D) float32, D being feature_dim, on the device.
    draws : the augmentation of each view by name, None for the plain images.
    device : where features_of computes.
    A block counts as done only after it was flushed to disk, by a line with its digest in `{path}.done`; called
    again after any interruption, this goes on after the last such block.
    """
    count, size = len(data.labels), batch_size * BATCHES_PER_BLOCK
    blocks = [
        (view, slice(start, min(start + size, count))) for view in range(len(draws)) for start in range(0, count, size)
    ]
    done, digest = begin_file(path, (len(draws), count, feature_dim), dtype, data.labels, blocks)
    left = blocks[done:]
    batches = [
        (view, slice(start, min(start + batch_size, rows.stop)))
        for view, rows in left
        for start in range(rows.start, rows.stop, batch_size)
    ]
    wanted = ((np.arange(rows.start, rows.stop), draws[view]) for view, rows in batches)
    images = batches_on_device(((batch,) for batch in read(data, transform, wanted, device)), device)
    made = ahead(on_host((features_of(batch) for (batch,) in images), device), device)
    unsaid, said = "", time.monotonic()
    rows_done = sum(rows.stop - rows.start for _, rows in blocks[:done])
    with (
        h5py.File(path, "r+") as file,
        open(_done(path), "a") as lines,
        Bar(path.stem, "image", len(draws) * count, done=rows_done) as bar,
    ):
        for view, rows in left:
            starts = range(rows.start, rows.stop, batch_size)
            parts = []
            for start in starts:
                parts.append(_to_dtype(next(made), dtype, start))
                bar.add(len(parts[-1]))
            block = np.concatenate(parts)
            file["features"][view, rows] = block
            digest.update(block.data)
            unsaid += _line(digest)
            if time.monotonic() - said < SECONDS and (view, rows) != left[-1]:
                continue
            file.flush()
            os.fsync(file.id.get_vfd_handle())
            lines.write(unsaid)
            lines.flush()
            os.fsync(lines.fileno())
            unsaid, said = "", time.monotonic()
    return str(digest.hexdigest())


def _to_dtype(features: Tensor, dtype: str, first_row: int) -> npt.NDArray[Any]:
    """Features (B, D) float32 in the type of the cache, by torch, which is faster at it than numpy."""
    stored = features.to(getattr(torch, dtype)).numpy()
    check_fits(features.numpy(), stored, first_row)
    return stored


def allocate(path: Path, shape: tuple[int, int, int], dtype: str, labels: npt.NDArray[np.int64]) -> None:
    """The file to extract into, unless it is there. Raises UserError if the disk has no space for it."""
    if not (path.exists() and _done(path).exists()):
        create(path, shape, dtype, labels)
        write_text(_done(path), "")


def begin_file(
    path: Path,
    shape: tuple[int, int, int],
    dtype: str,
    labels: npt.NDArray[np.int64],
    blocks: list[tuple[int, slice]],
) -> tuple[int, Any]:
    """How many of the blocks an earlier run left whole, and the content's digest so far. The others are forgotten."""
    allocate(path, shape, dtype, labels)
    lines = _done(path).read_text(errors="replace").splitlines(keepends=True)
    done, digest = 0, labels_digest(labels)
    try:
        with h5py.File(path, "r+") as file:
            file["labels"][:] = labels
            for (view, rows), line in zip(blocks, lines, strict=False):
                longer = digest.copy()
                longer.update(np.ascontiguousarray(file["features"][view, rows]).data)
                if _line(longer) != line:
                    break
                done, digest = done + 1, longer
    except UNREADABLE:
        create(path, shape, dtype, labels)
        done, digest = 0, labels_digest(labels)
    if done < len(lines):
        print(f"{path}: of {len(lines)} blocks {len(lines) - done} were damaged, and are made again", file=sys.stderr)
        write_text(_done(path), "".join(lines[:done]))
    return done, digest


def _done(path: Path) -> Path:
    return path.with_name(path.name + ".done")


def _line(digest: Any) -> str:
    """What is said of a block: the digest of the content up to its end."""
    return f"{digest.hexdigest()[:16]}\n"


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("extract", argv, __doc__)
    settings, kept, (target, network) = job.settings, job.settings.features, job.inputs

    device = prepare(job.threads, settings.arithmetic, kept.precision)
    multiply_by_onednn(device)
    trunk = load_trunk(network, settings.transform)
    content_key = hashlib.sha256(f"{job.key} {target.digest} {network.digest}".encode()).hexdigest()[:16]
    digests = {}
    with claim(job.root, job.artifact, content_key) as folder:
        data = {split: load_split(target, split, job.data_root) for split in SPLITS}
        draws = {split: views_of(split, target.artifact, kept.views) for split in SPLITS}
        for split in SPLITS:  # whether there is space for all is known before the work starts
            shape = (len(draws[split]), len(data[split].labels), trunk.feature_dim)
            allocate(folder / f"{split}.h5", shape, kept.dtype, data[split].labels)
        images = sum(len(draws[split]) * len(data[split].labels) for split in SPLITS)
        compiled = settings.arithmetic == NATIVE and compiles(trunk, images, device)
        features_of = for_inference(trunk, kept.precision, device, compiled, kept.batch_size)
        for split in SPLITS:
            digests[split] = extract_split(
                features_of, trunk.feature_dim, data[split], settings.transform, draws[split], kept.dtype,
                kept.batch_size, folder / f"{split}.h5", device,
            )  # fmt: skip
        origin = {"target": target.digest, "network": network.digest, "key": job.key}
        origin["settings"] = canonical_json(job.keyed)
        for split in SPLITS:
            final = job.output.with_suffix("") / f"{split}.h5"
            finish(folder / f"{split}.h5", final, {**origin, "digest": digests[split]})
    facts = {
        "digests": digests,
        "feature_dim": trunk.feature_dim,
        "parameters": network.facts["parameters"],
        "seed": network.facts["seed"],
        "counts": target.facts["counts"],
        "classes": target.facts["classes"],
        "views": kept.views,
    }
    job.write_card(hashlib.sha256(canonical_json(digests).encode()).hexdigest(), facts)


if __name__ == "__main__":
    run(main)
