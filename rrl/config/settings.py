"""The settings of every stage: one frozen dataclass each, declared here and nowhere else.

The config is made of the same classes (rrl/config/schema.py), the plan holds them, and a stage receives them as JSON:
`--settings`. All of them are part of the key of what is made. A field that is added later and must not rerun what was
made before is declared `Annotated[..., Added(value)] = value`, the value being that which means what was done before:
there it is left out of the key.
"""

import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform, get_type_hints

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError

from rrl.config.kinds import (
    Architecture,
    BatchSize,
    Channels,
    Count,
    CountOrNone,
    DecayNorm,
    Deviations,
    Distinct,
    Fingerprint,
    Flag,
    Fraction,
    NotNegative,
    Number,
    Place,
    Positive,
    Seed,
    Selection,
    Sha256,
    Share,
    Shots,
    Word,
    boolean_or,
    said,
    solver,
)
from rrl.data.sources import DEMO, PAPER, names
from rrl.errors import UserError

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Added:
    """Marks a field that older results lack: `before` is the value that means what was done then."""

    before: Any


@dataclass_transform(frozen_default=True)
def settings(kind: type[Settings]) -> type[Settings]:
    """A frozen dataclass that pydantic validates: unknown keys are refused, docstrings of fields describe them."""
    kind.__pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)  # type: ignore[attr-defined]
    return dataclass(frozen=True)(kind)


# What several stages, or a stage and the config, have in common.


@settings
class Constant:
    """The learning rate stays."""

    name: Literal["constant"]
    """Of the schedule."""


@settings
class Step:
    """The learning rate is lowered at given epochs."""

    name: Literal["step"]
    """Of the schedule."""
    milestones: Annotated[list[Count], Field(strict=True)]
    """Epochs, counted from 0, from which on the learning rate is multiplied by `factor`, once each."""
    factor: Positive
    """What it is multiplied by."""


@settings
class Cosine:
    """The learning rate falls along a half cosine, from epoch to epoch."""

    name: Literal["cosine"]
    """Of the schedule."""
    final: NotNegative
    """Learning rate that the cosine ends at."""


@settings
class WarmupCosine:
    """The learning rate rises from 0 and falls along a half cosine to 0, from step to step."""

    name: Literal["warmup-cosine"]
    """Of the schedule."""
    warmup: Share
    """Fraction of all steps in which it rises."""


Schedule = Annotated[Constant | Step | Cosine | WarmupCosine, Field(discriminator="name")]


@settings
class PaddedCrop:
    """Small grey images: (x / 255 - mean) / std; in training also a random crop after padding, and a flip."""

    mean: Number
    """Subtracted from pixels in [0, 1]."""
    std: Positive
    """What they are divided by then."""
    pad: CountOrNone
    """Pixels of zeros around an image, of which a random crop is taken; in training."""
    flip: Flag
    """Random horizontal flip, in training."""

    @property
    def augments(self) -> bool:
        return self.pad > 0 or self.flip


@settings
class Photographs:
    """Random crop in training, centre crop else; then mean and std. Pixels are in [0, 1]."""

    size: Count
    """Pixels of the side of the square that the network sees."""
    resize: Count
    """Pixels of the shorter side before the centre crop; val and test."""
    scale: Annotated[list[Positive], Field(min_length=2, max_length=2, strict=True)]
    """Area of the random crop as a fraction of the image, smallest and largest; in training."""
    interpolation: Literal["bilinear", "bicubic", "nearest", "box", "hamming", "lanczos"]
    """How pixels are found when an image is scaled."""
    flip: Flag
    """Random horizontal flip, in training."""
    mean: Channels
    """Subtracted; one number for grey, three for RGB."""
    std: Deviations
    """What is divided by then; one number for grey, three for RGB."""

    @property
    def channels(self) -> int:
        return len(self.mean)


