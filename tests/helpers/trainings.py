"""Small trainings of every stage that trains, and what they need: a target, networks, features."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rrl.command import flags

from rrl.arithmetic import NATIVE, STAGES
from rrl.code_version import code_version
from rrl.job import Card, read_card
from rrl.stages import distill, extract, pretrain, random_network, target
from tests.helpers.clones import CLONE

CROP: dict[str, Any] = {"mean": 0.286, "std": 0.353, "pad": 2, "flip": True}
RECIPE: dict[str, Any] = {
    "epochs": 6, "batch_size": 25, "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4,
    "decay_norm": True, "precision": "float32", "schedule": {"name": "warmup-cosine", "warmup": 0.1},
}  # fmt: skip
VIEWS = 3


class Source:
    """A results root with a target, two networks that were trained on it, an untrained one, and their features."""

    gpus = 1

    def __init__(self, root: Path):
        self.root = root
        pins = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())["data"]["fashion-mnist"]
        settings = {"dataset": "fashion-mnist", "classes": [0, 1, 2], "train_per_class": 100, "val_per_class": 2}
        settings |= {"split_seed": 0, "pins": [f"{file}={sha256}" for file, sha256 in pins.items()]}
        self.target = self.run(target.main, "target", "targets/source", {}, settings, threads=False)
        of = {"target": self.target}
        self.networks = []
        for seed in (0, 1):
            settings = {"arch": "resnet8", "seed": seed, **RECIPE, "transform": CROP}
            self.networks.append(self.run(pretrain.main, "pretrain", f"networks/erm-s{seed}", of, settings))
        settings = {"arch": "resnet8", "seed": 0, "batch_size": 100, "transform": {**CROP, "pad": 0, "flip": False}}
        self.untrained = self.run(random_network.main, "random_network", "networks/random-s0", of, settings)
        self.features = [self.extract(network) for network in self.networks]
        self.plain = [self.extract(network, "plain", views=1, dtype="float32") for network in self.networks]

    def extract(self, network: Card, folder: str = "source", **changed: Any) -> Card:
        settings = {
            "transform": CROP,
            "views": VIEWS,
            "dtype": "float16",
            "precision": "float32",
            "batch_size": 70,
            **changed,
        }
        name = network.artifact.removeprefix("networks/")
        of = {"target": self.target, "network": network}
        return self.run(extract.main, "extract", f"features/{folder}/{name}", of, settings, named=False)

    def distill(self, name: str, teachers: int = 2, plain: bool = False, **changed: Any) -> Card:
        settings = {"arch": "resnet8", "seed": 7, "temperature": 2.0, **RECIPE, "transform": CROP, **changed}
        features = self.plain if plain else self.features
        of = {"target": self.target, "features": features[:teachers], "networks": self.networks[:teachers]}
        return self.run(distill.main, "distill", f"networks/{name}", of, settings)

    def run(
        self, main: Callable[[list[str]], None], stage: str, artifact: str, cards: dict[str, Any],
        settings: dict[str, Any], named: bool = True, threads: bool = True,
    ) -> Card:  # fmt: skip
        lists = {name: of if isinstance(of, list) else [of] for name, of in cards.items()}
        words = [word for name, of in lists.items() for word in [f"--{name}", *(str(card.path) for card in of)]]
        keys = [card.key for of in lists.values() for card in of]
        output = self.root / f"{artifact}.json"
        words += [*flags(settings), "--code-version", code_version(stage), "--input-keys", *keys]
        words += ["--data-root", str(CLONE / "data"), "--output", str(output)]
        words += ["--name", output.stem] if named else []
        words += ["--threads", "1"] if threads else []
        words += ["--arithmetic", NATIVE] if stage in STAGES else []
        words += ["--gpus", str(self.gpus)] if stage in ("pretrain", "finetune", "distill") else []
        main(words)
        return read_card(output)


EPOCHS, STEPS = 5, 4  # of every training of `Stages`
# A stage as it is, but for the time between saves and the time that a step takes.
SLOWLY = """
import importlib, sys, time
from rrl.training import train
from rrl.training import training_state
from rrl.job import run
training_state.SECONDS = float(sys.argv[1])
descend = train.descend
def slowly(*of):
    time.sleep(0.03)
    descend(*of)
