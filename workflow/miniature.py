"""Write the miniature of an experiment: the same rules on the same kinds of targets, in minutes and without a GPU.

SUBSTITUTIONS and REDUCTIONS are all that differs from the config it is made of. Its numbers mean nothing; it shows that
the whole graph runs. Run as `python -m workflow.miniature`: writes workflow/config/miniature.yaml and
miniature_cifar.yaml. Their data are miniatures too, in the published layouts (tests/helpers/paper_data.py makes them).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from rrl.networks.checkpoints import checkpoints

ROOT = Path(__file__).parents[1]
CONFIGS = {
    "miniature": ROOT / "config.yaml",
    "miniature_cifar": ROOT / "workflow/config/cifar.yaml",
}
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
FEATURES = 2048 // 32  # columns of a network are divided by this
EPOCHS = {90: 1, 28: 2, 100: 1, 50: 2}
MILESTONES = {(30, 60): [1], (8, 16, 24): [1], (1,): [1]}
FINETUNED = {"imagenet-384": "_imagenet", "imagenet-384-vit": "_imagenet"}


def substituted(config: dict[str, Any], name: str) -> dict[str, Any]:
    """As many jobs of each kind as the experiment has, each of them small.

    Networks that the experiment downloads are trained here, for one epoch: convert becomes pretrain.
    """
    small = dict(config)
    small |= {"results": f"results/{name}", "data": "data/miniature"}
    small["targets"] = {key: _target(of) for key, of in config["targets"].items()}
    small["recipes"] = {"erm": _training(config["recipes"]["erm"]) | {"batch_size": 8, "learning_rate": 0.05}}
    small["networks"] = {key: _family(key, of, config) for key, of in config["networks"].items()}
    small["features"] = config["features"] | {"batch_size": 16}
    small["representations"] = {key: _representation(of) for key, of in config["representations"].items()}
    small["probes"] = {key: _training(of) | {"batch_size": 8} for key, of in config["probes"].items()}
    small["finetunings"] = {key: _finetuning(of) for key, of in config["finetunings"].items()}
    for section in ("tables", "figures"):
        warned = {
            key: of | {"caption": f"Miniature, whose numbers mean nothing. {of['caption']}"}
            for key, of in config[section].items()
        }
        small[section] = warned
    return small


def _target(of: dict[str, Any]) -> dict[str, Any]:
    size, resize = SIZES[of["transform"]["size"]]
    transform = of["transform"] | {"size": size, "resize": resize}
    return of | {"classes": CLASSES[of["dataset"]], "val_fraction": 0.25, "transform": transform}


def _family(name: str, of: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Networks that were fine-tuned elsewhere are trained on the target that they are fine-tuned for, for its head."""
    if of["origin"] == "library":
        arch, seeds = ARCHITECTURES["resnet50"], list(range(len(of["models"])))
    else:
        arch, seeds = ARCHITECTURES[checkpoints()[of["checkpoint"]].arch], of["seeds"]
    targets = [
        target
        for finetuning in config["finetunings"].values()
        if isinstance(finetuning["networks"], dict) and name in finetuning["networks"].values()
        for target in finetuning["targets"]
    ]
    target = targets[0] if targets else next(iter(config["targets"]))
    return {"origin": "pretrain", "arch": arch, "target": target, "recipe": "erm", "seeds": seeds}


def _training(of: dict[str, Any]) -> dict[str, Any]:
    """Epochs and the milestones of a schedule."""
    small = of | {"epochs": EPOCHS.get(of["epochs"], of["epochs"])}
    if "milestones" in of["schedule"]:
        small["schedule"] = of["schedule"] | {"milestones": MILESTONES[tuple(of["schedule"]["milestones"])]}
    return small


