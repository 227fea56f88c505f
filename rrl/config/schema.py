"""What a config may hold. Every key is required, but for `gpus`; there are no other defaults.

docs/config.md is made from this module: of each model the docstring, of each key the text after it.
"""

import difflib
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from rrl.config import kinds
from rrl.config.kinds import (
    Architecture,
    BatchSize,
    Count,
    CountOrNone,
    DecayNorm,
    Distinct,
    Name,
    NotNegative,
    Place,
    Positive,
    ProbeOf,
    Reference,
    Seed,
    Selection,
    Selections,
    Sha256,
    Share,
    Shots,
    Text,
    Word,
)
from rrl.config.settings import (
    DemoSource,
    Features,
    HeadGrid,
    ImageSource,
    LbfgsProbe,
    PaddedCrop,
    PaperSource,
    Photographs,
    Precision,
    Probe,
    Recipe,
    Schedule,
    settings,
)
from rrl.config.transfers import SEPARATE, TRANSFERS
from rrl.networks.formats import FORMATS


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, defer_build=True)


Gpus = Annotated[
    Count, Field(description="Of one node that share a training, at most; they change rounding and rerun nothing.")
]
PROBE = "The entry of `probes` by which heads are trained; or an entry for each family of networks, and for `others`."
SHOTS = "Training images per class, each a probe of its own; `all`: all of train."


@settings
class DemoTarget(DemoSource):
    """Classes of a small data set that is fetched if it is missing: the demo's."""

    shots: Annotated[Distinct[Shots], Field(description=SHOTS)]
    transform: PaddedCrop
    """From image to network."""
    probe: Annotated[ProbeOf, Field(description=PROBE)]


@settings
class PaperTarget(PaperSource):
    """A data set of the paper, in its published layout below `data` (docs/paper.md)."""

    shots: Annotated[Distinct[Shots], Field(description=SHOTS)]
    transform: Photographs
    """From image to network."""
    probe: Annotated[ProbeOf, Field(description=PROBE)]


@settings
class ImageTarget(ImageSource):
    """Images of your own (docs/images.md)."""

    shots: Annotated[Distinct[Shots], Field(description=SHOTS)]
    transform: Annotated[
        Annotated[Photographs, Tag("Photographs")] | Annotated[Literal["network"], Tag("network")],
        Discriminator(lambda value: "network" if isinstance(value, str) else "Photographs"),
    ]
    """From image to network; `network`: each network brings its own."""
    probe: Annotated[ProbeOf, Field(description=PROBE)]


@settings
class TrainingRecipe(Recipe):
    """How networks are trained (pretrained or distilled): SGD on a target's training images."""

    gpus: Gpus = 1


@settings
class SecondStage(HeadGrid):
    """The head of the second stage, from the members' averaged heads."""

    settings: Distinct[Word]
    """Settings of the first stage, such as lr0.1-wd0.0005-e8; their weight decay is that of the second stage too."""


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
    format: Literal[*FORMATS]  # type: ignore[valid-type]
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

    best_subset_of: Annotated[list[Reference], Field(min_length=2), AfterValidator(kinds.distinct)]
    """Networks, such as `erm-s0`."""


class Columns(Strict):
    """Ranges of the features of each network of the family with the entry's name, as its members."""

    columns: Annotated[list[Annotated[list[Seed], Field(min_length=2, max_length=2)]], Field(min_length=1)]
    """First column, and the one behind the last, of each member."""


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
    two_stage: SecondStage
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
    two_stage: HeadGrid
    """The second stage."""


class Column(Strict):
    """A column of a table."""

    transfer: Literal[*TRANSFERS]  # type: ignore[valid-type]
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

    label: Annotated[Text, AfterValidator(kinds.label)]
    """In the legend."""
    transfer: Literal[*SEPARATE]  # type: ignore[valid-type]
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
    series: Annotated[list[Series], Field(min_length=1, max_length=8), AfterValidator(kinds.distinct)]
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
    transfer: Literal[*TRANSFERS]  # type: ignore[valid-type]
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
    pairs: Distinct[Annotated[list[Method], Field(min_length=2, max_length=2), AfterValidator(kinds.distinct)]]
    """Methods that are compared, the first with the second."""
    panels: Distinct[Panel]
    """Where they are compared."""


def _kind_of_representation(value: Any) -> str:
    """By the key that only this kind has, misspelt or not."""
    kinds = {"columns": "Columns", "members": "Members", "best_subset_of": "BestSubset"}
    keys = [str(key) for key in value if key not in Concatenation.model_fields] if isinstance(value, dict) else []
    near = [match for key in keys for match in difflib.get_close_matches(key, kinds, n=1, cutoff=0.8)]
    return next((kind for key, kind in kinds.items() if key in near), "Concatenation")


def _kind_of_probe(value: Any) -> str:
    """By a key that only this kind has, misspelt or not."""
    of_sgd = {field.name for field in fields(Probe)}
    only = [field.name for field in fields(LbfgsProbe) if field.name not in of_sgd]
    keys = [str(key)[:100] for key in value if key not in of_sgd] if isinstance(value, dict) else []
    near = any(difflib.get_close_matches(key, only, n=1, cutoff=0.8) for key in keys)
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
    targets: dict[Name, Annotated[DemoTarget | ImageTarget | PaperTarget, Field(discriminator="dataset")]]
    """Data sets that networks are trained on or moved to."""
    recipes: dict[Name, TrainingRecipe]
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
