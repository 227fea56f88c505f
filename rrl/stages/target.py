"""Stage `target`: get or check the data of a target, fix train, val and test, write the index and its card."""

import importlib
from collections.abc import Sequence

from rrl.config.settings import DemoSource, ImageSource, PaperSource
from rrl.job import begin, run

MAKERS = {
    DemoSource: "rrl.data.demo_target",
    PaperSource: "rrl.data.paper_target",
    ImageSource: "rrl.data.image_target",
}


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("target", argv, __doc__)
    importlib.import_module(MAKERS[type(job.settings.source)]).make(job)


if __name__ == "__main__":
    run(main)
