"""What caching the features of a few augmented views loses against augmenting anew in every epoch.

    python -m benchmarks.views --seeds 6 --threads 1 --networks results/demo/networks --output docs

Writes views.csv and views.svg into --output and prints the table. Linear probes on features of the demo's networks,
by the demo's probe with 28 epochs of one pass each. From the cache: v views through rrl.stages.extract and
rrl.heads.training, epoch e on view e mod v; v = 1 is the plain images, v = 28 a view for each epoch. On-line: a plain
PyTorch loop that augments and runs the trunk in each step. Both start from the same heads and see the same batches;
the draws of the augmentation are independent of each other. As a control, v = 28 once more with the draws of on-line.
Setting and epoch are picked on val, test is read once. In views.csv, views 0 is on-line, -1 the control.
"""

import argparse
import copy
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import matplotlib.pyplot as plt
import pandas as pd
import torch
import yaml
from scipy.stats import t as student
from torch import Tensor, nn

from rrl.arithmetic import NATIVE
from rrl.config.load import load_config
from rrl.config.settings import HeadTraining, PaddedCrop
from rrl.data.images import Split, inputs, load_split
from rrl.errors import UserError
from rrl.figures.drawing import COLOURS, MARKERS
from rrl.heads.cached import Data
from rrl.heads.picking import all_logits
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.job import read_card, run
from rrl.networks.inference import for_inference
from rrl.networks.stored_networks import load_trunk
from rrl.networks.trunks import JointTrunk, Trunk
from rrl.selection import first_of_each_class
from rrl.stages.extract import extract_split
from rrl.store.files import complete, write_text
from rrl.training.device import prepare
from rrl.training.randomness import generator, shuffled

DEMO = Path(__file__).parent.parent / "workflow/config/demo.yaml"
AUGMENTATIONS = {"crop 2, flip": {"pad": 2, "flip": True}, "crop 1": {"pad": 1, "flip": False}}
ONLINE, SAME_DRAWS = 0, -1  # in the column `views`
WHERE = ["augmentation", "target", "shots", "method"]
DTYPE = "float16"  # of the cache
BATCH_SIZE = 25  # of probes; divides every number of images, so that no batch is smaller


@dataclass(frozen=True)
class Task:
    """One probe: which images, which trunk, which training of which heads."""

    trunk: Trunk
    transform: PaddedCrop
    train: Split
    val: Data
    test: Data
    settings: list[Setting]
    training: HeadTraining

    @property
    def head(self) -> tuple[Tensor, Tensor]:
        return initial_head(int(self.test.labels.max()) + 1, self.trunk.feature_dim, self.training.seed)


