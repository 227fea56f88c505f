"""What two results roots hold, compared by content: tensors, features, logits, accuracies, tables and pictures.

    python -m tests.helpers.contents OLD NEW

Keys, code versions and digests of whole files are left out, which say how something was made: so results of two versions
of the code can be compared. Exit status 1, and a line for each difference, where they are not equal.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import load_file

LEFT_OUT = ("logs", "work")


def contents(root: Path) -> dict[str, str]:
    """Place of each value below a results root -> its digest (16 hex digits); of facts in cards, the facts."""
    return {
        f"{path.relative_to(root)}: {place}": value
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in LEFT_OUT and not path.name.endswith(".run.json")
        for place, value in _values(path)
    }


def _values(path: Path) -> Iterator[tuple[str, str]]:
    match path.suffix:
        case ".json":
            facts = json.loads(path.read_text()).get("facts", {})
            for name, value in facts.items():
                if name != "records":  # digests of cards
                    yield name, json.dumps(value, sort_keys=True)
        case ".safetensors":
            for name, tensor in sorted(load_file(path).items()):
                yield name, _digest(tensor)
        case ".h5":
            with h5py.File(path) as file:
                names: list[str] = []
                file.visit(names.append)
                for name in names:
                    if isinstance(file[name], h5py.Dataset):
                        yield name, _digest(file[name][...])
        case _:
            yield "bytes", hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _digest(values: Any) -> str:
    array = np.ascontiguousarray(values)
    return hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).hexdigest()[:16]


def differences(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """A line for each place where two roots differ."""
    lines = [f"{place}: only in the {'old' if place in old else 'new'}" for place in sorted(set(old) ^ set(new))]
    changed = [place for place in sorted(set(old) & set(new)) if old[place] != new[place]]
    return lines + [f"{place}: {old[place][:60]} -> {new[place][:60]}" for place in changed]


def main(words: list[str]) -> int:
    """Exit status."""
    old, new = (contents(Path(word)) for word in words)
    lines = differences(old, new)
    print(*lines[:50], sep="\n")
    print(f"{len(old)} values in {words[0]}, {len(new)} in {words[1]}: {len(lines) or 'no'} differences")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
