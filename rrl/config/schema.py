"""What a config may hold. Every key is required, but for `gpus`; there are no other defaults.

docs/config.md is made from this module: of each model the docstring, of each key the text behind it.
"""

import difflib
import re
from typing import Annotated, Any, Literal, TypeVar

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


DIFFER = "entries must differ"


def _distinct(values: list[Any]) -> list[Any]:
    if len({str(value) for value in values}) < len(values):
        raise ValueError(DIFFER)
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


def _boolean_or(word: str) -> Any:
    """true, false, or one word."""

    def check(value: Any) -> bool | str:
        if value is True or value is False or value == word:
            checked: bool | str = value
            return checked
        raise ValueError(f"allowed: true, false, {word}")

    return PlainValidator(check, json_schema_input_type=bool | Literal[word])


def _name_or_families(value: Any) -> str:
    return "families" if isinstance(value, dict) else "name"


def _label(value: str) -> str:
    if value.startswith("_"):
        raise ValueError("allowed: a text that does not begin with _, which would hide it from the legend")
    return value


Entry = TypeVar("Entry")


def _said(allowed: str) -> Any:
    """What docs/config.md says is allowed, where JSON's schema has no words for it."""
    return Field(json_schema_extra={"allowed": allowed})


Place = Annotated[str, _said("path"), AfterValidator(_place)]
Text = Annotated[str, _said(f"text of up to {MOST_TEXT:,} characters"), AfterValidator(_text)]
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_number), AfterValidator(_magnitude)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
CountOrNone = Annotated[int, Field(ge=0, le=LARGEST)]
BatchSize = Annotated[int, Field(ge=2, le=LARGEST)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Distinct = Annotated[list[Entry], Field(min_length=1), AfterValidator(_distinct)]  # one entry or more
Channels = Annotated[list[Number], Field(min_length=1, max_length=3), AfterValidator(_channels)]
Deviations = Annotated[list[Positive], Field(min_length=1, max_length=3), AfterValidator(_channels)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$"), _said("64 hex digits")]
Fingerprint = Annotated[
    str, Field(pattern=r"^([0-9a-f]{16}|torchvision/[A-Za-z0-9_]+)$"), _said("16 hex digits, or torchvision/NAME")
]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(-[a-z0-9_]+)*$", max_length=MOST_CHARACTERS)]
Architecture = Annotated[str, _said("architecture")]  # rrl.networks.architecture_names knows them
Reference = Annotated[str, _said("name")]  # that is declared elsewhere; rrl.config.references looks for it
Shots = Annotated[int | str, PlainValidator(_shots, json_schema_input_type=Count | Literal["all"])]
ProbeOf = Annotated[
    Annotated[Reference, Tag("name")] | Annotated[dict[Reference, Reference], Tag("families")],
    Discriminator(_name_or_families),
]
DecayNorm = Annotated[bool | str, _boolean_or("published")]
Selection = Literal["heldout", "paper"]
Selections = Distinct[Selection]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Constant(Strict):
    """The learning rate stays."""

    name: Literal["constant"]
    """Of the schedule."""


class Step(Strict):
    """The learning rate is lowered at given epochs."""

    name: Literal["step"]
    """Of the schedule."""
    milestones: list[Count]
    """Epochs, counted from 0, from which on the learning rate is multiplied by `factor`, once each."""
    factor: Positive
    """What it is multiplied by."""


class Cosine(Strict):
    """The learning rate falls along a half cosine, from epoch to epoch."""

    name: Literal["cosine"]
    """Of the schedule."""
    final: NotNegative
    """Learning rate that the cosine ends at."""


class WarmupCosine(Strict):
    """The learning rate rises from 0 and falls along a half cosine to 0, from step to step."""

    name: Literal["warmup-cosine"]
    """Of the schedule."""
    warmup: Share
    """Fraction of all steps in which it rises."""


Schedule = Annotated[Constant | Step | Cosine | WarmupCosine, Field(discriminator="name")]


class Transform(Strict):
    """Of the small grey images of the demo."""

    mean: Number
    """Subtracted from pixels in [0, 1]."""
    std: Positive
    """What they are divided by then."""
    pad: CountOrNone
    """Pixels of zeros around an image, of which a random crop is taken; in training."""
    flip: bool
    """Random horizontal flip, in training."""


class Photographs(Strict):
    """Random crop in training, centre crop else; then mean and std. Pixels are in [0, 1]."""

    size: Count
    """Pixels of the side of the square that the network sees."""
    resize: Count
    """Pixels of the shorter side before the centre crop; val and test."""
    scale: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    """Area of the random crop as a fraction of the image, smallest and largest; in training."""
    interpolation: Literal["bilinear", "bicubic", "nearest", "box", "hamming", "lanczos"]
    """How pixels are found when an image is scaled."""
    flip: bool
    """Random horizontal flip, in training."""
    mean: Channels
    """Subtracted; one number for grey, three for RGB."""
    std: Deviations
    """What is divided by then; one number for grey, three for RGB."""


class PaperTarget(Strict):
    """A data set of the paper, in its published layout below `data` (docs/paper.md)."""

    dataset: Literal["imagenet", "inaturalist18", "cifar10", "cifar100"]
    """Which one."""
    classes: Annotated[int, Field(ge=2, le=LARGEST)]
    """How many it must have."""
    val_fraction: Fraction
    """Of the training images of each class, that become val, for the rule `heldout`."""
    split_seed: Seed
    """Of the draw of val."""
    shots: Distinct[Shots]
    """Training images per class, each a probe of its own; `all`: all of train."""
    transform: Photographs
    """From image to network."""
    probe: ProbeOf
    """The entry of `probes` by which heads are trained; or an entry for each family of networks, and for `others`."""


class Target(Strict):
    """Classes of a small data set that is fetched if it is missing: the demo's."""

    dataset: Literal["fashion-mnist", "mnist-5k"]
    """Which one."""
    classes: Annotated[list[Seed], Field(min_length=2), AfterValidator(_distinct)]
    """Labels in the data set; they become 0, 1, ... in this order."""
    train_per_class: Count
    """Images of each class in train."""
    val_per_class: Count
    """Images of each class in val."""
    split_seed: Seed
    """Of the order in which images are taken for train and val."""
    shots: Distinct[Shots]
    """Training images per class, each a probe of its own; `all`: all of train."""
    transform: Transform
    """From image to network."""
    probe: ProbeOf
    """The entry of `probes` by which heads are trained; or an entry for each family of networks, and for `others`."""


class ImageTarget(Strict):
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
    shots: Distinct[Shots]
    """Training images per class, each a probe of its own; `all`: all of train."""
    transform: Annotated[
        Annotated[Photographs, Tag("Photographs")] | Annotated[Literal["network"], Tag("network")],
        Discriminator(lambda value: "network" if isinstance(value, str) else "Photographs"),
    ]
    """From image to network; `network`: each network brings its own."""
    probe: ProbeOf
    """The entry of `probes` by which heads are trained; or an entry for each family of networks, and for `others`."""


Gpus = Annotated[
    Count, Field(description="Of one node that share a training, at most; they change rounding and rerun nothing.")
]


Precision = Annotated[
    Literal["float32", "tf32", "bfloat16"],
    Field(
        description="Of products and convolutions in training; weights and the rest are float32. `tf32` is a GPU's: a "
        "CPU computes in float32 instead, and says so."
    ),
]


class Recipe(Strict):
    """How networks are trained (pretrained or distilled): SGD on a target's training images."""

    epochs: Count
    """Passes over the training images."""
    batch_size: BatchSize
    """Images of a step, of all GPUs together."""
    learning_rate: Positive
    """Before the schedule; used as it stands, whatever the batch size."""
    momentum: Share
    """Of SGD."""
    nesterov: bool
    """Nesterov's momentum."""
    weight_decay: NotNegative
    """Of SGD, on all weights and biases but those that `decay_norm` spares."""
    decay_norm: DecayNorm
    """Weight decay on batch norm too; `published`: on that of shortcuts alone (docs/workflow.md)."""
    precision: Precision
    schedule: Schedule
    """Of the learning rate."""
    gpus: Gpus = 1


class Pretrained(Strict):
    """Trained here, one job per seed."""

    origin: Literal["pretrain"]
    """Where the networks come from."""
    arch: Architecture
    """One of docs/networks.md."""
    target: Reference
    """The entry of `targets` that it is trained on."""
    recipe: Reference
    """The entry of `recipes` by which it is trained."""
    seeds: Distinct[Seed]
    """One network each, of initialisation, order of batches and augmentation: `NAME-s0`, ..."""


class Downloaded(Strict):
    """Published networks, downloaded once."""

    origin: Literal["download"]
    """Where the networks come from."""
    checkpoint: Reference
    """One of docs/checkpoints.md."""
    seeds: Distinct[Seed]
    """Positions in the checkpoint's list of files, one network each."""


class TeacherBlocks(Strict):
    """Each student has teachers of its own: the first learns from the first `size` seeds of a family, the second from
    the next `size`, and so on, so that the students are independent of each other."""

    of: Reference
    """The family of the teachers, with heads for the target."""
    size: Count
    """Teachers of one student."""


def _list_or_blocks(value: Any) -> str:
    return "blocks" if isinstance(value, dict | BaseModel) else "list"


class Distilled(Strict):
    """A student that learns from several teachers at once, on their cached features of the target."""

    origin: Literal["distill"]
    """Where the networks come from."""
    arch: Architecture
    """One of docs/networks.md."""
    target: Reference
    """The entry of `targets` that it is trained on."""
    recipe: Reference
    """The entry of `recipes` by which it is trained."""
    teachers: Annotated[
        Annotated[Distinct[Reference], Tag("list")] | Annotated[TeacherBlocks, Tag("blocks")],
        Discriminator(_list_or_blocks),
    ]
    """Networks of the config, such as `erm-s0`, with heads for the target, which all students learn from; or blocks."""
    temperature: Positive
    """What logits are divided by."""
    seeds: Distinct[Seed]
    """One student each."""


class File(Strict):
    """A file of weights."""

    path: Place
    """Absolute, or from where snakemake runs."""
    sha256: Sha256
    """What `rrl fingerprint PATH` prints."""


class User(Strict):
    """Files of your own, one network each."""

    origin: Literal["user"]
    """Where the networks come from."""
    arch: Architecture
    """One of docs/networks.md."""
    format: Literal["auto", "rrl", "swav", "vissl", "vit-npz", "torchvision"]
    """Of the files; `auto`: found by looking into them."""
    files: Distinct[File]
    """One network each: `NAME-s0`, ..."""
    transform: Photographs
    """Used for targets whose transform is `network`."""

    @property
    def seeds(self) -> list[int]:
        return list(range(len(self.files)))


class Library(Strict):
    """Published weights of timm or torchvision, one network each."""

    origin: Literal["library"]
    """Where the networks come from."""
    models: Distinct[Architecture]
    """timm/NAME or torchvision/NAME, one network each: `NAME-s0`, ..."""
    transform: Photographs
    """Used for targets whose transform is `network`."""

    @property
    def seeds(self) -> list[int]:
        return list(range(len(self.models)))


class Random(Strict):
    """Untrained; the statistics of their batch norm are those of a target's training images."""

    origin: Literal["random"]
    """Where the networks come from."""
    arch: Architecture
    """One of docs/networks.md."""
    target: Reference
    """The entry of `targets` whose training images give the statistics."""
    batch_size: BatchSize
    """Images of a forward pass."""
    seeds: Distinct[Seed]
    """One network each."""


class Features(Strict):
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


class Concatenation(Strict):
    """Networks of one family side by side; with `sizes: [2]` the entry `cat` makes `cat2`, `cat2-k1`, ..."""

    of: Reference
    """The family of networks."""
    sizes: Distinct[Count]
    """Numbers of networks, a group of representations each."""
    windows: Literal["first", "all", "disjoint"]
    """`first`: the first n seeds alone. `all`: every n consecutive seeds; these windows overlap. `disjoint`: the seeds
    are cut into blocks as long as the largest of `sizes`, and `-k1` is the first n seeds of block 1, so that windows of
    one size share no network and those of one block are nested; seeds after the last whole block are left out."""


class Members(Strict):
    """Networks of any families side by side."""

    members: Distinct[Reference]
    """Networks, such as `erm-s0`, in this order."""


class BestSubset(Strict):
    """Of networks, the subset that is found greedily on val; its linear probe is a search."""

    best_subset_of: Annotated[list[Reference], Field(min_length=2), AfterValidator(_distinct)]
    """Networks, such as `erm-s0`."""


class Columns(Strict):
    """Ranges of the features of each network of the family with the entry's name, as its members."""

    columns: Annotated[list[Annotated[list[Seed], Field(min_length=2, max_length=2)]], Field(min_length=1)]
    """First column, and the one behind the last, of each member."""


class HeadTraining(Strict):
    """How linear heads are trained on cached features: SGD, the whole grid at once."""

    learning_rates: Distinct[Positive]
    """Of the grid, before the schedule."""
    epochs: Count
    """How many; the best of them is picked."""
    steps_per_epoch: CountOrNone
    """Batches of an epoch; 0: one pass over the images."""
    batch_size: BatchSize
    """Images of a step."""
    momentum: Share
    """Of SGD."""
    nesterov: bool
    """Nesterov's momentum."""
    schedule: Schedule
    """Of the learning rate."""
    seed: Seed
    """Of initialisation and order of batches."""


class Probe(HeadTraining):
    """A linear probe by SGD: the protocol of the paper."""

    weight_decays: Distinct[NotNegative]
    """Of the grid."""
    batch_norm: Annotated[bool | str, _boolean_or("decayed")]
    """Batch norm in front of the linear head; `decayed`: with weight decay on it too."""


class LbfgsProbe(Strict):
    """A linear probe by L-BFGS in place of SGD, which is not the protocol of the paper (docs/workflow.md)."""

    solver: Annotated[str, _said("`lbfgs`"), AfterValidator(_solver)]
    """A probe by SGD has no such key."""
    iterations: Count
    """For each weight decay, at most."""
    tolerance: Positive
    """Fraction of the objective that may be left to its minimum, about."""
    weight_decays: Distinct[NotNegative]
    """Of the grid."""
    batch_norm: bool
    """Standardise the features by the training images; no affine part."""


class TwoStage(HeadTraining):
    """The head of the second stage, from the members' averaged heads."""

    settings: Distinct[str]
    """Settings of the first stage, such as lr0.1-wd0.0005-e8; their weight decay is that of the second stage too."""


Rates = Distinct[Positive]
Epochs = Distinct[Count]


class RatesByGrid(Strict):
    """Learning rates, by the config's `grid`."""

    recommended: Rates
    """Those of `grid: recommended`."""
    published: Rates
    """Those of `grid: published`."""


class EpochsByGrid(Strict):
    """Numbers of epochs, by the config's `grid`."""

    recommended: Epochs
    """Those of `grid: recommended`."""
    published: Epochs
    """Those of `grid: published`."""


def _list_or_grids(value: Any) -> str:
    return "grids" if isinstance(value, dict | BaseModel) else "list"


class Finetuning(Strict):
    """Everything is trained: each network, and the networks of a concatenation as one; then a second stage."""

    targets: dict[Reference, Shots]
    """Entries of `targets`, each with the training images per class."""
    networks: Distinct[Reference]
    """The families that are fine-tuned, and concatenated."""
    selections: Selections
    """Rules by which setting and epoch are picked; each is a training of its own."""
    learning_rates: Annotated[
        Annotated[Rates, Tag("list")] | Annotated[RatesByGrid, Tag("grids")], Discriminator(_list_or_grids)
    ]
    """Of the grid, before the schedule."""
    weight_decays: Distinct[NotNegative]
    """Of the grid."""
    epochs: Annotated[
        Annotated[Epochs, Tag("list")] | Annotated[EpochsByGrid, Tag("grids")], Discriminator(_list_or_grids)
    ]
    """Of the grid: lengths of a training, in epochs."""
    steps_per_epoch: CountOrNone
    """Batches of an epoch; 0: one pass over the images."""
    batch_size: BatchSize
    """Images of a step, of all GPUs together."""
    momentum: Share
    """Of SGD."""
    nesterov: bool
    """Nesterov's momentum."""
    decay_norm: DecayNorm
    """Weight decay on batch norm too; `published`: on that of shortcuts alone (docs/workflow.md)."""
    precision: Precision
    schedule: Schedule
    """Of the learning rate."""
    seed: Seed
    """Of the head's initialisation, order of batches and augmentation."""
    gpus: Gpus = 1
    two_stage: TwoStage
    """The second stage."""


class PublishedFinetuning(Strict):
    """Networks that others fine-tuned take the place of the first stage, with the heads of their files."""

    targets: dict[Reference, Shots]
    """Entries of `targets`, each with the training images per class."""
    networks: dict[Reference, Reference]
    """From a family to the family of the same networks, fine-tuned."""
    selections: Selections
    """Rules by which the epoch of the second stage is picked."""
    weight_decay: NotNegative
    """Of the second stage."""
    two_stage: HeadTraining
    """The second stage."""


class Column(Strict):
    """A column of a table."""

    transfer: Literal["linear_probe", "finetune", "averaged_head", "two_stage"]
    """What is trained on the target (docs/workflow.md)."""
    target: Reference
    """An entry of `targets`."""
    shots: Shots
    """Training images per class, of those that the target or the fine-tuning names."""


class Row(Strict):
    """A row of a table."""

    method: Text
    """Name that the table shows."""
    group: Reference
    """Family of networks or group of representations that the row is the mean of."""
    ensemble: bool
    """Of members trained separately, in place of the column's transfer; the table writes ^sub."""


class Table(Strict):
    """A table of records, as .csv, .md and .tex."""

    caption: Text
    """Above the table."""
    selections: Selections
    """Rules that it shows, in this order."""
    windows: Literal["first", "all"]
    """Of a group of windows, those that a row is the mean of."""
    paper: Literal[1, 2, 3, 4] | None
    """The table of the paper whose values stand beside ours."""
    columns: Distinct[Column]
    """From left to right."""
    rows: Distinct[Row]
    """From top to bottom."""


class Series(Strict):
    """Marks of one kind, in all panels of a row of panels."""

    label: Annotated[Text, AfterValidator(_label)]
    """In the legend."""
    transfer: Literal["linear_probe", "finetune", "two_stage"]
    """Whose accuracy is drawn."""
    groups: Distinct[Reference]
    """Rows of the table, by their group; a mark each, joined by a line."""
    ensemble: bool
    """As in the table's row."""


class Panel(Strict):
    """One plot."""

    target: Reference
    """An entry of `targets`, as in the table's column."""
    shots: Shots
    """As in the table's column."""


class PanelRow(Strict):
    """Plots side by side."""

    title: Text
    """Above them."""
    table: Reference
    """The entry of `tables` whose cells are drawn."""
    panels: Distinct[Panel]
    """From left to right."""
    series: Annotated[list[Series], Field(min_length=1, max_length=8), AfterValidator(_distinct)]
    """As many as there are markers."""


class AccuracyFigure(Strict):
    """Accuracy over the parameters, or the number of networks; or what each added network gains; as .svg and .png."""

    kind: Literal["parameters", "networks", "gains"]
    """What is drawn."""
    caption: Text
    """Of the figure."""
    selection: Selection
    """The rule whose accuracies are drawn."""
    rows: Annotated[list[PanelRow], Field(min_length=1)]
    """From top to bottom."""


class NetworkGroup(Strict):
    """Networks of one family, side by side."""

    label: Text
    """Of the group, at the edge of the picture."""
    family: Reference
    """An entry of `networks`."""
    seeds: Distinct[Seed]
    """Which of its networks."""
    finetuned: bool
    """The same, fine-tuned on the panel's target by the first setting of `two_stage`; left out where none is."""


class SimilarityFigure(Strict):
    """Linear CKA between networks, a panel for each target; as .svg and .png."""

    kind: Literal["similarity"]
    """What is drawn."""
    caption: Text
    """Of the figure."""
    targets: Distinct[Reference]
    """On whose test images the networks are compared, a panel each."""
    groups: Distinct[NetworkGroup]
    """In this order."""


class Greater(Strict):
    """The first of each pair is more accurate than the second."""

    name: Literal["greater"]
    """Of the test."""


class Equal(Strict):
    """The two of each pair differ by less than a bound."""

    name: Literal["equal"]
    """Of the test."""
    within: Positive
    """The bound, in percentage points."""


class Method(Strict):
    """One side of a comparison: a row of the claim's table, and what was trained."""

    group: Reference
    """Of the row; no two of its representations may share a network."""
    ensemble: bool
    """As in the row."""
    transfer: Literal["linear_probe", "finetune", "averaged_head", "two_stage"]
    """As in the table's columns."""


class Claim(Strict):
    """What the results are to show; `rrl claims` says whether they do, from independent replicates. No job depends on
    it."""

    statement: Text
    """In words; it holds if every pair passes the test on every panel."""
    table: Reference
    """The entry of `tables` whose cells are compared."""
    selection: Selection
    """The rule whose accuracies are compared."""
    test: Annotated[Greater | Equal, Field(discriminator="name")]
    """What each comparison must show."""
    pairs: Distinct[Annotated[list[Method], Field(min_length=2, max_length=2), AfterValidator(_distinct)]]
    """Methods that are compared, the first with the second."""
    panels: Distinct[Panel]
    """Where they are compared."""


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
    """An experiment."""

    results: Place
    """Folder that everything is written below."""
    data: Place
    """Folder of the data sets."""
    checkpoints: Place
    """Folder of downloaded networks."""
    arithmetic: Literal["portable", "native"]
    """`portable`: the same bytes on every Linux machine with AVX2; `native`: the fastest here (docs/workflow.md)."""
    targets: dict[Name, Annotated[Target | ImageTarget | PaperTarget, Field(discriminator="dataset")]]
    """Data sets that networks are trained on or moved to."""
    recipes: dict[Name, Recipe]
    """Ways to train a network."""
    networks: dict[
        Name, Annotated[Pretrained | Distilled | Random | Downloaded | User | Library, Field(discriminator="origin")]
    ]
    """Families of networks: one of them per seed, file or model, named `NAME-s0`, `NAME-s1`, ..."""
    features: Features
    """How features are extracted."""
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
    """Networks side by side. Each network alone is a representation too, without an entry."""
    probes: dict[
        Name,
        Annotated[
            Annotated[Probe, Tag("Probe")] | Annotated[LbfgsProbe, Tag("LbfgsProbe")], Discriminator(_kind_of_probe)
        ],
    ]
    """Ways to train a linear head."""
    grid: Literal["own", "recommended", "published"]
    """Which values count where a list has recommended and published ones; `own`: there is no such list."""
    finetunings: dict[
        Name,
        Annotated[
            Annotated[Finetuning, Tag("Finetuning")] | Annotated[PublishedFinetuning, Tag("PublishedFinetuning")],
            Discriminator(_kind_of_finetuning),
        ],
    ]
    """What is fine-tuned on what, and how; `{}`: nothing."""
    tables: Annotated[dict[Name, Table], Field(min_length=1)]
    """What is to be made: everything else is made because a table or a figure needs it."""
    figures: dict[Name, Annotated[AccuracyFigure | SimilarityFigure, Field(discriminator="kind")]]
    """Pictures of tables, and of networks; `{}`: none."""
    claims: dict[Name, Claim]
    """What the results are to show; `{}`: nothing."""
