"""What bfloat16 in extraction does to the accuracy of a probe: the networks of the demo, after `make demo`.

    python -m benchmarks.precision

For each new target of the demo, the probes of its first networks alone and of all of them concatenated, on features of
networks in float32 and in bfloat16; test accuracy, setting and epoch picked on val.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import yaml
from pydantic import TypeAdapter

from rrl.arithmetic import NATIVE
from rrl.config.settings import HeadTraining, Probe, Transform, narrow
from rrl.data.images import Split, inputs, load_split
from rrl.heads.cached import Data, join
from rrl.heads.picking import all_logits
from rrl.heads.training import Setting, initial_head, train_heads
from rrl.job import read_card
from rrl.networks.inference import for_inference
from rrl.networks.stored_networks import load_trunk
from rrl.networks.trunks import Trunk
from rrl.selection import training_images
from rrl.store.members import SPLITS
from rrl.training.device import multiply_by_onednn, prepare

BATCH_SIZE, SHOTS = 250, 100
CPU = torch.device("cpu")


def features(trunks: list[Trunk], split: Split, transform, precision: str) -> Data:  # type: ignore[no-untyped-def]
    """Side by side, as cached."""
    found = []
    for trunk in trunks:
        features_of = for_inference(trunk, precision, CPU, compiled=False, batch_size=BATCH_SIZE)
        starts = range(0, len(split.labels), BATCH_SIZE)
        batches = [np.arange(start, min(start + BATCH_SIZE, len(split.labels))) for start in starts]
        found.append(torch.cat([features_of(inputs(split, batch, transform, None)) for batch in batches]).half())
    return Data(torch.cat(found, dim=1)[None], torch.from_numpy(split.labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(), help="where results/demo and data are")
    parser.add_argument("--config", default="demo")
    parser.add_argument("--targets", nargs="+", default=["fashion-new", "mnist"])
    parser.add_argument("--shots", type=int, default=SHOTS)
    arguments = parser.parse_args()
    prepare(1, NATIVE)
    multiply_by_onednn(CPU)
    config = yaml.safe_load((arguments.folder / f"workflow/config/{arguments.config}.yaml").read_text())
    results = arguments.folder / config["results"]
    transform: Transform = TypeAdapter(Transform).validate_python(config["targets"]["mnist"]["transform"])
    networks = [read_card(results / f"networks/erm-s{seed}.json") for seed in config["networks"]["erm"]["seeds"]]
    trunks = [load_trunk(card, transform) for card in networks]
    probe = TypeAdapter(Probe).validate_python(config["probes"][config["targets"]["mnist"]["probe"]])
    settings = [Setting(rate, decay) for rate in probe.learning_rates for decay in probe.weight_decays]
    training = narrow(HeadTraining, probe)
    for target in arguments.targets:
        card = read_card(results / f"targets/{target}.json")
        splits = {split: load_split(card, split, arguments.folder / config["data"]) for split in SPLITS}
        for name, members in (("one network", trunks[:1]), (f"CAT{len(trunks)}", trunks)):
            top1 = {}
            for precision in ("float32", "bfloat16"):
                data = {split: features(members, images, transform, precision) for split, images in splits.items()}
                chosen = training_images(data, "heldout", arguments.shots, join)
                head = initial_head(card.facts["classes"], chosen.features.shape[2], training.seed)
                selections, _ = train_heads(head, chosen, data, ["heldout"], settings, training, probe.batch_norm)
                logits = all_logits(selections["heldout"].head, data)["test"]
                top1[precision] = 100 * float((logits.argmax(1) == splits["test"].labels).mean())
            texts = ", ".join(f"{precision} {value:.2f} %" for precision, value in top1.items())
            print(f"probe of {name} on {target}, {len(splits['test'].labels):,} test images: {texts}")


if __name__ == "__main__":
    main()
