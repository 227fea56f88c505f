"""How long it takes to index a data set of many files: trees of empty files, removed at the end.

    python -m benchmarks.indexing --folder /tmp

Each tree is ImageNet's, with the given number of training images in --classes class folders, and one val image per
class. Files have been written just before, so their names are in memory: a disk that has to be read, or one on a
network, is slower.
"""

import argparse
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rrl.data.paper_datasets import open_paper_dataset

COLUMNS = ("files", "seconds", "per 100k", "os.walk", "ratio", "sizes cost", "memory")


def main() -> None:
    arguments = _parse()
    print(*(f"{column:>12}" for column in COLUMNS))
    for count in arguments.files:
        folder = Path(tempfile.mkdtemp(prefix="indexing-", dir=arguments.folder))
        try:
            _make(folder / "imagenet", count, arguments.classes, arguments.bytes)
            _measure(folder, arguments)
        finally:
            shutil.rmtree(folder)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the trees are made, and removed again")
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="training images")
    parser.add_argument("--classes", type=int, default=1000, help="class folders")
    parser.add_argument("--bytes", type=int, default=0, help="size of a file; empty ones are removed much faster")
    parser.add_argument("--threads", type=int, default=2, help="folders that are read at once")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    return parser.parse_args()


def _make(folder: Path, count: int, classes: int, size: int) -> None:
    content = b"0" * size
    for label in range(classes):
        name = f"n{label:08d}"
        for part, images in (("train", range(label, count, classes)), ("val", range(1))):
            os.makedirs(folder / part / name)
            for image in images:
                with open(f"{folder}/{part}/{name}/{name}_{image}.JPEG", "wb", buffering=0) as file:
                    file.write(content)


def _measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print a line; sizes cost: what a stat of every file would add; memory: of the source."""
    gc.collect()
    before = _resident()
    source = open_paper_dataset("imagenet", folder, arguments.threads, arguments.classes)
    memory = _resident() - before
    files = sum(map(len, source.parts.values()))
    del source
    seconds = _fastest(
        lambda: open_paper_dataset("imagenet", folder, arguments.threads, arguments.classes), arguments.repeats
    )
    walk = _fastest(lambda: sum(len(names) for _, _, names in os.walk(folder)), arguments.repeats)
    folders = [path for path, _, _ in os.walk(folder)]
    names = _fastest(lambda: _scan(folders, arguments.threads, len), arguments.repeats)
    sizes = _fastest(lambda: _scan(folders, arguments.threads, _sizes), arguments.repeats) - names
    print(
        f"{files:12,} {seconds:12.2f} {seconds / files * 1e5:12.3f} {walk:12.2f} {seconds / walk:12.1f} {sizes:12.2f} "
        f"{memory / 1e6:9.0f} MB",
        flush=True,
    )


def _scan(folders: list[str], threads: int, of: Callable[[list[os.DirEntry[str]]], int]) -> int:
    def one(folder: str) -> int:
        with os.scandir(folder) as entries:
            return of(list(entries))

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(one, folders))


def _sizes(entries: list[os.DirEntry[str]]) -> int:
    return sum(entry.stat().st_size for entry in entries)


def _fastest(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _resident() -> int:
    """Memory of this process in bytes; Linux only, 0 elsewhere."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main()