def _representation(of: dict[str, Any]) -> dict[str, Any]:
    if "columns" not in of:
        return of
    return {"columns": [[start // FEATURES, stop // FEATURES] for start, stop in of["columns"]]}


def _finetuning(of: dict[str, Any]) -> dict[str, Any]:
    small = of | {"two_stage": of["two_stage"] | {"batch_size": 8}}
    if "epochs" not in of:
        return small
    settings = [re.sub(r"-e(\d+)$", lambda m: f"-e{EPOCHS[int(m[1])]}", name) for name in of["two_stage"]["settings"]]
    small["two_stage"]["settings"] = settings
    epochs = of["epochs"]
    by_grid = isinstance(epochs, dict)
    small["epochs"] = (
        {grid: [EPOCHS[count] for count in counts] for grid, counts in epochs.items()}
        if by_grid
        else [EPOCHS[count] for count in epochs]
    )
    return small | {"batch_size": 8}


def reduced(config: dict[str, Any]) -> dict[str, Any]:
    """Fewer jobs of the same kinds: 2 ERM seeds, CAT2 in place of all sizes, 2 slices of a wide network, one weight
    decay of fine-tuning; 1 of the networks that other families have more of."""
    small = dict(config)
    windowed = {of["of"] for of in config["representations"].values() if "of" in of}
    small["networks"] = {
        key: of | {"seeds": of["seeds"][: 2 if key in windowed else 1]} for key, of in config["networks"].items()
    }
    networks = {f"{name}-s{seed}" for name, of in small["networks"].items() for seed in of["seeds"]}
    small["representations"] = {}
    gone: set[str] = set()
    for name, of in config["representations"].items():
        if "sizes" in of:
            gone |= {f"{name}{size}" for size in of["sizes"][1:]}
            of = of | {"sizes": of["sizes"][:1]}
        if "columns" in of:
            of = {"columns": of["columns"][:2]}
        if "members" in of:
            of = {"members": [member for member in of["members"] if member in networks]}
        small["representations"][name] = of
    small["finetunings"] = {key: _one_setting(of) for key, of in config["finetunings"].items()}
    small["tables"] = {
        name: table | {"rows": [row for row in table["rows"] if row["group"] not in gone]}
        for name, table in config["tables"].items()
    }
    seeds = {name: of["seeds"] for name, of in small["networks"].items()}
    small["figures"] = {
        name: _fewer(figure, seeds) if figure["kind"] == "similarity" else _without(figure, gone)
        for name, figure in config["figures"].items()
    }
    return small


def _one_setting(of: dict[str, Any]) -> dict[str, Any]:
    if "weight_decays" not in of:
        return of
    two_stage = of["two_stage"] | {"settings": of["two_stage"]["settings"][-1:]}
    return of | {"weight_decays": of["weight_decays"][-1:], "two_stage": two_stage}


def _without(figure: dict[str, Any], gone: set[str]) -> dict[str, Any]:
    def kept(series: dict[str, Any]) -> dict[str, Any]:
        return series | {"groups": [group for group in series["groups"] if group not in gone]}

    rows = [row | {"series": [kept(series) for series in row["series"]]} for row in figure["rows"]]
    return figure | {"rows": rows}


def _fewer(figure: dict[str, Any], seeds: dict[str, list[int]]) -> dict[str, Any]:
    """seeds : of each family, those that are left."""
    groups = [
        group | {"seeds": [seed for seed in group["seeds"] if seed in seeds[group["family"]]]}
        for group in figure["groups"]
    ]
    return figure | {"groups": groups}


def texts() -> Iterator[tuple[Path, str]]:
    """The files, and what they must hold."""
    for name, source in CONFIGS.items():
        config = reduced(substituted(yaml.safe_load(source.read_text(encoding="utf-8")), name))
        heading = f"# Made of {source.relative_to(ROOT)} by `python -m workflow.miniature`; not to be edited.\n"
        body = yaml.dump(config, Dumper=Plain, sort_keys=False, default_flow_style=None, width=120)
        yield ROOT / f"workflow/config/{name}.yaml", heading + body


class Plain(yaml.SafeDumper):
    """Equal values are written out each time, without YAML's anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


if __name__ == "__main__":
    for path, text in texts():
        path.write_text(text, encoding="utf-8")