train.descend = slowly
main = importlib.import_module("rrl." + sys.argv[2]).main
del sys.argv[1:3]
run(main)
"""


class Stages:
    """The three stages that train, each on tiny settings, with the bytes that they make when nothing stops them."""

    finetuning_seed = 0

    def __init__(self, root: Path):
        self.source = Source(root)
        self.root = root
        self.log = root / "log"
        self.expected = {stage: self.made(stage) for stage in ("pretrain", "finetune", "distill")}

    def put_the_best_epoch_inside(self) -> None:
        """Fine-tune from a seed whose best epoch is neither the first nor the last, so that stops come before and after
        it. Which seeds these are depends on how a processor rounds."""
        for self.finetuning_seed in range(20):
            self.run("finetune")
            selected = read_card(self.root / "stage/finetune.json").facts["result"]["selected"]
            self.expected["finetune"] = self.taken("finetune")
            if 1 < selected["epoch"] < EPOCHS:
                return
        raise AssertionError("no seed of 20 has its best epoch inside")

    def words(self, stage: str, **changed: Any) -> list[str]:
        """The command line of a job."""
        of: dict[str, Any] = {"target": self.source.target}
        settings = {**RECIPE, "epochs": EPOCHS, "batch_size": 75, "transform": CROP}
        more: list[str] = []
        if stage == "pretrain":
            settings |= {"arch": "resnet8", "seed": 3}
        if stage == "distill":
            of |= {"features": self.source.features, "networks": self.source.networks}
            settings |= {"arch": "resnet8", "seed": 3, "temperature": 2.0}
        if stage == "finetune":
            of |= {"networks": self.source.networks[:1]}
            settings |= {"selection": "heldout", "shots": 50, "seed": self.finetuning_seed, "steps_per_epoch": STEPS}
            settings |= {"evaluation_batch_size": 4, "batch_size": 40, "learning_rate": 0.05, "decay_norm": False}
            settings |= {"schedule": {"name": "constant"}}
            more = ["--representation", "one", "--logits", str(self.root / "stage/finetune.h5")]
            more += ["--keep", str(self.root / "networks/kept.json")]
        found: list[str] = []

        def look(words: list[str]) -> None:
            found.extend(words + more)
            raise InterruptedError

        artifact = "stage/finetune" if stage == "finetune" else f"networks/by-{stage}"
        with pytest.raises(InterruptedError):
            self.source.run(look, stage, artifact, of, settings | changed, named=stage != "finetune")
        return found

    def run(self, stage: str, **changed: Any) -> None:
        importlib.import_module(f"rrl.stages.{stage}").main(self.words(stage, **changed))

    def start(self, stage: str, seconds: float) -> subprocess.Popen[str]:
        """The job as a process of its own."""
        words = [sys.executable, "-c", SLOWLY, str(seconds), stage, *self.words(stage)]
        environment = os.environ | {"PYTHONPATH": str(CLONE)}
        return subprocess.Popen(words, cwd=self.root, env=environment, stderr=subprocess.PIPE, text=True)

    def taken(self, stage: str) -> dict[str, bytes]:
        """The artifacts of a job, which are taken away; but for times, in {name}.run.json."""
        assert not self.unfinished()
        folder = self.root / ("stage" if stage == "finetune" else "networks")
        paths = list(folder.glob("finetune.*")) + list((self.root / "networks").glob("kept.*"))
        if stage != "finetune":
            paths = list(folder.glob(f"by-{stage}.*"))
        found = {path.name: path.read_bytes() for path in paths if not path.name.endswith(".run.json")}
        for path in paths:
            path.unlink()
        return found

    def made(self, stage: str, **changed: Any) -> dict[str, bytes]:
        self.run(stage, **changed)
        return self.taken(stage)

    def unfinished(self) -> list[Path]:
        """All that is in work/."""
        try:
            return [path for path in (self.root / "work").rglob("*") if path.is_file()]
        except FileNotFoundError:  # a process took its folder away just now
            return self.unfinished()

    def states(self) -> list[Path]:
        return [path for path in self.unfinished() if path.suffix == ".pt"]
