"""What a config may hold. Every key is required, but for `gpus`; there are no other defaults."""

import difflib
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PlainValidator, Tag

EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
# Names and numbers become parts of names of files, which may have 255 bytes.
MOST_CHARACTERS = 50  # of a name
MOST_TEXT = 2000  # characters of a caption; a command line has an end too
LARGEST = 1_000_000_000
LARGEST_SEED = 2**63 - 1


def _number(value: Any) -> Any:
    """`1e-4` is a string to YAML 1.1; it means the number all the same."""
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def _magnitude(value: float) -> float:
    if value and not 1e-20 <= abs(value) <= 1e20:
        raise ValueError("allowed: 0, and sizes from 1e-20 to 1e20")
    return value


def _distinct(values: list[Any]) -> list[Any]:
    if len({str(value) for value in values}) < len(values):
        raise ValueError("entries must differ")
    return values


def _channels(values: list[float]) -> list[float]:
    if len(values) == 2:
        raise ValueError("allowed: one number for grey images, three for RGB")
    return values


def _shots(value: Any) -> int | str:
    if value == "all" or (type(value) is int and 1 <= value <= LARGEST):
        shots: int | str = value
        return shots
    raise ValueError("allowed: a whole number from 1, or all")


def _place(value: str) -> str:
    """Paths reach shells, of this machine and of a cluster, and Snakemake's patterns."""
    refused = sorted({letter for letter in value if letter in '"\\$`{}*?[]' or not letter.isprintable()})
    if refused:
        raise ValueError(f"not allowed in a path here: {' '.join(map(repr, refused))}")
    if value != value.strip() or not value or value.startswith(("-", "~")):
        raise ValueError("allowed: a path that begins with neither -, ~ nor a space, and does not end with a space")
    if len(value) > MOST_TEXT or any(len(part.encode()) > 255 for part in value.split("/")):
        raise ValueError(f"allowed: a path of at most {MOST_TEXT} characters, 255 bytes for each folder")
    return value


def _text(value: str) -> str:
    """Text for people, in one line: in a table or a picture the end of a line is a space."""
    text = " ".join(value.split())
    if refused := sorted({letter for letter in text if not letter.isprintable()}):
        raise ValueError(f"not allowed in a text: {' '.join(map(repr, refused))}")
    if not text or len(text) > MOST_TEXT:
        raise ValueError(f"allowed: a text of 1 to {MOST_TEXT} characters")
    return text


def _solver(value: str) -> str:
    if value != "lbfgs":
        raise ValueError("allowed: lbfgs; a probe by SGD has no key solver")
    return value


def _label(value: str) -> str:
    if value.startswith("_"):
        raise ValueError("allowed: a text that does not begin with _, which would hide it from the legend")
    return value


Place = Annotated[str, AfterValidator(_place)]
Text = Annotated[str, AfterValidator(_text)]
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_number), AfterValidator(_magnitude)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
CountOrNone = Annotated[int, Field(ge=0, le=LARGEST)]
BatchSize = Annotated[int, Field(ge=2, le=LARGEST)]
Channels = Annotated[list[Number], Field(min_length=1, max_length=3), AfterValidator(_channels)]
Deviations = Annotated[list[Positive], Field(min_length=1, max_length=3), AfterValidator(_channels)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, Field(pattern=r"^([0-9a-f]{16}|torchvision/[A-Za-z0-9_]+)$")]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(-[a-z0-9_]+)*$", max_length=MOST_CHARACTERS)]
Reference = str  # a name that is declared elsewhere; rrl.references looks for it
Shots = Annotated[int | str, PlainValidator(_shots)]
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
    pad: CountOrNone = Field(description="random crop after zero padding, in training")
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
    classes: Annotated[int, Field(ge=2, le=LARGEST)] = Field(description="that it must have")
    val_fraction: Fraction = Field(description="of the training images of each class, for the rule `heldout`")
    split_seed: Seed
    shots: Annotated[list[Shots], Field(min_length=1), AfterValidator(_distinct)]
    transform: Photographs
    probe: Reference


class Target(Strict):
    dataset: Literal["fashion-mnist", "mnist-5k"]
    classes: Annotated[list[Seed], Field(min_length=2), AfterValidator(_distinct)]
    train_per_class: Count
    val_per_class: Count
    split_seed: Seed
    shots: Annotated[list[Shots], Field(min_length=1), AfterValidator(_distinct)]
    transform: Transform
    probe: Reference