Transform = Annotated[
    Annotated[PaddedCrop, Tag("PaddedCrop")] | Annotated[Photographs, Tag("Photographs")],
    Discriminator(lambda value: "PaddedCrop" if has(value, "pad") else "Photographs"),
]

Precision = Annotated[
    Literal["float32", "tf32", "bfloat16"],
    Field(
        description="Of products and convolutions in training; weights and the rest are float32. `tf32` is a GPU's: a "
        "CPU computes in float32 instead, and says so."
    ),
]


@settings
class Recipe:
    """How networks are trained: SGD on a target's training images."""

    epochs: Count
    """Passes over the training images."""
    batch_size: BatchSize
    """Images of a step, of all GPUs together."""
    learning_rate: Positive
    """Before the schedule; used as it stands, whatever the batch size."""
    momentum: Share
    """Of SGD."""
    nesterov: Flag
    """Nesterov's momentum."""
    weight_decay: NotNegative
    """Of SGD, on all weights and biases but those that `decay_norm` spares."""
    decay_norm: DecayNorm
    """Weight decay on batch norm too; `published`: on that of shortcuts alone (docs/workflow.md)."""
    schedule: Schedule
    """Of the learning rate."""
    precision: Precision


@settings
class HeadTraining:
    """How linear heads are trained on cached features: SGD, the whole grid at once."""

    epochs: Count
    """How many; the best of them is picked."""
    steps_per_epoch: CountOrNone
    """Batches of an epoch; 0: one pass over the images."""
    batch_size: BatchSize
    """Images of a step; all images where there are fewer."""
    momentum: Share
    """Of SGD."""
    nesterov: Flag
    """Nesterov's momentum."""
    schedule: Schedule
    """Of the learning rate."""
    seed: Seed
    """Of initialisation and order of batches."""


@settings
class HeadGrid(HeadTraining):
    """How linear heads are trained on cached features: SGD, the whole grid at once."""

    learning_rates: Distinct[Positive]
    """Of the grid, before the schedule."""


@settings
class Probe(HeadGrid):
    """A linear probe by SGD: the protocol of the paper."""

    weight_decays: Distinct[NotNegative]
    """Of the grid."""
    batch_norm: Annotated[bool | str, boolean_or("decayed")]
    """Batch norm in front of the linear head; `decayed`: with weight decay on it too."""


@settings
class LbfgsProbe:
    """A linear probe by L-BFGS in place of SGD, which is not the protocol of the paper (docs/workflow.md)."""

    solver: Annotated[Word, said("`lbfgs`"), AfterValidator(solver)]
    """A probe by SGD has no such key."""
    iterations: Count
    """For each weight decay, at most."""
    tolerance: Positive
    """Fraction of the objective that may be left to its minimum, about."""
    weight_decays: Distinct[NotNegative]
    """Of the grid."""
    batch_norm: Flag
    """Standardise the features by the training images; no affine part."""


@settings
class Features:
    """How features are extracted and kept, for all networks and targets."""

    views: Count
    """Augmented passes over the training images, which the epochs of a probe take in turn; 1: the plain images."""
    dtype: Literal["float16", "float32"]
    """Of the numbers in the files."""
    precision: Literal["float32", "tf32", "bfloat16"]
    """Of the networks, when features are extracted. `tf32`: of products and convolutions on a GPU; a CPU computes in
    float32 instead, and says so."""
    batch_size: Count
    """Images that go through a network at once."""


@settings
class PaperSource:
    """A data set of the paper, in its published layout below `data` (docs/paper.md)."""

    dataset: Literal[*names(PAPER)]  # type: ignore[valid-type]
    """Which one."""
    classes: Annotated[int, Field(ge=2, le=1_000_000_000, strict=True)]
    """How many it must have."""
    val_fraction: Fraction
    """Of the training images of each class, that become val, for the rule `heldout`."""
    split_seed: Seed
    """Of the draw of val."""


