"""Stage `probe`: linear heads on a representation; every setting, number of shots and both selection rules in one job.
Pixels and trunks are never touched.

paper   : trains on train and val (with shots: on the shots), picks setting and epoch on test, as published.
heldout : trains on train (with shots: on the shots), picks setting and epoch on val, then reads test.
With shots both rules train on the same images, so one training serves both.
"""

import importlib
import time
from collections.abc import Sequence

from rrl.heads.solvers import SOLVERS
from rrl.job import begin, run


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    job = begin("probe", argv, __doc__)
    importlib.import_module(SOLVERS[job.settings.solver]).probe(job, started)


if __name__ == "__main__":
    run(main)