class ImageTarget(Strict):
    """Images of the user."""

    dataset: Literal["images"]
    source: Place = Field(description="below `data`: folder of class folders, CSV, arrays; or torchvision/<data set>")
    fingerprint: Fingerprint = Field(description="what `rrl fingerprint SOURCE` prints")
    unreadable: Literal["stop", "leave_out"] = Field(description="what to do about images that cannot be used")
    val_fraction: Fraction = Field(description="of the images of a class, where the data have no val part")
    test_fraction: Fraction
    split_seed: Seed
    shots: Annotated[list[Shots], Field(min_length=1), AfterValidator(_distinct)]
    transform: Annotated[
        Annotated[Photographs, Tag("Photographs")] | Annotated[Literal["network"], Tag("network")],
        Discriminator(lambda value: "network" if isinstance(value, str) else "Photographs"),
    ] = Field(description="`network`: each network brings its own")
    probe: Reference


Gpus = Annotated[
    Count, Field(description="of one node that share a training, at most; they change rounding and rerun nothing")
]


Precision = Annotated[
    Literal["float32", "bfloat16"],
    Field(description="of products and convolutions in training; weights and the rest are float32"),
]


class Recipe(Strict):
    epochs: Count
    batch_size: BatchSize
    learning_rate: Positive
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: NotNegative
    decay_norm: bool
    precision: Precision
    schedule: Schedule
    gpus: Gpus = 1


class Pretrained(Strict):
    origin: Literal["pretrain"]
    arch: str
    target: Reference
    recipe: Reference
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class Downloaded(Strict):
    origin: Literal["download"]
    checkpoint: Reference = Field(description="of the published networks, docs/checkpoints.md")
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class Distilled(Strict):
    """A student that learns from several teachers at once, on their cached features of the target."""

    origin: Literal["distill"]
    arch: str
    target: Reference
    recipe: Reference
    teachers: Annotated[list[Reference], Field(min_length=1), AfterValidator(_distinct)] = Field(description="networks")
    temperature: Positive = Field(description="that logits are divided by")
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class File(Strict):
    path: Place
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
    target: Reference
    batch_size: BatchSize
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]


class Features(Strict):
    views: Count
    dtype: Literal["float16", "float32"]
    precision: Literal["float32", "bfloat16"] = Field(description="of the networks, when features are extracted")
    batch_size: Count


class Concatenation(Strict):
    of: Reference
    sizes: Annotated[list[Count], Field(min_length=1), AfterValidator(_distinct)]
    windows: Literal["first", "all"]


class Members(Strict):
    """Networks of any families."""

    members: Annotated[list[Reference], Field(min_length=1), AfterValidator(_distinct)]


class BestSubset(Strict):
    """Of networks, the subset that is found greedily on val; its linear probe is a search."""

    best_subset_of: Annotated[list[Reference], Field(min_length=2), AfterValidator(_distinct)]


class Columns(Strict):
    columns: Annotated[list[Annotated[list[Seed], Field(min_length=2, max_length=2)]], Field(min_length=1)]


class HeadTraining(Strict):
    """Of linear heads on cached features."""

    learning_rates: Annotated[list[Positive], Field(min_length=1), AfterValidator(_distinct)]
    epochs: Count
    steps_per_epoch: CountOrNone
    batch_size: BatchSize
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    nesterov: bool
    schedule: Schedule
    seed: Seed


class Probe(HeadTraining):
    weight_decays: Annotated[list[NotNegative], Field(min_length=1), AfterValidator(_distinct)]
    batch_norm: bool