def extracted(trunk: Trunk, split: Split, transform: PaddedCrop, draws: list[str | None], dtype: str) -> Data:
    """Features as the workflow caches them, read from the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.h5"
        features_of = for_inference(trunk, "float32", torch.device("cpu"), compiled=False, batch_size=250)
        extract_split(features_of, trunk.feature_dim, split, transform, draws, dtype, 250, path, torch.device("cpu"))
        with h5py.File(path) as file:
            return Data(torch.from_numpy(file["features"][:]), torch.from_numpy(split.labels))


def from_cache(task: Task, draws: list[str | None], dtype: str = DTYPE) -> tuple[Tensor, float]:
    """Logits (N, C) of test, and the seconds spent on features; `draws` has a name for each view."""
    started = time.perf_counter()
    train = extracted(task.trunk, task.train, task.transform, draws, dtype)
    seconds = time.perf_counter() - started
    plain = {"val": task.val, "test": task.test}
    data = {split: Data(part.features.to(train.features.dtype), part.labels) for split, part in plain.items()}
    selections, _ = train_heads(task.head, train, data, ["heldout"], task.settings, task.training, batch_norm=True)
    return torch.from_numpy(all_logits(selections["heldout"].head, data)["test"]), seconds


def online_features(task: Task, positions: Tensor, draw: str) -> Tensor:
    with torch.no_grad():
        features: Tensor = task.trunk(inputs(task.train, positions.numpy(), task.transform, draw))
        return features


def online(task: Task, draws: list[str]) -> tuple[Tensor, float]:
    """The same by PyTorch's own means; `draws` has a name for each epoch. All heads share a trunk's pass."""
    weight, bias = task.head
    training, labels, seconds = task.training, torch.from_numpy(task.train.labels), 0.0
    heads, groups = [], []
    for setting in task.settings:
        norm, linear = nn.BatchNorm1d(weight.shape[1]), nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        heads.append(nn.Sequential(norm, linear))
        groups.append(
            {"params": linear.parameters(), "lr": setting.learning_rate, "weight_decay": setting.weight_decay}
        )
        groups.append({"params": norm.parameters(), "lr": setting.learning_rate, "weight_decay": 0.0})
    optimizer = torch.optim.SGD(groups, momentum=training.momentum, nesterov=training.nesterov)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.epochs)
    order = generator("probe batches", training.seed)
    best, picked = (-1, 0.0), heads[0]
    for draw in draws:
        for chosen in shuffled(len(labels), training.batch_size, order):
            started = time.perf_counter()
            features = online_features(task, chosen, draw)
            seconds += time.perf_counter() - started
            optimizer.zero_grad()
            losses = [nn.functional.cross_entropy(head(features), labels[chosen]) for head in heads]
            torch.stack(losses).sum().backward()
            optimizer.step()
        scheduler.step()
        for head in heads:
            scores = predicted(head, task.val)
            loss = float(nn.functional.cross_entropy(scores, task.val.labels))
            result = int((scores.argmax(1) == task.val.labels).sum()), -loss
            if result > best:
                best, picked = result, copy.deepcopy(head)
    return predicted(picked, task.test), seconds


@torch.no_grad()
def predicted(head: nn.Module, data: Data) -> Tensor:
    scores: Tensor = head.eval()(data.features[0])
    head.train()
    return scores


def measure(arguments: argparse.Namespace) -> pd.DataFrame:
    """A row for each probe: where, method, network, seed, views, top1 in percent, seconds and those on features."""
    config: Any = load_config(yaml.safe_load(DEMO.read_text()), [DEMO])
    probe = config.probes["demo"]
    settings = [Setting(rate, decay) for rate in probe.learning_rates for decay in probe.weight_decays]
    schedule = probe.schedule
    cards = [read_card(path) for path in sorted(arguments.networks.glob("erm-s[0-9].json"))]
    if len(cards) < max(arguments.sizes):
        raise UserError(f"{arguments.networks}: found {len(cards)} networks erm-s*, needed are {max(arguments.sizes)}")
    rows = []
    for augmentation, target in itertools.product(AUGMENTATIONS, arguments.targets):
        card = read_card(arguments.networks.parent / f"targets/{target}.json")
        transform = replace(config.targets[target].transform, **AUGMENTATIONS[augmentation])
        splits = {split: load_split(card, split, arguments.data_root) for split in ("train", "val", "test")}
        for size, first in itertools.product(arguments.sizes, range(len(cards))):
            if first + size > len(cards):
                continue
            members = [load_trunk(card, transform) for card in cards[first : first + size]]
            trunk = (members[0] if size == 1 else JointTrunk(members)).to(memory_format=torch.channels_last).eval()
            val, test = (extracted(trunk, splits[split], transform, [None], "float32") for split in ("val", "test"))
            for shots, seed in itertools.product(arguments.shots, range(arguments.seeds)):
                train = splits["train"].take(first_of_each_class(splits["train"].labels, shots))
                training = HeadTraining(arguments.epochs, 0, BATCH_SIZE, probe.momentum, probe.nesterov, schedule, seed)
                task = Task(trunk, transform, train, val, test, settings, training)
                who = {"augmentation": augmentation, "target": target, "shots": shots}
                who |= {"method": f"CAT{size}" if size > 1 else "ERM", "network": first, "seed": seed}
                rows += [who | found for found in probes(task, sorted({*arguments.views, arguments.epochs}), target)]
            print(f"{augmentation}, {target}, CAT{size} from seed {first}", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def probes(task: Task, views: list[int], target: str) -> list[dict[str, float]]:
    """One probe by each way, one behind the other, each time another first."""
    seed, ways = task.training.seed, [ONLINE, *views, SAME_DRAWS]
    fresh = [f"on-line/{target}/{seed}/{epoch}" for epoch in range(task.training.epochs)]
    results = []
    for way in ways[seed % len(ways) :] + ways[: seed % len(ways)]:
        started = time.perf_counter()
        if way == ONLINE:
            scores, features = online(task, fresh)
        elif way == SAME_DRAWS:
            scores, features = from_cache(task, [*fresh])
        else:
            draws = [f"cache/{target}/{seed}/{view}" for view in range(way)]
            scores, features = from_cache(task, [None] if way == 1 else [*draws])
        seconds = time.perf_counter() - started
        top1 = 100 * float((scores.argmax(1) == task.test.labels).double().mean())
        results.append({"views": way, "top1": top1, "seconds": seconds, "features": features})
    return results


def summarised(probes: pd.DataFrame) -> pd.DataFrame:
    """A row for each place and number of views; `all` is the mean over targets and shots, or for times over everything.

    difference : points of top-1 above on-line, paired by network and seed; its 95 % interval is Student's, over seeds.
    between_networks : standard deviation (ddof 1) of the difference over networks, each a mean over seeds.
    time, features_time : median of the ratios to on-line; features_time without training and evaluating the heads.
    """
    pair = [*WHERE, "network", "seed"]
    reference = probes[probes["views"] == ONLINE].set_index(pair)[["top1", "seconds", "features"]]
    paired = probes.join(reference.add_suffix("_online"), on=pair)
    paired["difference"] = paired["top1"] - paired["top1_online"]
    paired["time"] = paired["seconds"] / paired["seconds_online"]
    paired["features_time"] = paired["features"] / paired["features_online"]
    over_tasks = paired.assign(target="all", shots="all")
    times = paired.assign(**dict.fromkeys(WHERE, "all"), top1=math.nan, difference=math.nan)
    rows = []
    group: pd.DataFrame
    for place, group in pd.concat([paired, over_tasks, times]).groupby([*WHERE, "views"], sort=False):
        seeds, networks = (group.groupby(of)["difference"].mean() for of in ("seed", "network"))
        margin = student.ppf(0.975, len(seeds) - 1) * seeds.sem()
        found = [group["top1"].mean(), seeds.mean(), seeds.mean() - margin, seeds.mean() + margin, networks.std()]
        ratios = [group[name].median() for name in ("time", "features_time")]
        rows.append([*place, len(networks), len(seeds), *found, *ratios])
    names = ["networks", "seeds", "top1", "difference", "low", "high", "between_networks", "time", "features_time"]
    return pd.DataFrame(rows, columns=[*WHERE, "views", *names]).sort_values([*WHERE, "views"], key=_order)


def _order(column: pd.Series) -> pd.Series:
    """As first seen, `all` last; views by number."""
    if column.name == "views":
        return column
    ranks = {name: rank for rank, name in enumerate(column.unique())} | {"all": len(column)}
    return column.map(ranks)


def table(summary: pd.DataFrame) -> str:
    """Markdown, of what the CSV has in its rows `all`."""
    views = [count for count in summary["views"].unique() if count > 0]
    names = ["plain" if count == 1 else f"{count} views" for count in views]
    head = ["augmentation", "method", "on-line", *names, f"{views[-1]}, same draws"]
    lines = [head, ["---"] * len(head)]
    for place, rows in summary[summary["target"] == "all"].groupby(["augmentation", "method"], sort=False):
        augmentation, method = map(str, place)
        found = rows.set_index("views")
        if augmentation == "all":
            for name, column in (("time", "time"), ("time of features", "features_time")):
                lines.append(
                    [name, "all", *(f"{found.loc[count, column]:.2f}" for count in [ONLINE, *views, SAME_DRAWS])]
                )
            continue
        cells = (found.loc[count, ["difference", "low", "high"]] for count in [*views, SAME_DRAWS])
        differences = ["{:+.1f} [{:+.1f}, {:+.1f}]".format(*cell) for cell in cells]
        lines.append([augmentation, method, f"{found.loc[ONLINE, 'top1']:.1f}", *differences])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(summary: pd.DataFrame, path: Path) -> None:
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rrl", "font.size": 8})  # as rrl.stages.figure
    cached = summary[(summary["target"] != "all") & (summary["views"] > 0)]
    rows, columns = (list(cached.groupby(of, sort=False).groups) for of in ("augmentation", ["target", "shots"]))
    size = (2.6 * len(columns) + 0.9, 2.5 * len(rows) + 0.5)
    picture, grid = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False, layout="constrained")
    panels: Any = itertools.product(columns, rows)
    for axes, ((target, shots), augmentation) in zip(grid.T.flat, panels, strict=True):
        panel = cached.query("target == @target and shots == @shots and augmentation == @augmentation")
        for number, (method, points) in enumerate(panel.groupby("method", sort=False)):
            style = {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 4, "capsize": 2.5}
            at = [place + 0.13 * number for place in range(len(points))]
            bars = points["high"] - points["difference"]
            for part, label in ((slice(0, 1), None), (slice(1, None), method)):  # plain images are joined to nothing
                axes.errorbar(at[part], points["difference"][part], yerr=bars[part], label=label, **style)
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set_title(f"{augmentation}: {target}, {shots} per class", fontsize=8)
        axes.set_xticks(range(len(points)), ["plain" if count == 1 else str(count) for count in points["views"]])
        axes.grid(visible=True, color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("views in the cache")
    for axes in grid[:, 0]:
        axes.set_ylabel("top-1 minus on-line (points)")
    grid[0, -1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    seeds = cached["seeds"].max()
    picture.suptitle(f"Cached views against on-line augmentation. Bars: 95 % interval over {seeds} seeds.", fontsize=9)
    with complete(path) as partial:
        picture.savefig(partial, format="svg", metadata={"Date": None})
    plt.close(picture)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=Path, required=True, help="folder of erm-s0, erm-s1, ... of the demo")
    parser.add_argument("--output", type=Path, required=True, help="folder for views.csv and views.svg")
    parser.add_argument("--seeds", type=int, default=6, help="of heads, order of batches and draws")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument("--targets", nargs="+", default=["fashion-new", "mnist"], help="of the demo")
    parser.add_argument("--shots", type=int, nargs="+", default=[20, 100], help="images per class")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 5], help="1 is ERM, n is CATn")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2, 4, 8], help="and as many as there are epochs")
    parser.add_argument("--epochs", type=int, default=28, help="of one pass each")
    arguments = parser.parse_args(argv)

    prepare(arguments.threads, NATIVE)
    summary = arguments.output / "views.csv"
    write_text(summary, summarised(measure(arguments)).to_csv(index=False, float_format="%.3f"))
    draw(pd.read_csv(summary, dtype={"shots": str}), arguments.output / "views.svg")
    print(table(pd.read_csv(summary, dtype={"shots": str})))


if __name__ == "__main__":
    run(main)
