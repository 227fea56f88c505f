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
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PIXELS = 32
TRANSFORM = {
    "size": PIXELS, "resize": PIXELS, "scale": [0.5, 1.0], "interpolation": "bilinear", "flip": True,
    "mean": [0.5] * 3, "std": [0.25] * 3,
}  # fmt: skip
ARCH = "resnet8rgb"
STEP = {"name": "step", "milestones": [2], "factor": 0.1}
RECIPE = {
    "epochs": 3, "batch_size": 64, "learning_rate": 0.05, "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4,
    "decay_norm": True, "schedule": STEP, "precision": "float32",
}  # fmt: skip
HEADS = {"steps_per_epoch": 0, "batch_size": 64, "momentum": 0.9, "nesterov": True, "seed": 0}
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
        self.cards: dict[str, Any] = {}
        self.report: dict[str, dict[str, Any]] = {}

    def run(
        self, stage: str, artifact: str, cards: dict[str, list[str]], settings: dict[str, Any], **places: Any
    ) -> None:
        """A stage whose `cards` are given by the names of the artifacts; what it makes is named `artifact`."""
        start = time.monotonic()
        report = self.report[artifact] = {"stage": stage}
        if missing := [name for names in cards.values() for name in names if name not in self.cards]:
            report["error"] = f"not run: there is no {', '.join(missing)}"
            return
        try:
            from rrl.command import flags
            from rrl.store.cards import read_card

            from rrl.arithmetic import NATIVE, STAGES
            from rrl.code_version import code_version

            output = self.root / f"{artifact}.json"
            words = ["--code-version", code_version(stage), "--threads", str(self.threads), "--output", str(output)]
            for flag, names in cards.items():
                words += [f"--{flag}", *(str(self.cards[name].path) for name in names)]
            words += ["--input-keys", *(self.cards[name].key for names in cards.values() for name in names)]
            words += ["--arithmetic", NATIVE] if stage in STAGES else []
            words += flags({**settings, **{name: str(value) for name, value in places.items()}})
            importlib.import_module(f"rrl.stages.{stage}").main(
                words if stage != "represent" else without_threads(words)
            )
            self.cards[artifact] = read_card(output)
            report["memory"] = most_memory()
            report["digest"] = self.cards[artifact].digest
        except Exception:
            report["error"] = traceback.format_exc()
        report["seconds"] = time.monotonic() - start

    def target(self) -> None:
        from rrl.data.image_sources import open_source

        source = self.pictures.name
        settings = {
            "source": source, "fingerprint": open_source(source, self.pictures.parent).fingerprint,
            "unreadable": "stop", "val_fraction": 0.2, "test_fraction": 0.2, "split_seed": 0,
        }  # fmt: skip
        self.run("image_target", "targets/source", {}, settings, data_root=self.pictures.parent, name="source")

    def train(self, stage: str, name: str, cards: dict[str, list[str]], seed: int, **more: Any) -> None:
        settings = {"arch": ARCH, "seed": seed, **RECIPE, "transform": TRANSFORM, **more}
        self.run(
            stage, f"networks/{name}", {"target": ["targets/source"], **cards}, settings,
            name=name, data_root=self.pictures.parent, gpus=1,
        )  # fmt: skip

    def extract(self, name: str) -> None:
        settings = {"transform": TRANSFORM, "views": 1, "dtype": "float32", "precision": "float32", "batch_size": 48}
        cards = {"target": ["targets/source"], "network": [f"networks/{name}"]}
        self.run("extract", f"features/source/{name}", cards, settings, data_root=self.pictures.parent)

    def represent(self, name: str, members: list[str]) -> None:
        cards = {"features": [f"features/source/{member}" for member in members]}
        self.run("represent", f"representations/source/{name}", cards, {"members": members}, name=name)

    def record(
        self, stage: str, file: str, cards: dict[str, list[str]], settings: dict[str, Any], **places: Any
    ) -> None:
        logits = self.root / f"logits/{file}.h5"
        self.run(stage, f"records/source/cat2/{file}", cards, settings, logits=logits, **places)

    def finetune(self, network: str) -> None:
        name = TUNED.format(network)
        settings = {
            "selection": "heldout", "shots": "all", "seed": 0, "steps_per_epoch": 0, "evaluation_batch_size": 48,
            **RECIPE, "learning_rate": 0.01, "decay_norm": False, "schedule": {"name": "cosine", "final": 1e-7},
            "transform": TRANSFORM,
        }  # fmt: skip
        kept = self.root / f"networks/{name}.json"
        self.run(
            "finetune", f"finetuned/{name}", {"target": ["targets/source"], "networks": [f"networks/{network}"]},
            settings, representation=network, data_root=self.pictures.parent, gpus=1,
            logits=self.root / f"finetuned/{name}.h5", keep=kept,
        )  # fmt: skip
        if kept.exists():
            from rrl.store.cards import read_card

            self.cards[f"networks/{name}"] = card = read_card(kept)
            self.report[f"networks/{name}"] = {"stage": "finetune", "digest": card.digest, "seconds": 0.0}

    def all(self) -> None:
        self.target()
        networks = ["erm-s0", "erm-s1"]
        tuned = [TUNED.format(name) for name in networks]
        for seed, name in enumerate(networks):
            self.train("pretrain", name, {}, seed)
            self.extract(name)
        self.represent("cat2", networks)
        probes = {"shots": ["all", 10], "weight_decays": DECAYS, "batch_norm": True}
        of = {"representation": ["representations/source/cat2"]}
        sgd = {**probes, "learning_rates": [0.01, 0.1], **HEADS, "epochs": 3, "schedule": STEP}
        self.record("probe", "probe", of, sgd)
        self.record("lbfgs_probe", "lbfgs", of, {**probes, "iterations": 100, "tolerance": 1e-4})
        for name in networks:
            self.finetune(name)
            self.extract(TUNED.format(name))
        self.represent("tuned", tuned)
        told = {"learning_rate": 0.01, "weight_decay": 1e-4, "epochs": 3, "shots": "all", "selection": "heldout"}
        of = {"representations": ["representations/source/tuned"], "networks": [f"networks/{name}" for name in tuned]}
        two_stage = {"stage_one": [told], "learning_rates": [0.01], **HEADS, "epochs": 2}
        self.record("two_stage", "two-stage", of, {**two_stage, "schedule": {"name": "constant"}}, name="cat2")
        teachers = {
            "features": [f"features/source/{name}" for name in networks],
            "networks": [f"networks/{name}" for name in networks],
        }
        self.train("distill", "student", teachers, seed=7, temperature=2.0)
        self.record("averaged_head", "averaged", of, {"stage_one": [told]}, name="cat2")


def without_threads(words: list[str]) -> list[str]:
    at = words.index("--threads")
    return words[:at] + words[at + 2 :]


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
