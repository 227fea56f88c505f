"""A checkpoint from outside as a network of the workflow: converted, with its card."""

from pathlib import Path

from rrl.job import Job
from rrl.networks.api import convert
from rrl.networks.architectures import parameter_count
from rrl.networks.checkpoint_formats import without_weights
from rrl.store.files import sha256_of_file


def write_converted(job: Job, source: Path) -> None:
    """Write the network's safetensors file and its card.

    Raises UserError if the file cannot be read safely, or is not a network of this architecture.
    """
    settings, weights = job.settings.source, job.output.with_suffix(".safetensors")
    convert(source, weights, arch=settings.arch, format=settings.format)
    trunk = without_weights(settings.arch)
    facts = {
        "parameters": parameter_count(trunk),
        "feature_dim": trunk.feature_dim,
        "arch": settings.arch,
        "origin": settings.origin,
        "seed": settings.seed,
    }
    job.write_card(sha256_of_file(weights), facts)
