"""Every stage that computes, by its own command line, one after the other in this process; for benchmarks.gpu.

    python -m benchmarks.gpu_stages --folder FOLDER --pictures FOLDER --threads 4

Writes FOLDER/stages.json: of each stage its seconds, the error if there was one, the GPU's memory and the digest of
what it made. A stage that fails leaves out those behind it that need what it makes. Run again, in the same folder, it
does all again.
--stop-at N: the first training ends in its step N, by SIGTERM, as on a cluster; run again, it goes on from there.
"""

import argparse
import importlib
import json
import os
import signal
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rrl.arithmetic import NATIVE
from rrl.config.settings import (
    Constant,
    Cosine,
    Features,
    FirstStage,
    HeadGrid,
    ImageSource,
    LbfgsProbe,
    Photographs,
    Probe,
    Recipe,
    Step,
    dump,
)  # fmt: skip
from rrl.job import Card, Job, read_card
from rrl.jobs import STAGES
from rrl.jobs.stage import Computing

PIXELS = 32
TRANSFORM = Photographs(PIXELS, PIXELS, [0.5, 1.0], "bilinear", True, mean=[0.5] * 3, std=[0.25] * 3)
ARCH = "resnet8rgb"
STEP = Step("step", [2], 0.1)
RECIPE = Recipe(
    epochs=3, batch_size=64, learning_rate=0.05, momentum=0.9, nesterov=False, weight_decay=1e-4, decay_norm=True,
    schedule=STEP, precision="float32",
)  # fmt: skip
HEADS: dict[str, Any] = {"steps_per_epoch": 0, "batch_size": 64, "momentum": 0.9, "nesterov": True, "seed": 0}
DECAYS = [1e-4, 1e-2]
TUNED = "{}.source.heldout-lr0.01-wd0.0001-e3"  # as the stage names a network after the run


def make_pictures(folder: Path, classes: int, of_each: int) -> None:
    """Pictures of classes that can be told apart, but not all of them, in a folder for each class."""
    random = np.random.default_rng(0)
    for number in range(classes):
        (folder / f"class{number}").mkdir(parents=True)
        centre = random.integers(60, 196, (4, 5, 3))
        for picture in range(of_each):
            coarse = np.clip(centre + random.normal(0, 60, centre.shape), 0, 255).astype(np.uint8)
            whole = Image.fromarray(coarse).resize((44, 36), Image.Resampling.BICUBIC)
            whole.save(folder / f"class{number}" / f"{picture:03}.png")


def most_memory() -> int:
    """Bytes that torch held of the GPU at most since this was last asked; 0 without one."""
    import torch

    if not torch.cuda.is_available():
        return 0
    most = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return most


