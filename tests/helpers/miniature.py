"""The miniature of an experiment: the same rules on the same kinds of targets, in minutes and without a GPU.

`substituted` and `reduced` are all that differs from the config that it is made of. Its numbers mean nothing; it shows
that the whole graph runs. Its data are miniatures too, in the published layouts (paper_data.py makes them).
"""

import re
from pathlib import Path
from typing import Any

import yaml

from rrl.networks.checkpoints import checkpoints
from tests.helpers.clones import CLONE

CONFIGS = {"miniature": "config.yaml", "miniature_cifar": "workflow/config/cifar.yaml"}  # and what each is made of
CLASSES = {"imagenet": 4, "inaturalist18": 3, "cifar10": 4, "cifar100": 4}
ARCHITECTURES = {
    "resnet50": "resnet8rgb",
    "resnet50w2": "resnet8rgbw2",
    "resnet50w4": "resnet8rgbw4",
    "resnet50w5": "resnet8rgbw5",
    "2xresnet50": "2xresnet8rgb",
    "4xresnet50": "4xresnet8rgb",
    "regnet_y_32gf": "resnet8rgb",
    "regnet_y_64gf": "resnet8rgbw2",
    "regnet_y_128gf": "resnet8rgbw3",
    "regnet_y_256gf": "resnet8rgbw4",
    "vit_b16": "timm/test_vit",
    "vit_l16": "resnet8rgbw2",
}
SIZES = {224: (32, 36), 384: (48, 48)}  # size -> size and resize
FEATURES = 2048 // 32  # by which columns of a network are divided
EPOCHS = {90: 1, 28: 2, 100: 1, 50: 2}
MILESTONES = {(30, 60): [1], (8, 16, 24): [1], (1,): [1]}

Entry = dict[str, Any]


def original(name: str) -> Entry:
    """The content of the config that a miniature is made of."""
    content: Entry = yaml.safe_load((CLONE / CONFIGS[name]).read_text(encoding="utf-8"))
    return content


def miniature(name: str) -> Entry:
    return reduced(substituted(original(name), name))


def write_miniature(clone: Path, name: str) -> None:
    """Write workflow/config/{name}.yaml in a clone."""
    (clone / f"workflow/config/{name}.yaml").write_text(yaml.safe_dump(miniature(name), sort_keys=False))


def substituted(config: Entry, name: str) -> Entry:
    """As many jobs of each kind as the experiment has, each of them small.

    Networks that the experiment downloads are trained here, for one epoch: import_network becomes pretrain.
    """
    small = config | {"results": f"results/{name}", "data": "data/miniature"}
    small["targets"] = {key: _target(entry) for key, entry in config["targets"].items()}
    small["recipes"] = {"erm": _training(config["recipes"]["erm"]) | {"batch_size": 8, "learning_rate": 0.05}}
    small["networks"] = {key: _family(key, entry, config) for key, entry in config["networks"].items()}
    small["features"] = config["features"] | {"batch_size": 16}
    small["representations"] = {key: _representation(entry) for key, entry in config["representations"].items()}
    small["probes"] = {key: _training(entry) | {"batch_size": 8} for key, entry in config["probes"].items()}
    small["finetunings"] = {key: _finetuning(entry) for key, entry in config["finetunings"].items()}
    for section in ("tables", "figures"):
        small[section] = {
            key: entry | {"caption": f"Miniature, whose numbers mean nothing. {entry['caption']}"}
            for key, entry in config[section].items()
        }
    return small


def _target(entry: Entry) -> Entry:
    size, resize = SIZES[entry["transform"]["size"]]
    transform = entry["transform"] | {"size": size, "resize": resize}
    return entry | {"classes": CLASSES[entry["dataset"]], "val_fraction": 0.25, "transform": transform}


def _family(name: str, entry: Entry, config: Entry) -> Entry:
    """Networks that were fine-tuned elsewhere are trained on the target that they are fine-tuned for, for its head."""
    if entry["origin"] == "library":
        arch, seeds = ARCHITECTURES["resnet50"], list(range(len(entry["models"])))
    else:
        arch, seeds = ARCHITECTURES[checkpoints()[entry["checkpoint"]].arch], entry["seeds"]
    targets = [
        target
        for finetuning in config["finetunings"].values()
        if isinstance(finetuning["networks"], dict) and name in finetuning["networks"].values()
        for target in finetuning["targets"]
    ]
    target = targets[0] if targets else next(iter(config["targets"]))
    return {"origin": "pretrain", "arch": arch, "target": target, "recipe": "erm", "seeds": seeds}


