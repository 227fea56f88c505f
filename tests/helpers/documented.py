"""Networks that figures of the docs were made with, by their weights alone."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from safetensors.numpy import load_file


def digest_of_weights(files: Iterable[Path]) -> str:
    """Of safetensors files, in order. A network's file also holds the key of its job, which changes with any code."""
    digest = hashlib.sha256()
    for file in files:
        for name, values in sorted(load_file(file).items()):
            digest.update(name.encode() + values.tobytes())
    return digest.hexdigest()[:16]
