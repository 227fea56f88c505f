"""Small trainings of every stage that trains, and what they need: a target, networks, features."""

import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from rrl.config.runs import Run, setting_name
from rrl.config.settings import Constant, DemoSource, Features, PaddedCrop, Recipe, WarmupCosine
from rrl.job import Card, read_card
from tests.helpers import jobs
from tests.helpers.clones import CLONE

CROP = PaddedCrop(mean=0.286, std=0.353, pad=2, flip=True)
RECIPE = Recipe(
    epochs=6, batch_size=25, learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, decay_norm=True,
    schedule=WarmupCosine("warmup-cosine", 0.1), precision="float32",
)  # fmt: skip
VIEWS = 3
KEPT = Features(views=VIEWS, dtype="float16", precision="float32", batch_size=70)


class Source:
    """A results root with a target, two networks that were trained on it, an untrained one, and their features."""

    def __init__(self, root: Path):
        self.root = root
        pins = yaml.safe_load((CLONE / "workflow/pins.yaml").read_text())["data"]["fashion-mnist"]
        demo = DemoSource("fashion-mnist", [0, 1, 2], train_per_class=100, val_per_class=2, split_seed=0)
        self.target = self.run("target", "targets/source", [], source=demo, pins=pins)
        of, trained = [self.target], {"arch": "resnet8", "recipe": RECIPE, "transform": CROP}
        self.networks = [self.run("pretrain", f"networks/erm-s{seed}", of, seed=seed, **trained) for seed in (0, 1)]
        still = replace(CROP, pad=0, flip=False)
        untrained = {"arch": "resnet8", "seed": 0, "batch_size": 100, "transform": still}
        self.untrained = self.run("random_network", "networks/random-s0", of, **untrained)
        self.features = [self.extract(network) for network in self.networks]
        self.plain = [self.extract(network, "plain", views=1, dtype="float32") for network in self.networks]

    def extract(self, network: Card, folder: str = "source", **changed: Any) -> Card:
        settings = {"transform": CROP, "features": replace(KEPT, **changed)}
        return self.run("extract", f"features/{folder}/{network.name}", [self.target, network], **settings)

    def distill(
        self, name: str, teachers: int = 2, plain: bool = False, seed: int = 7, temperature: float = 2.0,
        transform: PaddedCrop = CROP, **changed: Any,
    ) -> Card:  # fmt: skip
        """changed : of the recipe."""
        features = self.plain if plain else self.features
        settings = {"arch": "resnet8", "seed": seed, "temperature": temperature, "transform": transform}
        settings["recipe"] = replace(RECIPE, **changed)
        inputs = [self.target, *features[:teachers], *self.networks[:teachers]]
        return self.run("distill", f"networks/{name}", inputs, **settings)

    def run(self, stage: str, artifact: str, inputs: list[Card], **settings: Any) -> Card:
        return jobs.run(stage, settings, inputs, self.root / f"{artifact}.json")


EPOCHS, STEPS = 5, 4  # of every training of `Stages`
RUN = "one.source.heldout-lr0.05-wd0.0005-e5"  # that fine-tunes
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
main = importlib.import_module("rrl.stages." + sys.argv[2]).main
del sys.argv[1:3]
run(main)
"""


class Stages:
    """The three stages that train, each on tiny settings, with the bytes that they make when nothing stops them."""

    finetuning_seed = 0
    gpus = 1

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
            selected = read_card(self.root / f"finetuned/{RUN}.json").facts["result"]["selected"]
            self.expected["finetune"] = self.taken("finetune")
            if 1 < selected["epoch"] < EPOCHS:
                return
        raise AssertionError("no seed of 20 has its best epoch inside")

    def words(self, stage: str, seed: int = 3, **changed: Any) -> list[str]:
        """The command line of a job. changed : of the recipe."""
        inputs, artifact = [self.source.target], f"networks/by-{stage}"
        recipe = replace(RECIPE, epochs=EPOCHS, batch_size=75)
        settings: dict[str, Any] = {"arch": "resnet8", "seed": seed, "transform": CROP}
        if stage == "distill":
            inputs += [*self.source.features, *self.source.networks]
            settings |= {"temperature": 2.0}
        if stage == "finetune":
            inputs.append(self.source.networks[0])
            recipe = replace(recipe, batch_size=40, learning_rate=0.05, decay_norm=False, schedule=Constant("constant"))
            settings = {"selection": "heldout", "shots": 50, "seed": self.finetuning_seed, "steps_per_epoch": STEPS}
            settings |= {"evaluation_batch_size": 4, "transform": CROP}
        settings["recipe"] = recipe = replace(recipe, **changed)
        if stage == "finetune":
            setting = setting_name(recipe.learning_rate, recipe.weight_decay, recipe.epochs)
            artifact = f"finetuned/{Run('one', 'source', 'heldout', setting).name}"
        keep = str(self.root / "networks/kept.json")
        return jobs.words(stage, settings, inputs, self.root / f"{artifact}.json", gpus=self.gpus, keep=keep)

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
        patterns = ("finetuned/*", "networks/kept.*") if stage == "finetune" else (f"networks/by-{stage}.*",)
        paths = [path for pattern in patterns for path in self.root.glob(pattern)]
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