@settings
class DemoSource:
    """Classes of a small data set that is fetched if it is missing: the demo's."""

    dataset: Literal[*names(DEMO)]  # type: ignore[valid-type]
    """Which one."""
    classes: Annotated[Distinct[Seed], Field(min_length=2)]
    """Labels in the data set; they become 0, 1, ... in this order."""
    train_per_class: Count
    """Images of each class in train."""
    val_per_class: Count
    """Images of each class in val."""
    split_seed: Seed
    """Of the order in which images are taken for train and val."""


@settings
class ImageSource:
    """Images of your own (docs/images.md)."""

    dataset: Literal["images"]
    """Your own."""
    source: Place
    """Below `data`: folder of class folders, CSV, arrays; or torchvision/NAME, a data set of torchvision."""
    fingerprint: Fingerprint
    """What `rrl fingerprint SOURCE` prints."""
    unreadable: Literal["stop", "leave_out"]
    """What to do about images that cannot be used."""
    val_fraction: Fraction
    """Of the images of a class, that become val where the data have no val part."""
    test_fraction: Fraction
    """Of the images of a class, that become test where the data have no test part."""
    split_seed: Seed
    """Of the draw of val and test."""


@settings
class CheckpointFile:
    """A published network, in a file below the folder of checkpoints."""

    origin: Literal["download"]
    file: Word
    """The checkpoint, below the folder of checkpoints."""
    sha256: Word
    """That it must have; `first use`: that it had when it was first used."""
    format: Word
    arch: Architecture
    seed: Seed
    """Which of the networks of its kind it is."""


@settings
class UserFile:
    """A file of the user, wherever it lies."""

    origin: Literal["user"]
    sha256: Sha256
    format: Word
    arch: Architecture
    seed: Seed
    """Which of the files of its kind it is."""


@settings
class LibraryModel:
    """Weights that timm or torchvision publish, which the library downloads into its own cache."""

    origin: Literal["library"]
    arch: Architecture
    """timm/NAME or torchvision/NAME."""
    seed: Seed
    """Which of the models of its kind it is."""


@settings
class FirstStage:
    """How networks were fine-tuned before their heads are averaged. Where others fine-tuned them, learning_rate and
    epochs are None, and weight_decay is that of the second stage."""

    learning_rate: Positive | None
    weight_decay: NotNegative
    epochs: Count | None
    selection: Selection
    shots: Shots


def has(value: Any, field: str) -> bool:
    return field in value if isinstance(value, dict) else hasattr(value, field)


def narrow(kind: type[Settings], entry: Any) -> Settings:
    """The settings of this kind in an entry of the config, which may hold more."""
    return kind(**{field.name: getattr(entry, field.name) for field in dataclasses.fields(kind)})  # type: ignore[arg-type]


@cache
def _added(kind: type[Any]) -> dict[str, Any]:
    """Field -> the value at which it is left out of the key."""
    hints = get_type_hints(kind, include_extras=True)
    marks = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: mark.before for name, extras in marks.items() for mark in extras if isinstance(mark, Added)}


def keyed(value: Any) -> Any:
    """Settings as plain data, as they count in keys and stand in cards."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        added = _added(type(value))
        values = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {name: keyed(part) for name, part in values.items() if name not in added or part != added[name]}
    if isinstance(value, dict):
        return {name: keyed(part) for name, part in value.items()}
    return [keyed(part) for part in value] if isinstance(value, list | tuple) else value


def parse(kind: type[Settings], text: str) -> Settings:
    """Settings from JSON. Raises UserError with everything that is wrong, in one line."""
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, part['loc'])) or 'JSON'}: {part['msg']}" for part in error.errors()]
        raise UserError(f"--settings: {'; '.join(mistakes)}") from None


def dump(value: Any) -> str:
    """Settings as JSON in ASCII, for a command line; the inverse of `parse`."""
    return json.dumps(dataclasses.asdict(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
