"""Miniatures of the paper's data sets, in the layouts in which they are published, for any test.

The images can be learnt from: a class has a colour and a shape, at a place that chance decides, with noise.
"""

import colorsys
import hashlib
import json
import os
import pickle
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def picture(label: int, classes: int, size: int, draw: str) -> Pixels:
    """(size, size, 3) uint8. draw : what place and noise depend on, besides the label."""
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{draw}/{label}".encode()).digest()[:8], "big"))
    rows, columns = np.mgrid[:size, :size]
    top, left = random.uniform(0.3, 0.7, 2) * size
    down, right = np.abs(rows - top), np.abs(columns - left)
    shapes = (np.hypot(down, right), np.maximum(down, right), down + right, np.minimum(down, right) * 3)
    inside = shapes[label % len(shapes)] < 0.25 * size
    colour = np.array(colorsys.hsv_to_rgb(label / classes, 0.8, 0.9))
    image = np.where(inside[..., None], colour, 0.5 * (1 - colour)) * 255 + random.normal(0, 25, (size, size, 3))
    return image.clip(0, 255).astype(np.uint8)


def wnid(position: int) -> str:
    """The name of a class of a miniature ImageNet; in their order."""
    return f"n{1440764 + 7 * position:08d}"


def make_imagenet(
    folder: Path, classes: int = 3, train_per_class: int = 4, val_per_class: int = 2, size: int = 48
) -> Path:
    """imagenet/ below `folder`, the folder of all data sets, as real JPEG files; that folder. Label is position."""
    for part, count in (("train", train_per_class), ("val", val_per_class)):
        for label in range(classes):
            for index in range(count):
                number = label * count + index + 1
                name = f"{wnid(label)}_{number}" if part == "train" else f"ILSVRC2012_val_{number:08d}"
                path = folder / "imagenet" / part / wnid(label) / f"{name}.JPEG"
                _save(picture(label, classes, size, f"imagenet/{part}/{index}"), path)
    return folder / "imagenet"


def make_inaturalist(
    folder: Path,
    categories: Sequence[int] = (9, 10, 100),
    train_per_class: int = 4,
    val_per_class: int = 2,
    size: int = 48,
) -> Path:
    """inaturalist18/ below `folder`, the folder of all data sets: images and both lists; that folder.

    Colour and shape are those of the label: the position among the categories, sorted as text.
    """
    home = folder / "inaturalist18"
    labels = sorted(map(str, categories))
    number = 0
    for part, count in (("train", train_per_class), ("val", val_per_class)):
        images, annotations = [], []
        for category in categories:
            kind = ("Aves", "Plantae")[category % 2]
            for index in range(count):
                number += 1
                name = hashlib.md5(f"{number}".encode(), usedforsecurity=False).hexdigest()
                path = f"train_val2018/{kind}/{category}/{name}.jpg"
                label = labels.index(str(category))
                _save(picture(label, len(labels), size, f"inaturalist/{part}/{index}"), home / path)
                images.append({"id": number, "file_name": path, "width": size, "height": size})
                annotations.append({"id": number, "image_id": number, "category_id": category})
        kinds = [{"id": category, "name": f"species {category}"} for category in sorted(categories)]
        content = {"images": images, "annotations": annotations, "categories": kinds}
        (home / f"{part}2018.json").write_text(json.dumps(content))
    return home


@dataclass(frozen=True)
class Cifar:
    """kind : CIFAR10 or CIFAR100 of torchvision. sums : file -> md5, of the miniature's files.

    torchvision refuses any files but the published ones by their md5 sums, and rightly so. A test that reads a
    miniature says, for its own duration, that these sums are the published ones.
    """

    kind: str
    folder: Path
    sums: dict[str, str]

    def publish(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In this process, until the end of the test."""
        from torchvision import datasets

        kind = getattr(datasets, self.kind)
        for name in ("train_list", "test_list"):
            monkeypatch.setattr(kind, name, [[file, self.sums[file]] for file, _ in getattr(kind, name)])
        monkeypatch.setattr(kind, "meta", kind.meta | {"md5": self.sums[kind.meta["filename"]]})

    def environment(self, folder: Path) -> dict[str, str]:
        """Environment variables with which the processes of a workflow read the miniature. Several miniatures may
        share a folder, which Python imports a `sitecustomize` from; torchvision is not imported by that."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.kind}.json").write_text(json.dumps(self.sums))
        (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
        before = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": f"{folder}:{before}" if before else str(folder)}


SITECUSTOMIZE = textwrap.dedent(
    '''\
    """In tests only: torchvision takes the md5 sums beside this file for the published ones of CIFAR."""
    import importlib.util, json, pathlib, sys

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name != "torchvision.datasets.cifar":
                return None
            sys.meta_path.remove(Finder)
            spec = importlib.util.find_spec(name)
            execute = spec.loader.exec_module

            def patched(module):
                execute(module)
                for file in pathlib.Path(__file__).parent.glob("CIFAR*.json"):
                    kind, sums = getattr(module, file.stem), json.loads(file.read_text())
                    kind.train_list = [[name, sums[name]] for name, _ in kind.train_list]
                    kind.test_list = [[name, sums[name]] for name, _ in kind.test_list]
                    kind.meta = kind.meta | {"md5": sums[kind.meta["filename"]]}

            spec.loader.exec_module = patched
            return spec

    sys.meta_path.insert(0, Finder)
    '''
)


def make_cifar(
    folder: Path, dataset: str = "cifar10", classes: int = 10, train_per_class: int = 10, test_per_class: int = 4
) -> Cifar:
    """torchvision/cifar-10-batches-py/ (or cifar-100-python/) below `folder`, the folder of all data sets: pickled
    batches of 32 x 32 pixels in CIFAR's own format. Class names are `class 00`, `class 01`, ...; label is position."""
    ten = dataset == "cifar10"
    home = folder / "torchvision" / ("cifar-10-batches-py" if ten else "cifar-100-python")
    home.mkdir(parents=True, exist_ok=True)
    files = {f"data_batch_{number}": "train" for number in range(1, 6)} if ten else {"train": "train"}
    files["test_batch" if ten else "test"] = "test"
    counts = {"train": train_per_class, "test": test_per_class}
    for at, (file, part) in enumerate(files.items()):
        labels = [label for _ in range(counts[part]) for label in range(classes)]
        numbered = list(enumerate(labels))[at::5] if ten and part == "train" else list(enumerate(labels))
        pixels = [picture(label, classes, 32, f"{dataset}/{part}/{index}") for index, label in numbered]
        rows = np.array([image.transpose(2, 0, 1).ravel() for image in pixels], np.uint8).reshape(-1, 3072)
        content = {"data": rows, "filenames": [f"{part}_{index}.png" for index, _ in numbered]}
        content["labels" if ten else "fine_labels"] = [label for _, label in numbered]
        content["batch_label"] = file
        (home / file).write_bytes(pickle.dumps(content, protocol=2))
    names = [f"class {label:02d}" for label in range(classes)]
    meta = {"label_names" if ten else "fine_label_names": names}
    (home / ("batches.meta" if ten else "meta")).write_bytes(pickle.dumps(meta, protocol=2))
    sums = {path.name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in home.iterdir()}
    return Cifar(dataset.upper(), home, sums)


def _save(pixels: Pixels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=90)
