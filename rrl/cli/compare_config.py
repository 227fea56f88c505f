"""The experiment of `rrl compare`: the networks that a command line names, and the config that compares them."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rrl.cli.run import command_for
from rrl.config.nearest import one_of
from rrl.config.references import transform_mistakes
from rrl.data.image_sources import LIBRARY, open_source
from rrl.errors import UserError
from rrl.networks.architectures import parse_architecture
from rrl.store.files import sha256_of_file, write_text

HEADING = "# Written by rrl compare; to change it, edit it and run it with rrl run. Keys: docs/config.md. Digest: "
LIBRARIES = ("timm/", "torchvision/")
ALL, BEST, PROBE, TABLE = "all", "best", "comparison", "comparison"
STEPS = 30  # of an epoch, at least: a pass over few images is too short to train a head
NETWORK_KEYS = ("size", "resize", "interpolation", "mean", "std")


@dataclass(frozen=True)
class Compared:
    """A network as it was named: label for people, name in the config; file is None for a library's weights."""

    label: str
    name: str
    arch: str
    file: Path | None
    transform: dict[str, Any]

    @property
    def network(self) -> str:
        return f"{self.name}-s0"

    def entry(self) -> dict[str, Any]:
        """In the config's `networks`."""
        if self.file is None:
            return {"origin": "library", "models": [self.arch], "transform": self.transform}
        files = [{"path": str(self.file), "sha256": sha256_of_file(self.file)}]
        return {"origin": "user", "arch": self.arch, "format": "auto", "files": files, "transform": self.transform}


def name_of(text: str) -> str:
    """A name that a config allows, from any text."""
    name = re.sub(r"-+", "-", re.sub(r"[^a-z0-9_-]", "_", text.lower()))[:40].strip("-_")
    return name if name[:1].isalpha() else f"n{name}".rstrip("-_")


def understand(words: Sequence[str], preprocess: Sequence[tuple[str, str]]) -> list[Compared]:
    """The networks that the words of a command line name: timm/<name>, torchvision/<name>, FILE, or <arch>=FILE.

    preprocess : (word, "size=224,mean=0.5/0.5/0.5") pairs, in place of what the library says of the network.
    Raises UserError for a file that is missing or of no known architecture, and for unknown words and keys.
    """
    if len(words) < 2:
        raise UserError("one network: name two or more to compare; one alone: rrl.library.probe in Python")
    if repeated := [word for word in words if list(words).count(word) > 1]:
        raise UserError(f"{repeated[0]}: named twice")
    given = dict(preprocess)
    for word in given:
        if word not in words:
            raise UserError(f"--preprocess: found {word!r}; {one_of(word, words)}")
    networks: list[Compared] = []
    taken = {ALL, BEST}
    for word in words:
        label, arch, file = _parts(word)
        name = name_of(label)
        if name in taken:
            name = f"{name}-{hashlib.sha256(word.encode()).hexdigest()[:6]}"
            label = word
        taken.add(name)
        networks.append(Compared(label, name, arch, file, _transform(word, arch, file, given.get(word))))
    return networks


def _parts(word: str) -> tuple[str, str, Path | None]:
    """Label, architecture, file."""
    if word.startswith(LIBRARIES) and "=" not in word:
        parse_architecture(word)
        return word.partition("/")[2], word, None
    arch, separator, path = word.rpartition("=")
    file = Path(path).resolve()
    if not file.is_file():
        raise UserError(
            f"{file}: missing; must be timm/<name>, torchvision/<name>, a file of weights, or <architecture>=FILE"
        )
    if separator:
        parse_architecture(arch)
    else:
        from rrl.networks.recognise import architecture_of  # imports torch

        arch = architecture_of(file)
    return re.sub(r"(\.pth)?\.tar$|\.\w+$", "", file.name), arch, file


