"""Stage `target`: get or check the data of a target, fix train, val and test, write the index and its card."""

from collections.abc import Sequence

from rrl.data.targets import make_target, write_index
from rrl.job import begin, run
from rrl.store.files import sha256_of_file


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("target", argv, __doc__)
    target = make_target(job.settings.source, job.settings.pins, job.data_root, job.threads)
    index = job.output.with_suffix(".csv")
    write_index(index, target)
    job.write_card(sha256_of_file(index), target.facts)


if __name__ == "__main__":
    run(main)