def _training(entry: Entry) -> Entry:
    """Epochs and the milestones of a schedule."""
    small = entry | {"epochs": EPOCHS.get(entry["epochs"], entry["epochs"])}
    if "milestones" in entry["schedule"]:
        small["schedule"] = entry["schedule"] | {"milestones": MILESTONES[tuple(entry["schedule"]["milestones"])]}
    return small


def _representation(entry: Entry) -> Entry:
    if "columns" not in entry:
        return entry
    return {"columns": [[start // FEATURES, stop // FEATURES] for start, stop in entry["columns"]]}


def _finetuning(entry: Entry) -> Entry:
    small = entry | {"two_stage": entry["two_stage"] | {"batch_size": 8}}
    if "epochs" not in entry:
        return small
    settings = entry["two_stage"]["settings"]
    small["two_stage"]["settings"] = [
        re.sub(r"-e(\d+)$", lambda m: f"-e{EPOCHS[int(m[1])]}", name) for name in settings
    ]
    epochs = entry["epochs"]
    small["epochs"] = (
        {grid: [EPOCHS[count] for count in counts] for grid, counts in epochs.items()}
        if isinstance(epochs, dict)
        else [EPOCHS[count] for count in epochs]
    )
    return small | {"batch_size": 8}


def reduced(config: Entry) -> Entry:
    """Fewer jobs of the same kinds: 2 ERM seeds, CAT2 in place of all sizes, 2 slices of a wide network, one weight
    decay of fine-tuning; 1 of the networks that other families have more of."""
    small = dict(config)
    windowed = {entry["of"] for entry in config["representations"].values() if "of" in entry}
    seeds = {key: entry["seeds"][: 2 if key in windowed else 1] for key, entry in config["networks"].items()}
    small["networks"] = {key: entry | {"seeds": seeds[key]} for key, entry in config["networks"].items()}
    networks = {f"{name}-s{seed}" for name, left in seeds.items() for seed in left}
    small["representations"] = {}
    gone: set[str] = set()
    for name, entry in config["representations"].items():
        if "sizes" in entry:
            gone |= {f"{name}{size}" for size in entry["sizes"][1:]}
            entry = entry | {"sizes": entry["sizes"][:1]}
        if "columns" in entry:
            entry = {"columns": entry["columns"][:2]}
        if "members" in entry:
            entry = {"members": [member for member in entry["members"] if member in networks]}
        small["representations"][name] = entry
    small["finetunings"] = {key: _one_setting(entry) for key, entry in config["finetunings"].items()}
    small["tables"] = {
        name: table | {"rows": [row for row in table["rows"] if row["group"] not in gone]}
        for name, table in config["tables"].items()
    }
    small["figures"] = {
        name: _fewer(figure, seeds) if figure["kind"] == "similarity" else _without(figure, gone)
        for name, figure in config["figures"].items()
    }
    return small


def _one_setting(entry: Entry) -> Entry:
    if "weight_decays" not in entry:
        return entry
    two_stage = entry["two_stage"] | {"settings": entry["two_stage"]["settings"][-1:]}
    return entry | {"weight_decays": entry["weight_decays"][-1:], "two_stage": two_stage}


def _without(figure: Entry, gone: set[str]) -> Entry:
    def left(series: Entry) -> Entry:
        return series | {"groups": [group for group in series["groups"] if group not in gone]}

    return figure | {"rows": [row | {"series": list(map(left, row["series"]))} for row in figure["rows"]]}


def _fewer(figure: Entry, seeds: dict[str, list[int]]) -> Entry:
    """seeds : those that are left of each family."""
    groups = [
        group | {"seeds": [seed for seed in group["seeds"] if seed in seeds[group["family"]]]}
        for group in figure["groups"]
    ]
    return figure | {"groups": groups}