def _transform(word: str, arch: str, file: Path | None, changes: str | None) -> dict[str, Any]:
    from rrl.networks.pretrained import preprocessing  # imports the libraries

    transform = preprocessing(arch, None if file is None else file.name)
    for change in changes.split(",") if changes else []:
        key, _, text = change.partition("=")
        if key not in NETWORK_KEYS:
            raise UserError(f"--preprocess {word}: found {key!r}; {one_of(key, NETWORK_KEYS)}")
        try:
            numbers = [float(part) for part in text.split("/")] if key != "interpolation" else []
        except ValueError:
            raise UserError(f"--preprocess {word}: {key}: found {text!r}; must be numbers, as 0.5/0.5/0.5") from None
        whole = key in ("size", "resize")
        transform[key] = text if key == "interpolation" else int(numbers[0]) if whole else numbers
    for mistake in transform_mistakes(f"--preprocess {word}", **transform):
        raise UserError(mistake)
    return transform


def experiment(
    networks: Sequence[Compared], data: str, data_root: Path, output: Path, leave_out: bool
) -> dict[str, Any]:
    """The config. Raises UserError if there are no usable data."""
    if data.startswith(LIBRARY):
        root, source = data_root, data
    else:
        path = Path(data).resolve()
        root, source = path.parent, path.name
    opened = open_source(source, root)
    target = name_of(Path(data).stem)
    images = sum(map(len, opened.parts.values()))
    members = [network.network for network in networks]
    rows = [{"method": network.label, "group": network.name, "ensemble": False} for network in networks]
    rows += [
        {"method": f"CAT{len(networks)}", "group": ALL, "ensemble": False},
        {"method": f"CAT{len(networks)}", "group": ALL, "ensemble": True},
        {"method": "best subset on val", "group": BEST, "ensemble": False},
    ]
    batch_size = 256
    return {
        "results": str(output),
        "data": str(root),
        "checkpoints": "checkpoints",
        "arithmetic": "native",
        "targets": {
            target: {
                "dataset": "images",
                "source": source,
                "fingerprint": opened.fingerprint,
                "unreadable": "leave_out" if leave_out else "stop",
                "val_fraction": 0.2,
                "test_fraction": 0.2,
                "split_seed": 0,
                "shots": ["all"],
                "transform": "network",
                "probe": PROBE,
            }
        },
        "recipes": {},
        "networks": {network.name: network.entry() for network in networks},
        "features": {"views": 1, "dtype": "float32", "precision": "float32", "batch_size": 64},
        "representations": {ALL: {"members": members}, BEST: {"best_subset_of": members}},
        "probes": {
            PROBE: {
                "learning_rates": [0.01, 0.1],
                "weight_decays": [0.0, 1e-4, 1e-3, 1e-2, 1e-1],
                "epochs": 28,
                "steps_per_epoch": 0 if images > STEPS * batch_size else STEPS,
                "batch_size": batch_size,
                "momentum": 0.9,
                "nesterov": True,
                "schedule": {"name": "step", "milestones": [8, 16, 24], "factor": 0.1},
                "batch_norm": True,
                "seed": 0,
            }
        },
        "grid": "own",
        "finetunings": {},
        "tables": {
            TABLE: {
                "caption": f"Linear probing on {Path(data).name}.",
                "selections": ["heldout"],
                "windows": "first",
                "paper": None,
                "columns": [{"transfer": "linear_probe", "target": target, "shots": "all"}],
                "rows": rows,
            }
        },
        "figures": {},
        "claims": {},
    }


def results_folder(data: str) -> Path:
    """Where a comparison on these data goes, unless told otherwise."""
    return Path("results", name_of(Path(data).stem))


def write_config(config: dict[str, Any]) -> Path:
    """In the results folder. One that an earlier comparison wrote is replaced: what it asked for stays where it is.

    Raises UserError if somebody edited that.
    """
    path = Path(config["results"], "config.yaml")
    if path.exists():
        heading, _, text = path.read_text(encoding="utf-8").partition("\n")
        if heading.startswith(HEADING) and heading != HEADING + _digest(text):
            raise UserError(
                f"{path}: edited since rrl compare wrote it; to run it: {command_for('run', path)}; "
                "to have another one written, move it away or name another folder with --output"
            )
    text = yaml.dump(config, Dumper=Plain, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    write_text(path, f"{HEADING}{_digest(text)}\n{text}")
    return path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Plain(yaml.SafeDumper):
    """Equal values are written out each time, without YAML's anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
