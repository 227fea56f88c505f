"""Stage `import_network`: a network that others trained, as a network of this project.

download : a checkpoint of another project, downloaded or put in place by hand. It must have the sha256 that it was
           pinned with; one that was never used before is pinned now: trust on first use.
user     : a file of the user, in any format that is known.
library  : the weights that timm or torchvision publish for a model; the library downloads and checks them.
"""

from collections.abc import Sequence
from pathlib import Path

from rrl.job import begin, run
from rrl.networks.imports import import_network
from rrl.networks.stored_networks import save_tensors


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("import_network", argv, __doc__)
    imported = import_network(job.settings.source, Path(job.file))
    save_tensors(job, imported.tensors, imported.metadata, imported.facts)


if __name__ == "__main__":
    run(main)
