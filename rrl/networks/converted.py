"""A checkpoint from outside as a network of the workflow: converted, with its card."""

from pathlib import Path

from rrl.networks.api import convert
from rrl.networks.architectures import parameter_count
from rrl.networks.checkpoint_formats import without_weights
from rrl.store.cards import Job
from rrl.store.files import sha256_of_file


def write_converted(job: Job, source: Path, card: Path, name: str, origin: str) -> None:
    """Write {name}.safetensors and its card; the job's settings say arch, format and seed.

    Raises UserError if the file cannot be read safely, or is not a network of this architecture.
    """
    weights, arch = card.with_suffix(".safetensors"), job.settings["arch"]
    convert(source, weights, arch=arch, format=job.settings["format"])
    trunk = without_weights(arch)
    facts = {
        "parameters": parameter_count(trunk),
        "feature_dim": trunk.feature_dim,
        "arch": arch,
        "origin": origin,
        "seed": job.settings["seed"],
    }
    job.write_card(card, f"networks/{name}", sha256_of_file(weights), facts)
