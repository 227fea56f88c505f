"""What a config may hold. Every key is required, but for `gpus`; there are no other defaults."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def _number(value: Any) -> Any:
    """`1e-4` is a string to YAML 1.1; it means the number all the same."""
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def _distinct(values: list[Any]) -> list[Any]:
    if len({str(value) for value in values}) < len(values):
        raise ValueError("entries must differ")
    return values


def _channels(values: list[float]) -> list[float]:
    if len(values) == 2:
        raise ValueError("allowed: one number for grey images, three for RGB")
    return values


def _shots(value: int | str) -> int | str:
    if value == "all" or (isinstance(value, int) and value >= 1):
        return value
    raise ValueError("allowed: a whole number from 1, or all")


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Channels = Annotated[list[Number], Field(min_length=1, max_length=3), AfterValidator(_channels)]
Deviations = Annotated[list[Positive], Field(min_length=1, max_length=3), AfterValidator(_channels)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(-[a-z0-9_]+)*$")]
Shots = Annotated[int | str, AfterValidator(_shots)]
Selection = Literal["heldout", "paper"]
Selections = Annotated[list[Selection], Field(min_length=1), AfterValidator(_distinct)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Constant(Strict):
    name: Literal["constant"]


class Step(Strict):
    name: Literal["step"]
    milestones: list[Count] = Field(description="epochs at which the rate is multiplied by `factor`")
    factor: Positive


class Cosine(Strict):
    name: Literal["cosine"]
    final: NotNegative = Field(description="rate that the cosine ends at; stepped per epoch")


class WarmupCosine(Strict):
    name: Literal["warmup-cosine"]
    warmup: Annotated[Number, Field(ge=0, lt=1)] = Field(description="fraction of all steps; stepped per step")


Schedule = Annotated[Constant | Step | Cosine | WarmupCosine, Field(discriminator="name")]


class Transform(Strict):
    mean: Number = Field(description="subtracted from pixels in [0, 1]")
    std: Positive
    pad: Annotated[int, Field(ge=0)] = Field(description="random crop after zero padding, in training")
    flip: bool = Field(description="random horizontal flip, in training")


class Photographs(Strict):
    size: Count = Field(description="pixels of the square that the network sees")
    resize: Count = Field(description="shorter side before the centre crop; val and test")
    scale: Annotated[list[Positive], Field(min_length=2, max_length=2)] = Field(
        description="area of the random crop as a fraction of the image, smallest and largest; training"
    )
    interpolation: Literal["bilinear", "bicubic", "nearest", "box", "hamming", "lanczos"]
    flip: bool = Field(description="random horizontal flip, in training")
    mean: Channels = Field(description="one number for grey, three for RGB")
    std: Deviations


class PaperTarget(Strict):
    """A data set of the paper, in its published layout below `data`."""

    dataset: Literal["imagenet", "inaturalist18", "cifar10", "cifar100"]
    classes: Annotated[int, Field(ge=2)] = Field(description="that it must have")
    val_fraction: Fraction = Field(description="of the training images of each class, for the rule `heldout`")
    split_seed: Seed
    shots: Annotated[list[Shots], Field(min_length=1), AfterValidator(_distinct)]
    transform: Photographs
    probe: Name


class Target(Strict):
    dataset: Literal["fashion-mnist", "mnist-5k"]
    classes: Annotated[list[Seed], Field(min_length=2), AfterValidator(_distinct)]
    train_per_class: Count
    val_per_class: Count
    split_seed: Seed
    shots: Annotated[list[Shots], Field(min_length=1), AfterValidator(_distinct)]
    transform: Transform
    probe: Name


class ImageTarget(Strict):
    """Images of the user."""

    dataset: Literal["images"]
    source: str = Field(description="below `data`: folder of class folders, CSV, arrays; or torchvision/<data set>")
    fingerprint: str = Field(description="what `rrl fingerprint SOURCE` prints")
    unreadable: Literal["stop", "leave_out"] = Field(description="what to do about images that cannot be used")
    val_fraction: Fraction = Field(description="of the images of a class, where the data have no val part")
    test_fraction: Fraction
    split_seed: Seed
    shots: Annotated[list[Shots], Field(min_length=1), AfterValidator(_distinct)]
    transform: Annotated[
        Annotated[Photographs, Tag("Photographs")] | Annotated[Literal["network"], Tag("network")],
        Discriminator(lambda value: "network" if isinstance(value, str) else "Photographs"),
    ] = Field(description="`network`: each network brings its own")
    probe: Name


Gpus = Annotated[
    Count, Field(description="of one node that share a training, at most; they change rounding and rerun nothing")
]


class Recipe(Strict):
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: NotNegative
    decay_norm: bool
    schedule: Schedule
    gpus: Gpus = 1


class Pretrained(Strict):
    origin: Literal["pretrain"]
    arch: str
    target: Name
    recipe: Name
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class Downloaded(Strict):
    origin: Literal["download"]
    checkpoint: Name = Field(description="of the published networks, docs/checkpoints.md")
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class Distilled(Strict):
    """A student that learns from several teachers at once, on their cached features of the target."""

    origin: Literal["distill"]
    arch: str
    target: Name
    recipe: Name
    teachers: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)] = Field(description="networks")
    temperature: Positive = Field(description="that logits are divided by")
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class File(Strict):
    path: str
    sha256: Sha256 = Field(description="what `rrl fingerprint PATH` prints")


class User(Strict):
    """Files of the user, one network each."""

    origin: Literal["user"]
    arch: str
    format: Literal["auto", "rrl", "swav", "vissl", "vit-npz", "torchvision"]
    files: Annotated[list[File], Field(min_length=1), AfterValidator(_distinct)]
    transform: Photographs = Field(description="used for targets whose transform is `network`")

    @property
    def seeds(self) -> list[int]:
        return list(range(len(self.files)))


class Library(Strict):
    """Published weights of timm or torchvision, one network each."""

    origin: Literal["library"]
    models: Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)]
    transform: Photographs

    @property
    def seeds(self) -> list[int]:
        return list(range(len(self.models)))


class Random(Strict):
    origin: Literal["random"]
    arch: str
    target: Name
    batch_size: Annotated[int, Field(ge=2)]
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class Features(Strict):
    views: Count
    dtype: Literal["float16", "float32"]
    batch_size: Count


class Concatenation(Strict):
    of: Name
    sizes: Annotated[list[Count], Field(min_length=1), AfterValidator(_distinct)]
    windows: Literal["first", "all"]


class Members(Strict):
    """Networks of any families."""

    members: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)]


class BestSubset(Strict):
    """Of networks, the subset that is found greedily on val; its linear probe is a search."""

    best_subset_of: Annotated[list[Name], Field(min_length=2), AfterValidator(_distinct)]


class Columns(Strict):
    columns: Annotated[list[Annotated[list[Seed], Field(min_length=2, max_length=2)]], Field(min_length=1)]


class HeadTraining(Strict):
    """Of linear heads on cached features."""

    learning_rates: Annotated[list[Positive], Field(min_length=1), AfterValidator(_distinct)]
    epochs: Count
    steps_per_epoch: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)]
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    nesterov: bool
    schedule: Schedule
    seed: Seed


class Probe(HeadTraining):
    weight_decays: Annotated[list[NotNegative], Field(min_length=1), AfterValidator(_distinct)]
    batch_norm: bool


class TwoStage(HeadTraining):
    settings: Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)] = Field(
        description="settings of the first stage, whose weight decay is that of the second too"
    )


Rates = Annotated[list[Positive], Field(min_length=1), AfterValidator(_distinct)]
Epochs = Annotated[list[Count], Field(min_length=1), AfterValidator(_distinct)]


class RatesByGrid(Strict):
    recommended: Rates
    published: Rates


class EpochsByGrid(Strict):
    recommended: Epochs
    published: Epochs


def _list_or_grids(value: Any) -> str:
    return "grids" if isinstance(value, dict | BaseModel) else "list"


class Finetuning(Strict):
    targets: dict[Name, Shots] = Field(description="target -> training images per class")
    networks: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)] = Field(
        description="the families that are fine-tuned, and concatenated"
    )
    selections: Selections
    learning_rates: Annotated[
        Annotated[Rates, Tag("list")] | Annotated[RatesByGrid, Tag("grids")], Discriminator(_list_or_grids)
    ]
    weight_decays: Annotated[list[NotNegative], Field(min_length=1), AfterValidator(_distinct)]
    epochs: Annotated[
        Annotated[Epochs, Tag("list")] | Annotated[EpochsByGrid, Tag("grids")], Discriminator(_list_or_grids)
    ]
    steps_per_epoch: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)]
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    nesterov: bool
    decay_norm: bool
    schedule: Schedule
    seed: Seed
    gpus: Gpus = 1
    two_stage: TwoStage


class PublishedFinetuning(Strict):
    """Networks that others fine-tuned take the place of the first stage, with the heads of their files."""

    targets: dict[Name, Shots]
    networks: dict[Name, Name] = Field(description="family -> the family of the same networks, fine-tuned")
    selections: Selections
    weight_decay: NotNegative = Field(description="of the second stage")
    two_stage: HeadTraining


class Column(Strict):
    transfer: Literal["linear_probe", "finetune", "averaged_head", "two_stage"]
    target: Name
    shots: Shots


class Row(Strict):
    method: str
    group: Name
    ensemble: bool = Field(description="of members trained separately, in place of the column's transfer")


class Table(Strict):
    caption: str
    selections: Selections
    windows: Literal["first", "all"] = Field(description="of a group of windows, those that a row is the mean of")
    paper: Literal[1, 2, 3, 4] | None = Field(description="the table of the paper whose values stand beside ours")
    columns: Annotated[list[Column], Field(min_length=1), AfterValidator(_distinct)]
    rows: Annotated[list[Row], Field(min_length=1), AfterValidator(_distinct)]


class Series(Strict):
    label: str
    transfer: Literal["linear_probe", "finetune", "two_stage"]
    groups: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)]
    ensemble: bool


class Panel(Strict):
    target: Name
    shots: Shots


class PanelRow(Strict):
    title: str
    table: Name = Field(description="whose cells are drawn")
    panels: Annotated[list[Panel], Field(min_length=1), AfterValidator(_distinct)]
    series: Annotated[list[Series], Field(min_length=1, max_length=8), AfterValidator(_distinct)] = Field(
        description="as many as there are markers"
    )


class Figure(Strict):
    caption: str
    selection: Selection
    rows: Annotated[list[PanelRow], Field(min_length=1)]


def _kind_of_representation(value: Any) -> str:
    kinds = {"columns": "Columns", "members": "Members", "best_subset_of": "BestSubset"}
    return next((kind for key, kind in kinds.items() if isinstance(value, dict) and key in value), "Concatenation")


def _kind_of_finetuning(value: Any) -> str:
    networks = value.get("networks") if isinstance(value, dict) else None
    return "PublishedFinetuning" if isinstance(networks, dict) else "Finetuning"


class Config(Strict):
    results: str
    data: str
    checkpoints: str = Field(description="folder of downloaded networks")
    targets: dict[Name, Annotated[Target | ImageTarget | PaperTarget, Field(discriminator="dataset")]]
    recipes: dict[Name, Recipe]
    networks: dict[
        Name, Annotated[Pretrained | Distilled | Random | Downloaded | User | Library, Field(discriminator="origin")]
    ]
    features: Features
    representations: dict[
        Name,
        Annotated[
            Annotated[Concatenation, Tag("Concatenation")]
            | Annotated[Columns, Tag("Columns")]
            | Annotated[Members, Tag("Members")]
            | Annotated[BestSubset, Tag("BestSubset")],
            Discriminator(_kind_of_representation),
        ],
    ]
    probes: dict[Name, Probe]
    grid: Literal["own", "recommended", "published"] = Field(
        description="which values count where a list has recommended and published ones; own: there is no such list"
    )
    finetunings: dict[
        Name,
        Annotated[
            Annotated[Finetuning, Tag("Finetuning")] | Annotated[PublishedFinetuning, Tag("PublishedFinetuning")],
            Discriminator(_kind_of_finetuning),
        ],
    ]
    tables: dict[Name, Table]
    figures: dict[Name, Figure]