class LbfgsProbe(Strict):
    """A linear probe by L-BFGS in place of SGD, which is not the protocol of the paper."""

    solver: Annotated[str, AfterValidator(_solver)]
    iterations: Count = Field(description="for each weight decay, at most")
    tolerance: Positive = Field(description="fraction of the objective that may be left to its minimum, about")
    weight_decays: Annotated[list[NotNegative], Field(min_length=1), AfterValidator(_distinct)]
    batch_norm: bool = Field(description="standardise the features by the training images; no affine part")


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
    targets: dict[Reference, Shots] = Field(description="target -> training images per class")
    networks: Annotated[list[Reference], Field(min_length=1), AfterValidator(_distinct)] = Field(
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
    steps_per_epoch: CountOrNone
    batch_size: BatchSize
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    nesterov: bool
    decay_norm: bool
    precision: Precision
    schedule: Schedule
    seed: Seed
    gpus: Gpus = 1
    two_stage: TwoStage


class PublishedFinetuning(Strict):
    """Networks that others fine-tuned take the place of the first stage, with the heads of their files."""

    targets: dict[Reference, Shots]
    networks: dict[Reference, Reference] = Field(description="family -> the family of the same networks, fine-tuned")
    selections: Selections
    weight_decay: NotNegative = Field(description="of the second stage")
    two_stage: HeadTraining


class Column(Strict):
    transfer: Literal["linear_probe", "finetune", "averaged_head", "two_stage"]
    target: Reference
    shots: Shots


class Row(Strict):
    method: Text
    group: Reference
    ensemble: bool = Field(description="of members trained separately, in place of the column's transfer")


class Table(Strict):
    caption: Text
    selections: Selections
    windows: Literal["first", "all"] = Field(description="of a group of windows, those that a row is the mean of")
    paper: Literal[1, 2, 3, 4] | None = Field(description="the table of the paper whose values stand beside ours")
    columns: Annotated[list[Column], Field(min_length=1), AfterValidator(_distinct)]
    rows: Annotated[list[Row], Field(min_length=1), AfterValidator(_distinct)]


class Series(Strict):
    label: Annotated[Text, AfterValidator(_label)]
    transfer: Literal["linear_probe", "finetune", "two_stage"]
    groups: Annotated[list[Reference], Field(min_length=1), AfterValidator(_distinct)]
    ensemble: bool


class Panel(Strict):
    target: Reference
    shots: Shots


class PanelRow(Strict):
    title: Text
    table: Reference = Field(description="whose cells are drawn")
    panels: Annotated[list[Panel], Field(min_length=1), AfterValidator(_distinct)]
    series: Annotated[list[Series], Field(min_length=1, max_length=8), AfterValidator(_distinct)] = Field(
        description="as many as there are markers"
    )


class AccuracyFigure(Strict):
    """Accuracy over the parameters, or the number of networks; or what each added network gains."""

    kind: Literal["parameters", "networks", "gains"]
    caption: Text
    selection: Selection
    rows: Annotated[list[PanelRow], Field(min_length=1)]


class NetworkGroup(Strict):
    """Networks of one family, side by side."""

    label: Text
    family: Reference
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
    finetuned: bool = Field(
        description="the same, fine-tuned on the panel's target by the first rule and setting of two_stage; "
        "left out where none is"
    )


class SimilarityFigure(Strict):
    """Linear CKA between networks, a panel for each target."""

    kind: Literal["similarity"]
    caption: Text
    targets: Annotated[list[Reference], Field(min_length=1), AfterValidator(_distinct)]
    groups: Annotated[list[NetworkGroup], Field(min_length=1), AfterValidator(_distinct)]


def _kind_of_representation(value: Any) -> str:
    """By the key that only this kind has, misspelt or not."""
    kinds = {"columns": "Columns", "members": "Members", "best_subset_of": "BestSubset"}
    found = [str(key) for key in value if key not in Concatenation.model_fields] if isinstance(value, dict) else []
    near = [match for key in found for match in difflib.get_close_matches(key, kinds, n=1, cutoff=0.8)]
    return next((kind for key, kind in kinds.items() if key in near), "Concatenation")


def _kind_of_probe(value: Any) -> str:
    """By a key that only this kind has, misspelt or not."""
    only = [key for key in LbfgsProbe.model_fields if key not in Probe.model_fields]
    found = [str(key)[:100] for key in value if key not in Probe.model_fields] if isinstance(value, dict) else []
    near = any(difflib.get_close_matches(key, only, n=1, cutoff=0.8) for key in found)
    return "LbfgsProbe" if near else "Probe"


def _kind_of_finetuning(value: Any) -> str:
    published = isinstance(value, dict) and isinstance(value.get("networks"), dict) and "epochs" not in value
    return "PublishedFinetuning" if published else "Finetuning"


class Config(Strict):
    results: Place
    data: Place
    checkpoints: Place = Field(description="folder of downloaded networks")
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
    probes: dict[
        Name,
        Annotated[
            Annotated[Probe, Tag("Probe")] | Annotated[LbfgsProbe, Tag("LbfgsProbe")], Discriminator(_kind_of_probe)
        ],
    ]
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
    tables: Annotated[dict[Name, Table], Field(min_length=1)]
    figures: dict[Name, Annotated[AccuracyFigure | SimilarityFigure, Field(discriminator="kind")]]