class Stages:
    def __init__(self, folder: Path, pictures: Path, threads: int):
        self.root, self.pictures, self.threads = folder / "results", pictures, threads
        self.cards: dict[str, Card] = {}
        self.report: dict[str, dict[str, Any]] = {}

    def run(self, stage: str, artifact: str, inputs: list[str], **settings: Any) -> None:
        """A stage whose inputs are given by the names of the artifacts; what it makes is named `artifact`."""
        start = time.monotonic()
        report = self.report[artifact] = {"stage": stage}
        if missing := [name for name in inputs if name not in self.cards]:
            report["error"] = f"not run: there is no {', '.join(missing)}"
            return
        try:
            kind, output = STAGES[stage], self.root / f"{artifact}.json"
            made = kind(**(({"arithmetic": NATIVE} if issubclass(kind, Computing) else {}) | settings))
            cards = tuple(self.cards[name] for name in inputs)
            words = ["--settings", dump(made), "--inputs", *(str(card.path) for card in cards)]
            words += ["--key", Job(stage, made, cards, output).key, "--output", str(output)]
            words += ["--threads", str(self.threads)]
            kept = str(self.root / f"networks/{output.stem}.json")
            places = {"data_root": self.pictures.parent, "gpus": 1, "keep": kept}
            words += [f"--{name.replace('_', '-')}={places[name]}" for name in kind.needs]
            importlib.import_module(f"rrl.stages.{stage}").main(words)
            self.cards[artifact] = read_card(output)
            report["memory"] = most_memory()
            report["digest"] = self.cards[artifact].digest
        except Exception:
            report["error"] = traceback.format_exc()
        report["seconds"] = time.monotonic() - start

    def target(self) -> None:
        from rrl.data.image_sources import open_source

        name = self.pictures.name
        fingerprint = open_source(name, self.pictures.parent).fingerprint
        source = ImageSource("images", name, fingerprint, "stop", 0.2, 0.2, split_seed=0)
        self.run("target", "targets/source", [], source=source, pins={})

    def train(self, stage: str, name: str, inputs: list[str], seed: int, **more: Any) -> None:
        settings = {"arch": ARCH, "seed": seed, "recipe": RECIPE, "transform": TRANSFORM, **more}
        self.run(stage, f"networks/{name}", ["targets/source", *inputs], **settings)

    def extract(self, name: str) -> None:
        inputs, kept = ["targets/source", f"networks/{name}"], Features(1, "float32", "float32", batch_size=48)
        self.run("extract", f"features/source/{name}", inputs, transform=TRANSFORM, features=kept)

    def represent(self, name: str, members: list[str]) -> None:
        inputs = [f"features/source/{member}" for member in members]
        self.run("represent", f"representations/source/{name}", inputs, members=members)

    def record(self, stage: str, file: str, inputs: list[str], **settings: Any) -> None:
        self.run(stage, f"records/source/cat2/{file}", inputs, **settings)

    def finetune(self, network: str) -> None:
        name = TUNED.format(network)
        recipe = replace(RECIPE, learning_rate=0.01, decay_norm=False, schedule=Cosine("cosine", 1e-7))
        self.run(
            "finetune", f"finetuned/{name}", ["targets/source", f"networks/{network}"], selection="heldout",
            shots="all", seed=0, steps_per_epoch=0, evaluation_batch_size=48, recipe=recipe, transform=TRANSFORM,
        )  # fmt: skip
        kept = self.root / f"networks/{name}.json"
        if kept.exists():
            self.cards[f"networks/{name}"] = card = read_card(kept)
            self.report[f"networks/{name}"] = {"stage": "finetune", "digest": card.digest, "seconds": 0.0}

    def all(self) -> None:
        self.target()
        networks = ["erm-s0", "erm-s1"]
        tuned = [TUNED.format(name) for name in networks]
        for seed, name in enumerate(networks):
            self.train("pretrain", name, [], seed)
            self.extract(name)
        self.represent("cat2", networks)
        cat2, shots = ["representations/source/cat2"], ["all", 10]
        sgd = Probe(**HEADS, epochs=3, schedule=STEP, learning_rates=[0.01, 0.1], weight_decays=DECAYS, batch_norm=True)
        self.record("probe", "probe", cat2, solver="sgd", shots=shots, probe=sgd)
        lbfgs = LbfgsProbe("lbfgs", iterations=100, tolerance=1e-4, weight_decays=DECAYS, batch_norm=True)
        self.record("probe", "lbfgs", cat2, solver="lbfgs", shots=shots, probe=lbfgs)
        for name in networks:
            self.finetune(name)
            self.extract(TUNED.format(name))
        self.represent("tuned", tuned)
        first = [FirstStage(learning_rate=0.01, weight_decay=1e-4, epochs=3, selection="heldout", shots="all")]
        inputs = ["representations/source/tuned", *(f"networks/{name}" for name in tuned)]
        heads = HeadGrid(**HEADS, epochs=2, schedule=Constant("constant"), learning_rates=[0.01])
        self.record("two_stage", "two-stage", inputs, stage_one=first, heads=heads)
        teachers = [f"features/source/{name}" for name in networks] + [f"networks/{name}" for name in networks]
        self.train("distill", "student", teachers, seed=7, temperature=2.0)
        self.record("averaged_head", "averaged", inputs, stage_one=first)


def stop_in(step: int) -> None:
    """SIGTERM for this process in its training step number `step`."""
    import rrl.training.train as loop

    descend, steps = loop.descend, 0

    def counted(*of: Any) -> None:
        nonlocal steps
        descend(*of)
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGTERM)

    loop.descend = counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stop-at", type=int, default=0)
    arguments = parser.parse_args()
    stages = Stages(arguments.folder, arguments.pictures, arguments.threads)
    if arguments.stop_at:
        stop_in(arguments.stop_at)
    try:
        stages.all()
    finally:
        arguments.folder.mkdir(exist_ok=True)
        (arguments.folder / "stages.json").write_text(json.dumps(stages.report, indent=1))


if __name__ == "__main__":
    main()
