"""Stage `collect`: all records of an experiment as one tidy CSV, a row per record, shots and selection.

top1 is a fraction; top1_low and top1_high the ends of its 95 % interval from the number of test images.
"""

from collections.abc import Sequence

import pandas as pd

from rrl.job import begin, run
from rrl.statistics import interval
from rrl.store.files import sha256_of_file, write_text
from rrl.store.record import rows

COLUMNS = ["target", "shots", "method", "representation", "transfer", "of", "selection"]


def main(argv: Sequence[str] | None = None) -> None:
    job = begin("collect", argv, __doc__)
    records = job.inputs
    frame = pd.DataFrame([row for record in records for row in rows(record)])
    names = [record.artifact.split("/", 2)[2] for record in records for _ in rows(record)]
    frame.insert(2, "method", [job.settings.methods[name] for name in names])
    frame["shots"] = frame["shots"].astype(str)
    intervals = [interval(top1, images) for top1, images in zip(frame["top1"], frame["n_test"], strict=True)]
    after = list(frame.columns).index("top1") + 1
    frame.insert(after, "top1_low", [low for low, _ in intervals])
    frame.insert(after + 1, "top1_high", [high for _, high in intervals])
    frame = frame.sort_values(COLUMNS, kind="stable")
    table = job.output.with_suffix(".csv")
    write_text(table, frame.to_csv(index=False, lineterminator="\n"))
    job.write_card(sha256_of_file(table), {"rows": len(frame)})


if __name__ == "__main__":
    run(main)
